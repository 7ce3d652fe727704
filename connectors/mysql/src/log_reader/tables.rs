//! Which tables' rows are asked for, and how each is read: by what the log says of a table, else by the form that has been
//! followed up to here, else by the catalog.

use super::derive::{self, Collations};
use super::forms::{self, form_of, forms_now, is_virtual};
use super::versions;
use crate::binlog::{RowDecoder, RowsEvent, RowsKind, TableMap};
use crate::catalog::{self, Which};
use crate::charset::Charsets;
use crate::connection::{ConnectOptions, Flavor, Server};
use crate::kind::Kind;
use crate::shared::Shared;
use crate::statements::{Form, Forms};
use crate::zero_dates::{NullDates, ZeroDates};
use mysql_async::Conn;
use rowferry_api::{
    Cell, Change, Error, ErrorKind, Event, KeyEncoder, Op, Result, Row, RowBuilder, TableName, TableSchema,
};
use std::collections::HashMap;
use std::sync::Arc;

/// Plans that are kept; a server gives a table another number each time it is opened. Few in a debug build, so that tests see
/// what happens to those that are over.
const MAX_PLANS: usize = if cfg!(debug_assertions) { 16 } else { 4096 };

pub(super) struct Tables {
    conn: Conn,
    connect: ConnectOptions,
    server: Server,
    shared: Arc<Shared>,
    zero_dates: Arc<ZeroDates>,
    pub(super) collations: Collations,
    charsets: Charsets,
    /// The forms of tables, as far as DDL has been followed.
    pub(super) forms: Forms,
    /// By the log's number of the table; `None`: nobody asks for it.
    plans: HashMap<u64, (Arc<TableMap>, u64, Option<Plan>)>,
    /// The last form that was told of each table.
    told: HashMap<TableName, Arc<TableSchema>>,
    /// Tables whose rows cannot be read, why, and what was asked for when that was seen.
    unreadable: HashMap<TableName, (String, u64)>,
    /// What was asked for when forms were last told.
    told_at: u64,
    /// What is told before anything else.
    first: Vec<Event>,
    builder: RowBuilder,
}

/// What only the server can say.
pub(super) enum Question {
    /// How rows of this table are read.
    Describe(Arc<TableMap>),
    /// Which of these tables the catalog has now.
    WhichAreThere(Vec<TableName>),
}

pub(super) enum Answer {
    /// What is to be told of the table before its rows.
    Described(Vec<Event>),
    There(Vec<TableName>),
}

/// How rows of a table become changes.
struct Plan {
    decoder: RowDecoder,
    form: Arc<TableSchema>,
    keys: KeyEncoder,
    /// With system versioning the cell that says how long the row holds; it may stand behind those of the form.
    end: Option<usize>,
    /// Columns whose zero dates become NULL.
    nulls: Vec<(usize, NullDates)>,
}

impl Tables {
    /// `tables` are those that are asked for, `followed` their forms where the log begins.
    pub(super) async fn open(
        mut conn: Conn,
        server: Server,
        connect: ConnectOptions,
        shared: Arc<Shared>,
        zero_dates: Arc<ZeroDates>,
        tables: &[Arc<TableSchema>],
        followed: &[Arc<TableSchema>],
    ) -> Result<Self> {
        let collations = Collations::load(&mut conn, server).await?;
        let forms = forms_now(&mut conn, server, connect.database(), followed).await?;
        let mut opened = Self {
            conn,
            connect,
            server,
            shared,
            zero_dates,
            collations,
            charsets: Charsets::default(),
            forms,
            plans: HashMap::new(),
            told: followed.iter().map(|form| (form.name.clone(), form.clone())).collect(),
            unreadable: HashMap::new(),
            told_at: 0,
            first: Vec::new(),
            builder: RowBuilder::new(),
        };
        for table in tables.iter().filter(|table| !followed.iter().any(|form| form.name == table.name)) {
            if let Some(form) = opened.forms.get(&table.name).filter(|form| form.is_known) {
                let form = Arc::new(form_of(&table.name, &form.columns, table));
                opened.told.insert(table.name.clone(), form.clone());
                opened.first.push(Event::Schema(form));
            }
        }
        Ok(opened)
    }

