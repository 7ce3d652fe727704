//! The forms of the tables that a log speaks of.
//!
//! A Relation message has names and types only; keys, NOT NULL and the rest come from the catalog as it is now, which may be
//! ahead of the log. What the catalog no longer has is made from the message alone.

use crate::catalog;
use crate::connection::{ConnectOptions, from_pg};
use crate::pgoutput::{Old, Relation, RelationColumn};
use crate::replication::READ_BYTES;
use crate::types;
use bytes::Bytes;
use rowferry_api::{
    Cell, Change, Column, Dialect, Error, ErrorKind, Event, Fill, Key, KeyEncoder, Op, Result, Row, RowBuilder,
    TableName, TableSchema,
};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::task::JoinHandle;
use tokio_postgres::Client;

/// A key longer lived than a row of more than this is taken out of the row.
const LARGE_ROW_BYTES: usize = READ_BYTES / 4;

/// A table as the log has it now.
pub(super) struct Form {
    table: Arc<TableSchema>,
    keys: KeyEncoder,
    builder: RowBuilder,
    key_may_be_null: bool,
    /// Why a change cannot be tied to a row, if it cannot.
    defect: Option<Defect>,
    relation: Relation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    /// Nobody asked for the table with a key, and it has none in the log: its changes pass with empty keys.
    NoKey,
    /// The key that was asked for is not part of the replica identity.
    NotLogged,
}

impl Form {
    pub(super) fn insert(&mut self, new: Row) -> Event {
        match self.has_null_key(&new) {
            true => self.unreadable(),
            false => self.change(Op::Insert(new)),
        }
    }

    pub(super) fn update(&mut self, old: Option<&Old>, new: Row) -> Event {
        let after = match old {
            Some(old) if new.is_partial() => self.completed(&new, old),
            _ => new,
        };
        match self.key(old.map_or(&after, Old::row)) {
            Some(key) if !self.has_null_key(&after) => self.change(Op::Update { key, after }),
            _ => self.unreadable(),
        }
    }

    pub(super) fn delete(&mut self, old: &Old) -> Event {
        match self.key(old.row()) {
            Some(key) => self.change(Op::Delete { key }),
            None => self.unreadable(),
        }
    }

    pub(super) fn truncate(&self) -> Event {
        self.change(Op::Truncate)
    }

    fn change(&self, op: Op) -> Event {
        Event::Change(Change { table: self.table.clone(), op })
    }

    /// Rows whose keys are NULL could not be told apart at the target. Only a key from the configuration can be NULL.
    fn has_null_key(&self, row: &Row) -> bool {
        let key = &self.table.key;
        let is_null = |(index, cell): (usize, Cell<'_>)| cell == Cell::Null && key.contains(&index);
        self.key_may_be_null && row.cells().enumerate().any(is_null)
    }

    /// The new row, with the old one's cells where the log says unchanged and the old one carries them.
    fn completed(&mut self, new: &Row, old: &Old) -> Row {
        for ((new, before), column) in new.cells().zip(old.row().cells()).zip(&self.relation.columns) {
            let known = new == Cell::Unchanged && (matches!(old, Old::Full(_)) || column.is_key);
            self.builder.push(if known { before } else { new });
        }
        self.builder.finish()
    }

    /// `None` if the log does not carry it.
    fn key(&mut self, row: &Row) -> Option<Key> {
        let key = match self.defect {
            Some(Defect::NoKey) => return Some(Key::from_cells([])),
            Some(Defect::NotLogged) => None,
            None => self.keys.key(row).filter(|key| key.cells().all(|cell| cell != Cell::Null)),
        }?;
        match row.as_bytes().len() > LARGE_ROW_BYTES {
            true => Some(Key::from_bytes(Bytes::copy_from_slice(key.as_bytes())).unwrap_or(key)),
            false => Some(key),
        }
    }

    fn unreadable(&self) -> Event {
        let name = &self.table.name;
        let key: Vec<&str> = self.table.key_columns().map(|column| column.name.as_str()).collect();
        let key = if key.is_empty() { "that is configured".to_owned() } else { format!("({})", key.join(", ")) };
        let reason = format!(
            "read a change of {name}: the log does not carry its whole key {key}, or a part is NULL. The replica identity of {name} must \
             hold the key: ALTER TABLE ... REPLICA IDENTITY FULL (or DEFAULT, where the key is the primary key). If its key is another one \
             now, give the target's table the same (or drop it there). Then run `rowferry resync --table {name}`"
        );
        Event::Unreadable { table: name.clone(), reason }
    }
}

/// All forms, by the table's oid.
pub(super) struct Forms {
    client: Arc<Client>,
    options: ConnectOptions,
    given: HashMap<TableName, Arc<TableSchema>>,
    forms: HashMap<u32, Form>,
    /// How the server spells the types that came up, by oid and modifier.
    spelled: HashMap<(u32, i32), String>,
}

/// What a Relation message brings.
pub(super) enum Described {
    /// Nothing new.
    Known,
    /// A form that is told of for the first time.
    New(Arc<TableSchema>),
    /// A form that the catalog has to be asked for.
    Unknown(Lookup),
}

impl Forms {
    pub(super) fn new(client: Arc<Client>, options: ConnectOptions, given: &[Arc<TableSchema>]) -> Self {
        let given = given.iter().map(|table| (table.name.clone(), table.clone())).collect();
        Self { client, options, given, forms: HashMap::new(), spelled: HashMap::new() }
    }

