//! The forms of the tables that a log speaks of.
//!
//! A Relation message has names and types only; keys, NOT NULL and the rest come from the catalog as it is now, which may be
//! ahead of the log. What the catalog no longer has is made from the message alone.

use crate::catalog;
use crate::connection::{ConnectOptions, from_pg};
use crate::pgoutput::{Relation, RelationColumn};
use crate::types;
use rowferry_api::{Column, Dialect, Error, ErrorKind, Fill, KeyEncoder, Result, TableName, TableSchema};
use std::collections::HashMap;
use std::sync::Arc;
use tokio_postgres::Client;

/// A table's form, and its keys.
pub(super) struct Form {
    pub table: Arc<TableSchema>,
    pub keys: KeyEncoder,
    relation: Relation,
}

/// All forms, by the table's oid.
pub(super) struct Forms {
    client: Client,
    options: ConnectOptions,
    given: HashMap<TableName, Arc<TableSchema>>,
    forms: HashMap<u32, Form>,
}

impl Forms {
    pub(super) fn new(client: Client, options: ConnectOptions, given: &[Arc<TableSchema>]) -> Self {
        let given = given.iter().map(|table| (table.name.clone(), table.clone())).collect();
        Self { client, options, given, forms: HashMap::new() }
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

    /// The form that a Relation message stands for. The same message again gives the same form.
    pub(super) async fn describe(&mut self, relation: Relation) -> Result<Arc<TableSchema>> {
        if let Some(form) = self.forms.get(&relation.oid)
            && form.relation == relation
        {
            return Ok(form.table.clone());
        }
        let name = TableName::new(relation.schema.clone(), relation.name.clone());
        let known = self.given.get(&name).cloned();
        let built = self.build(name, &relation, known.as_deref()).await?;
        let table = known.filter(|known| same_columns(known, &built)).unwrap_or_else(|| Arc::new(built));
        let keys = KeyEncoder::new(&table.key);
        self.forms.insert(relation.oid, Form { table: table.clone(), keys, relation });
        Ok(table)
    }

    async fn build(
        &mut self,
        name: TableName,
        relation: &Relation,
        known: Option<&TableSchema>,
    ) -> Result<TableSchema> {
        if self.client.is_closed() {
            self.client = self.options.connect().await?;
        }
        let catalog = catalog::table_by_oid(&self.client, relation.oid).await?;
        let natives = self.natives(&relation.columns).await?;
        let column = |(column, native): (&RelationColumn, String)| {
            let all = catalog.iter().flat_map(|table| table.schema.columns.iter().chain(&table.schema.computed));
            let same = all.into_iter().find(|have| have.name == column.name && have.native == native);
            same.map_or_else(
                || Column {
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
                |same| Column { generated: None, ..same.clone() },
            )
        };
        let columns: Vec<Column> = relation.columns.iter().zip(natives).map(column).collect();
        // The key that is meant: of the form that was given, else of the catalog.
        let key_names: Vec<String> = match (known, &catalog) {
            (Some(known), _) => known.key_columns().map(|column| column.name.clone()).collect(),
            (None, Some(table)) => table.schema.key_columns().map(|column| column.name.clone()).collect(),
            (None, None) => Vec::new(),
        };
        let find = |name: &String| columns.iter().position(|column| column.name == *name);
        let key = key_names.iter().map(find).collect::<Option<Vec<_>>>().unwrap_or_default();
        let (indexes, foreign_keys, types) = match catalog {
            Some(table) => (table.schema.indexes.clone(), table.schema.foreign_keys.clone(), table.schema.types.clone()),
            None => Default::default(),
        };
        Ok(TableSchema {
            name,
            dialect: Dialect::Postgres,
            columns,
            computed: Vec::new(),
            key,
            indexes,
            foreign_keys,
            types,
        })
    }

    /// The types as the server spells them, one statement for all columns.
    async fn natives(&self, columns: &[RelationColumn]) -> Result<Vec<String>> {
        let oids: Vec<u32> = columns.iter().map(|column| column.type_oid).collect();
        let mods: Vec<i32> = columns.iter().map(|column| column.type_mod).collect();
        let rows = self
            .client
            .query(types::SPELL_TYPES, &[&oids, &mods])
            .await
            .map_err(|error| from_pg("look up the types of a table in the log", error))?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }
}

fn same_columns(known: &TableSchema, built: &TableSchema) -> bool {
    known.columns.len() == built.columns.len()
        && known.columns.iter().zip(&built.columns).all(|(a, b)| a.name == b.name && a.native == b.native)
}