    /// What is to be told before the events that follow: the forms of tables that are asked for since.
    pub(super) fn announce(&mut self, events: &mut Vec<Event>) {
        events.append(&mut self.first);
        let asked = self.shared.changes();
        if std::mem::replace(&mut self.told_at, asked) != asked {
            for table in
                self.shared.names().into_iter().filter(|table| !self.told.contains_key(table)).collect::<Vec<_>>()
            {
                self.tell_followed(&table, events);
            }
        }
    }

    pub(super) fn is_carried(&self, table: &TableName) -> bool {
        self.shared.carried(table).is_some()
    }

    /// The catalog's columns become those that are followed. Nothing is known of a table that is not there.
    async fn look_up(&mut self, table: &TableName) -> Result<()> {
        let entries = match catalog::entries(&mut self.conn, self.server, &Which::Table(table)).await {
            Err(error) if error.kind() == ErrorKind::Unreachable => {
                // An idle connection may have been ended.
                (self.conn, self.server) = self.connect.connect().await?;
                catalog::entries(&mut self.conn, self.server, &Which::Table(table)).await?
            }
            entries => entries?,
        };
        if let Some(entry) = entries.into_iter().next() {
            let charset = self.forms.get(table).and_then(|form| form.charset.clone());
            self.forms.set(table, Form::known(entry.log_columns, charset));
        }
        Ok(())
    }

    /// The form that was told last, for changes without rows.
    pub(super) fn told(&self, table: &TableName) -> Option<Arc<TableSchema>> {
        let carried = self.shared.carried(table).filter(|_| !self.unreadable.contains_key(table))?;
        Some(self.told.get(table).cloned().unwrap_or(carried))
    }

    /// The carried tables of a database.
    pub(super) fn carried_in(&self, schema: &str) -> Vec<TableName> {
        self.shared.carried_in(schema)
    }

    /// Whether the catalog has the table now.
    async fn is_there(&mut self, table: &TableName) -> Result<bool> {
        let entries = catalog::entries(&mut self.conn, self.server, &Which::Table(table)).await?;
        Ok(!entries.is_empty())
    }

    /// Whether it is known how rows of this table are read, or that nobody asks for them.
    pub(super) fn knows(&self, map: &Arc<TableMap>) -> bool {
        let asked = self.shared.changes();
        matches!(self.plans.get(&map.table_id), Some((known, when, _)) if Arc::ptr_eq(known, map) && *when == asked)
    }

    /// Asks the server what has to be known.
    pub(super) async fn answer(&mut self, question: Question) -> Result<Answer> {
        match question {
            Question::Describe(map) => {
                let mut told = Vec::new();
                self.describe(&map, &mut told).await?;
                Ok(Answer::Described(told))
            }
            Question::WhichAreThere(tables) => {
                let mut there = Vec::new();
                for table in tables {
                    if self.is_there(&table).await? {
                        there.push(table);
                    }
                }
                Ok(Answer::There(there))
            }
        }
    }

    /// Learns how the rows that follow are read.
    async fn describe(&mut self, map: &Arc<TableMap>, events: &mut Vec<Event>) -> Result<()> {
        let asked = self.shared.changes();
        if self.plans.len() >= MAX_PLANS {
            self.plans.clear();
        }
        let name = TableName::new(map.schema.clone(), map.table.clone());
        if self.unreadable.get(&name).is_some_and(|(_, when)| *when != asked) {
            // It may have been mended, and be asked for again.
            self.unreadable.remove(&name);
            self.forms.set(&name, Form::unknown());
        }
        let carried = self.shared.carried(&name).filter(|_| !self.unreadable.contains_key(&name));
        let plan = match carried {
            None => None,
            Some(carried) => match self.plan(&name, &carried, map).await {
                Ok(plan) => {
                    self.tell(&plan.form, events);
                    Some(plan)
                }
                Err(error) if error.kind() == ErrorKind::Schema => {
                    self.give_up(&name, &error, asked);
                    None
                }
                Err(error) => return Err(error),
            },
        };
        self.plans.insert(map.table_id, (map.clone(), asked, plan));
        Ok(())
    }