    /// The connection that tables are looked up on.
    pub(super) fn client(&self) -> Arc<Client> {
        self.client.clone()
    }

    /// How many cells a table's rows have.
    pub(super) fn columns(&self, oid: u32) -> Option<usize> {
        self.forms.get(&oid).map(|form| form.relation.columns.len())
    }

    pub(super) fn get(&mut self, oid: u32) -> Result<&mut Form> {
        self.forms.get_mut(&oid).ok_or_else(|| {
            Error::new(ErrorKind::Protocol, format!("read the log: table {oid} changes before it is described"))
        })
    }

    /// Takes in what a message says. The catalog is asked only for what is neither known nor as the table was given.
    pub(super) fn describe(&mut self, relation: Relation) -> Described {
        if self.forms.get(&relation.oid).is_some_and(|form| form.relation == relation) {
            return Described::Known;
        }
        let spelled = |column: &RelationColumn| self.spelled.get(&(column.type_oid, column.type_mod)).cloned();
        let natives: Option<Vec<String>> = relation.columns.iter().map(spelled).collect();
        // One that was given without a key may have got one.
        let given = self.given.get(&name_of(&relation)).filter(|given| !given.key.is_empty());
        if let (Some(given), Some(natives)) = (given, natives)
            && is_same_form(given, &build(&relation, natives, None, Some(given)))
        {
            return match self.take(relation, given.clone()) {
                Some(table) => Described::New(table),
                None => Described::Known,
            };
        }
        Described::Unknown(self.look_up(relation))
    }

    fn look_up(&self, relation: Relation) -> Lookup {
        let (client, options) = (self.client.clone(), self.options.clone());
        let types: Vec<(u32, i32)> = relation.columns.iter().map(|column| (column.type_oid, column.type_mod)).collect();
        let oid = relation.oid;
        let task = tokio::spawn(async move {
            let client = if client.is_closed() { Arc::new(options.connect().await?) } else { client };
            let table = catalog::table_by_oid(&client, oid).await?;
            let natives = natives(&client, &types).await?;
            Ok(Found { client, table: table.map(|table| (*table.schema).clone()), types, natives })
        });
        Lookup { relation, task }
    }

    /// Takes in what a message and its lookup say. Returns the table's form if it is not the one that it had.
    pub(super) fn found(&mut self, relation: Relation, found: Found) -> Option<Arc<TableSchema>> {
        self.client = found.client;
        self.spelled.extend(found.types.into_iter().zip(found.natives.iter().cloned()));
        let earlier = self.forms.get(&relation.oid).map(|form| form.table.clone());
        let given = self.given.get(&name_of(&relation));
        let built = build(&relation, found.natives, found.table, given.map(|given| &**given));
        let known = [earlier.as_ref(), given].into_iter().flatten().find(|known| is_same_form(known, &built)).cloned();
        self.take(relation, known.unwrap_or_else(|| Arc::new(built)))
    }

