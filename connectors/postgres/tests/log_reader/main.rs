//! The log reader against real servers: what events come, in which forms, and what goes wrong.

#![allow(clippy::unwrap_used)]

mod backlog;
mod flow;
mod forms;
mod slots;

use rowferry_api::{Cell, Error, ErrorKind, Event, Key, LogReader, Op, Position, Row, Source, TableName, TableSchema};
use rowferry_postgres::{ConnectOptions, LogOptions, Lsn, PostgresLogReader, PostgresSource, SourceOptions};
use rowferry_testkit::{Database, Postgres};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where the last of these events stands that ends a transaction or lies between two.
fn passed(events: &[Event]) -> Lsn {
    let last = events.iter().rev().find_map(|event| match event {
        Event::Heartbeat { position } | Event::Commit { position, .. } => Some(Lsn::try_from(position).unwrap()),
        _ => None,
    });
    last.unwrap_or(Lsn(0))
}

/// A database whose log is read.
struct Log {
    database: Database,
    slot: String,
}

impl Log {
    /// Runs `setup`, then publishes all tables and makes the slot.
    async fn new(setup: &str) -> Self {
        Self::on(Postgres::shared(), setup).await
    }

    async fn on(server: &Postgres, setup: &str) -> Self {
        let database = server.create_database("log");
        let slot = database.name().to_owned();
        if !setup.is_empty() {
            database.execute(setup).await;
        }
        database.execute("CREATE PUBLICATION all_tables FOR ALL TABLES").await;
        database.execute(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')")).await;
        Self { database, slot }
    }

    async fn execute(&self, sql: &str) {
        self.database.execute(sql).await;
    }

    async fn confirmed(&self) -> Position {
        let sql = format!("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '{}'", self.slot);
        Position::new(self.database.value(&sql).await)
    }

    fn source(&self) -> PostgresSource {
        let (url, slot) = (self.database.url(), self.slot.clone());
        PostgresSource::new(SourceOptions { url, slot, publication: "all_tables".into(), backlog_bytes: 0 }).unwrap()
    }

    async fn tables(&self) -> Vec<Arc<TableSchema>> {
        self.source().tables().await.unwrap().into_iter().map(|table| table.schema).collect()
    }

    async fn table(&self, name: &str) -> Arc<TableSchema> {
        let name = TableName::new("public", name);
        self.tables().await.into_iter().find(|table| table.name == name).unwrap()
    }

    async fn try_open(
        &self,
        from: &Position,
        tables: &[Arc<TableSchema>],
        more: &str,
    ) -> Result<PostgresLogReader, Error> {
        PostgresLogReader::open(self.options(more, "all_tables"), from, tables).await
    }

    fn options(&self, more: &str, publication: &str) -> LogOptions {
        let connect = ConnectOptions::parse(&format!("{}{more}", self.database.url())).unwrap();
        LogOptions {
            connect,
            slot: self.slot.clone(),
            publication: publication.into(),
            backlog_bytes: 0,
            delivered: Arc::default(),
        }
    }

    /// Reads all that is there as a backlog, in parts that end anywhere, also in the middle of a record.
    async fn open_backlog(&self, from: &Position, tables: &[Arc<TableSchema>]) -> PostgresLogReader {
        let options = LogOptions { backlog_bytes: 400, ..self.options("", "all_tables") };
        PostgresLogReader::open(options, from, tables).await.unwrap()
    }

    async fn open(&self, tables: &[Arc<TableSchema>]) -> PostgresLogReader {
        self.try_open(&self.confirmed().await, tables, "").await.unwrap()
    }

    /// What the log says of the transactions so far, one line an event; a last one marks the end. Streamed, and as a backlog.
    async fn events(&self, tables: &[Arc<TableSchema>]) -> String {
        let from = self.confirmed().await;
        let mut reader = self.open(tables).await;
        let events = self.rest(&mut reader).await;
        drop(reader);
        let mut reader = self.open_backlog(&from, tables).await;
        assert_eq!(self.rest(&mut reader).await, events, "as a backlog");
        events
    }

    async fn rest(&self, reader: &mut PostgresLogReader) -> String {
        shown(&self.try_rest(reader).await.unwrap())
    }

    async fn try_rest(&self, reader: &mut PostgresLogReader) -> Result<Vec<Event>, Error> {
        self.execute("CREATE TABLE IF NOT EXISTS the_end (id int PRIMARY KEY); INSERT INTO the_end SELECT 1 WHERE NOT EXISTS (SELECT FROM the_end)")
            .await;
        // Those of earlier calls are in the log as well.
        let end = self.database.value("UPDATE the_end SET id = id + 1 RETURNING id").await;
        let mut events = Vec::new();
        loop {
            let before = events.len();
            let next = tokio::time::timeout(Duration::from_secs(60), reader.next(&mut events));
            next.await.expect("the end of the log in time")?;
            let is_end = |event: &Event| match event {
                Event::Change(change) if change.table.name.name == "the_end" => match &change.op {
                    Op::Update { after, .. } => after.cells().next().map(cell) == Some(end.clone()),
                    _ => false,
                },
                _ => false,
            };
            if events[before..].iter().any(is_end) {
                return Ok(events);
            }
        }
    }
}

/// One line an event, without transactions' frames, heartbeats and the mark of the end.
fn shown(events: &[Event]) -> String {
    let lines = events.iter().filter_map(|event| match event {
        Event::Schema(table) => Some((&table.name, format!("schema {}", form(table)))),
        Event::Change(change) => Some((&change.table.name, op(&change.table.name.name, &change.op))),
        _ => None,
    });
    let lines: Vec<String> = lines.filter(|(table, _)| table.name != "the_end").map(|(_, line)| line).collect();
    lines.join("\n")
}

fn form(table: &TableSchema) -> String {
    let column = |(index, column): (usize, &rowferry_api::Column)| {
        let key = if table.key.contains(&index) { "*" } else { "" };
        format!("{}{key} {}", column.name, column.native)
    };
    let columns: Vec<String> = table.columns.iter().enumerate().map(column).collect();
    format!("{}({})", table.name.name, columns.join(", "))
}

fn op(table: &str, op: &Op) -> String {
    match op {
        Op::Insert(row) => format!("insert {table} {}", cells(row)),
        Op::Update { key, after } => format!("update {table} {} to {}", short(key), cells(after)),
        Op::Delete { key } => format!("delete {table} {}", short(key)),
        Op::Truncate => format!("truncate {table}"),
    }
}

fn short(key: &Key) -> String {
    let texts: Vec<String> = key.cells().map(cell).collect();
    format!("({})", texts.join(", "))
}

fn cells(row: &Row) -> String {
    let texts: Vec<String> = row.cells().map(cell).collect();
    format!("({})", texts.join(", "))
}

fn cell(cell: Cell<'_>) -> String {
    match cell {
        Cell::Null => "NULL".into(),
        Cell::Unchanged => "unchanged".into(),
        Cell::Text(text) if text.len() > 40 => format!("{}x{}", text[0] as char, text.len()),
        Cell::Text(text) | Cell::Raw(text) => String::from_utf8_lossy(text).into_owned(),
    }
}

#[track_caller]
fn check(events: &str, expected: &str) {
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(events.lines().collect::<Vec<_>>(), expected, "\n{events}");
}

/// Opening again right after a drop may meet the old connection for a moment.
async fn eventually<T>(open: impl AsyncFn() -> Result<T, Error>) -> T {
    let began = Instant::now();
    loop {
        match open().await {
            Ok(value) => return value,
            Err(error) if error.kind() == ErrorKind::Busy && began.elapsed() < Duration::from_secs(2) => {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

fn commits(events: &[Event]) -> Vec<Position> {
    let position = |event: &Event| match event {
        Event::Commit { position, .. } => Some(position.clone()),
        _ => None,
    };
    events.iter().filter_map(position).collect()
}