    /// A form is told when it is another one than before.
    fn tell(&mut self, form: &Arc<TableSchema>, events: &mut Vec<Event>) {
        if self.told.get(&form.name) != Some(form) {
            self.told.insert(form.name.clone(), form.clone());
            events.push(Event::Schema(form.clone()));
        }
    }

    /// A form that DDL has made is told before the rows that have it, so that a restart between finds it.
    pub(super) fn tell_followed(&mut self, table: &TableName, events: &mut Vec<Event>) {
        let known = self.forms.get(table).filter(|form| form.is_known);
        let (Some(known), Some(carried)) = (known, self.shared.carried(table)) else { return };
        let mut form = Arc::new(form_of(table, &known.columns, &carried));
        self.zero_dates.apply(&mut form);
        self.tell(&form, events);
    }

    /// Rows of the table are not read from here on.
    fn give_up(&mut self, table: &TableName, error: &Error, asked: u64) {
        let reason = format!(
            "{error}; the log does not say what its rows look like. Set binlog_row_metadata = FULL where the server has it, then \
             run `rowferry resync --table {table}`"
        );
        self.unreadable.insert(table.clone(), (reason, asked));
    }

    /// Why rows of this event cannot be read, if they are asked for.
    pub(super) fn refusal(&self, rows: &RowsEvent) -> Option<Event> {
        let table = TableName::new(rows.table.schema.clone(), rows.table.table.clone());
        let (reason, _) = self.unreadable.get(&table).filter(|_| self.is_carried(&table))?;
        Some(Event::Unreadable { table, reason: reason.clone() })
    }

    /// The table is another one from here on.
    pub(super) fn forget(&mut self, table: &TableName) {
        self.unreadable.remove(table);
        self.plans.retain(|_, (map, ..)| map.schema != table.schema || map.table != table.name);
    }

    async fn plan(&mut self, name: &TableName, carried: &TableSchema, map: &TableMap) -> Result<Plan> {
        if !self.forms.get(name).is_some_and(|form| form.is_known) {
            self.look_up(name).await?;
        }
        let known = self.forms.get(name).filter(|form| form.is_known);
        let charset = known.and_then(|form| form.charset.clone());
        let known = known.map(|form| form.columns.clone()).unwrap_or_default();
        let columns = match map.names() {
            Some(names) => {
                let columns = names
                    .iter()
                    .enumerate()
                    .map(|(place, column)| derive::column(map, place, column, &known, &self.collations));
                columns.collect::<Result<Vec<_>>>()?
            }
            None => known,
        };
        let hidden = match self.server.flavor {
            Flavor::Mariadb => forms::hidden(columns.len(), map),
            Flavor::Mysql => Vec::new(),
        };
        let kinds: Vec<(String, Kind)> = columns
            .iter()
            .chain(&hidden)
            .map(|column| match Kind::parse(&column.native) {
                Some(kind) => Ok((column.name.clone(), kind)),
                None => Err(Error::new(
                    ErrorKind::Schema,
                    format!("read rows of {name}: column {} is of the unknown type {}", column.name, column.native),
                )),
            })
            .collect::<Result<_>>()?;
        self.learn_charsets(&kinds).await?;
        let mut form = Arc::new(form_of(name, &columns, carried));
        if form.key.is_empty() && !carried.key.is_empty() {
            let key: Vec<&str> = carried.key_columns().map(|column| column.name.as_str()).collect();
            let what =
                format!("read rows of {name}: they have no columns ({}) here, which are the key now", key.join(", "));
            return Err(Error::new(ErrorKind::Schema, what));
        }
        let mut selected: Vec<usize> = (0..columns.len()).filter(|&place| !is_virtual(&columns[place])).collect();
        let end = versions::end_of_rows(&mut self.conn, self.server, name, &kinds).await?;
        let end = end.map(|end| match selected.iter().position(|&place| place == end) {
            Some(cell) => cell,
            None => {
                selected.push(end);
                selected.len() - 1
            }
        });
        let decoder = RowDecoder::new(map, &kinds, &selected, &self.charsets)?;
        self.forms.set(name, Form::known(columns, charset));
        let keys = KeyEncoder::new(&form.key);
        let nulls = form.columns.iter().enumerate();
        let nulls = nulls.filter_map(|(place, column)| Some((place, self.zero_dates.nulls(name, column)?))).collect();
        self.zero_dates.apply(&mut form);
        Ok(Plan { decoder, form, keys, end, nulls })
    }