    fn take(&mut self, relation: Relation, table: Arc<TableSchema>) -> Option<Arc<TableSchema>> {
        let is_given = self.given.contains_key(&table.name);
        let form = Form {
            keys: KeyEncoder::new(&table.key),
            builder: RowBuilder::new(),
            key_may_be_null: is_given && table.key_columns().any(|column| column.nullable),
            defect: defect_of(&table, &relation, is_given),
            table: table.clone(),
            relation,
        };
        let earlier = self.forms.insert(form.relation.oid, form);
        earlier.is_none_or(|earlier| !Arc::ptr_eq(&earlier.table, &table)).then_some(table)
    }
}

fn name_of(relation: &Relation) -> TableName {
    TableName::new(relation.schema.clone(), relation.name.clone())
}

/// A look into the catalog that goes on by itself: a caller that stops waiting and asks again does not start it again.
pub(super) struct Lookup {
    relation: Relation,
    task: JoinHandle<Result<Found>>,
}

/// What a look into the catalog brought.
pub(super) struct Found {
    client: Arc<Client>,
    /// `None` if the catalog no longer has the table.
    table: Option<TableSchema>,
    /// The columns' types, and how the server spells them.
    types: Vec<(u32, i32)>,
    natives: Vec<String>,
}

impl Lookup {
    /// Waits for it. Dropping the wait loses nothing. Not to be called again after it has returned.
    pub(super) async fn found(&mut self) -> Result<(Relation, Found)> {
        let found = (&mut self.task).await.map_err(|error| {
            Error::new(ErrorKind::Other, "look up a table of the log: the task ended in a panic").because(error)
        })??;
        Ok((self.relation.clone(), found))
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One statement for all columns, given by the oids of their types and the modifiers.
async fn natives(client: &Client, columns: &[(u32, i32)]) -> Result<Vec<String>> {
    let (oids, mods): (Vec<u32>, Vec<i32>) = columns.iter().copied().unzip();
    let rows = client
        .query(types::SPELL_TYPES, &[&oids, &mods])
        .await
        .map_err(|error| from_pg("look up the types of a table in the log", error))?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

fn build(
    relation: &Relation,
    natives: Vec<String>,
    catalog: Option<TableSchema>,
    given: Option<&TableSchema>,
) -> TableSchema {
    let named = relation.columns.iter().zip(natives);
    let columns: Vec<Column> = named.map(|(column, native)| column_of(column, native, catalog.as_ref())).collect();
    let key = key_of(&columns, given, catalog.as_ref(), relation);
    let (indexes, foreign_keys, types) =
        catalog.map(|table| (table.indexes, table.foreign_keys, table.types)).unwrap_or_default();
    let name = name_of(relation);
    TableSchema { name, dialect: Dialect::Postgres, columns, computed: Vec::new(), key, indexes, foreign_keys, types }
}

/// A column of the message, as the catalog has it if it still does.
fn column_of(column: &RelationColumn, native: String, catalog: Option<&TableSchema>) -> Column {
    let mut have = catalog.into_iter().flat_map(|table| table.columns.iter().chain(&table.computed));
    match have.find(|have| have.name == column.name && have.native == native) {
        // What the log carries is written like any other column.
        Some(have) => Column { generated: None, ..have.clone() },
        None => Column {
            id: 0,
            name: column.name.clone(),
            ty: types::of_builtin(column.type_oid),
            native,
            nullable: true,
            default: None,
            identity: false,
            generated: None,
            fill: Fill::Null,
        },
    }
}

/// The key that was asked for, else the catalog's where the log carries it, else none.
fn key_of(
    columns: &[Column],
    given: Option<&TableSchema>,
    catalog: Option<&TableSchema>,
    relation: &Relation,
) -> Vec<usize> {
    let find = |key: &Column| {
        columns.iter().position(|column| column.name == key.name).or_else(|| {
            // Renamed since.
            columns.iter().position(|column| column.id != 0 && column.id == key.id)
        })
    };
    let all = |table: &TableSchema| table.key_columns().map(find).collect::<Option<Vec<_>>>();
    if let Some(given) = given.filter(|given| !given.key.is_empty()) {
        return all(given).unwrap_or_default();
    }
    let logged = |key: &Vec<usize>| key.iter().all(|&index| relation.columns[index].is_key);
    catalog.and_then(all).filter(logged).unwrap_or_default()
}

fn defect_of(built: &TableSchema, relation: &Relation, is_given: bool) -> Option<Defect> {
    let logged = || built.key.iter().all(|&index| relation.columns[index].is_key);
    match (is_given, built.key.is_empty()) {
        (false, true) => Some(Defect::NoKey),
        (true, true) => Some(Defect::NotLogged),
        _ => (!logged()).then_some(Defect::NotLogged),
    }
}

fn is_same_form(known: &TableSchema, built: &TableSchema) -> bool {
    let same = |a: &Column, b: &Column| a.name == b.name && a.native == b.native;
    known.name == built.name
        && known.key == built.key
        && known.columns.len() == built.columns.len()
        && known.columns.iter().zip(&built.columns).all(|(a, b)| same(a, b))
}