    /// Asks the server how it reads the character sets that are not built in, so that the log's text is that of a SELECT.
    async fn learn_charsets(&mut self, kinds: &[(String, Kind)]) -> Result<()> {
        for name in kinds.iter().filter_map(|(_, kind)| kind.charset()) {
            let mut answers = Vec::new();
            for sql in self.charsets.queries(name) {
                let rows =
                    catalog::query_text(&mut self.conn, "ask how the server reads a character set", &sql).await?;
                answers.extend(rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten());
            }
            if !answers.is_empty() {
                self.charsets.learn(name, &answers)?;
            }
        }
        Ok(())
    }

    /// Whether rows of this event are asked for.
    pub(super) fn takes(&self, rows: &RowsEvent) -> bool {
        matches!(self.plans.get(&rows.table.table_id), Some((map, _, Some(_))) if Arc::ptr_eq(map, &rows.table))
    }

    /// Appends the changes of an event; the bytes that they hold.
    pub(super) fn changes(&mut self, rows: &RowsEvent, events: &mut Vec<Event>) -> Result<usize> {
        let Some((_, _, Some(plan))) = self.plans.get_mut(&rows.table.table_id) else { return Ok(0) };
        let Plan { decoder, form, keys, end, nulls } = plan;
        let builder = &mut self.builder;
        let mut bytes = 0;
        decoder.rows(rows, |before, after| {
            let mut kind = rows.kind;
            let (mut before, mut after) = (before, after);
            if let Some(end) = *end {
                match versions::current(kind, before, after, end, form.columns.len())? {
                    Some(now) => (kind, before, after) = now,
                    None => return Ok(()),
                }
            }
            let before = before.map(|row| with_nulls(row, nulls, builder));
            let after = after.map(|row| with_nulls(row, nulls, builder));
            let op = op(kind, before, after, keys).ok_or_else(|| no_key(form))?;
            let change = Change { table: form.clone(), op };
            bytes += change.size_bytes();
            events.push(Event::Change(change));
            Ok(())
        })?;
        Ok(bytes)
    }
}

/// What happened to a row; `None` if the log does not carry its key.
fn op(kind: RowsKind, before: Option<Row>, after: Option<Row>, keys: &mut KeyEncoder) -> Option<Op> {
    match (kind, before, after) {
        (RowsKind::Insert, _, Some(row)) if row.is_partial() => {
            // With a minimal image the columns that took their default are missing: the row is read again.
            Some(Op::Update { key: keys.key(&row)?, after: row })
        }
        (RowsKind::Insert, _, Some(row)) => {
            keys.key(&row)?;
            Some(Op::Insert(row))
        }
        (RowsKind::Update, Some(before), Some(after)) => {
            let key = keys.key(&before)?;
            keys.key(&after)?;
            Some(Op::Update { key, after })
        }
        (RowsKind::Delete, Some(before), _) => Some(Op::Delete { key: keys.key(&before)? }),
        _ => None,
    }
}

fn no_key(form: &TableSchema) -> Error {
    let key: Vec<&str> = form.key_columns().map(|column| column.name.as_str()).collect();
    Error::new(
        ErrorKind::Config,
        format!("read the log: a row of {} comes without its key ({})", form.name, key.join(", ")),
    )
    .hint("Set binlog_row_image = FULL, or use the table's primary key as `key`.")
}

fn with_nulls(row: Row, nulls: &[(usize, NullDates)], builder: &mut RowBuilder) -> Row {
    if nulls.is_empty() {
        return row;
    }
    for (place, cell) in row.cells().enumerate() {
        let becomes_null = match cell {
            Cell::Text(text) => nulls.iter().any(|(at, nulls)| *at == place && nulls.takes(text)),
            _ => false,
        };
        builder.push(if becomes_null { Cell::Null } else { cell });
    }
    builder.finish()
}
