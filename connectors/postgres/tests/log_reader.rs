//! The log reader against real servers: what events come, in which forms, and what goes wrong.

#![allow(clippy::unwrap_used)]

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
        LogOptions { connect, slot: self.slot.clone(), publication: publication.into(), backlog_bytes: 0 }
    }

    /// Reads all that is there as a backlog, in parts of a few bytes.
    async fn open_backlog(&self, from: &Position, tables: &[Arc<TableSchema>]) -> PostgresLogReader {
        let options = LogOptions { backlog_bytes: 1, ..self.options("", "all_tables") };
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
        self.execute("UPDATE the_end SET id = id + 1").await;
        let mut events = Vec::new();
        loop {
            let before = events.len();
            let next = tokio::time::timeout(Duration::from_secs(60), reader.next(&mut events));
            next.await.expect("the end of the log in time")?;
            let is_end = |event: &Event| matches!(event, Event::Change(change) if change.table.name.name == "the_end" && matches!(change.op, Op::Update { .. }));
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

#[tokio::test]
async fn every_replica_identity_gives_the_key() {
    let log = Log::new(
        "CREATE TABLE by_key (a int, v text, b text, PRIMARY KEY (b, a));
         CREATE TABLE by_index (v text, code text NOT NULL, id int PRIMARY KEY);
         CREATE UNIQUE INDEX by_code ON by_index (code);
         ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_code;
         CREATE TABLE whole (v text, id int PRIMARY KEY);
         ALTER TABLE whole REPLICA IDENTITY FULL;
         CREATE TABLE none (id int PRIMARY KEY);
         ALTER TABLE none REPLICA IDENTITY NOTHING",
    )
    .await;
    let tables = log.tables().await;
    for table in ["by_key", "by_index", "whole"] {
        let (key, set) = match table {
            "by_key" => ("(a, v, b) VALUES (1, 'x', 'k'), (2, NULL, 'k')", "a = a + 10"),
            "by_index" => ("(v, code, id) VALUES ('x', 'c1', 1), (NULL, 'c2', 2)", "code = code || '!'"),
            _ => ("(v, id) VALUES ('x', 1), (NULL, 2)", "id = id + 10"),
        };
        let row = |nth: u32| {
            if table == "by_key" { format!("a % 10 = {nth}") } else { format!("id % 10 = {nth}") }
        };
        log.execute(&format!("INSERT INTO {table} {key}")).await;
        log.execute(&format!("UPDATE {table} SET v = 'y' WHERE {}", row(1))).await;
        log.execute(&format!("UPDATE {table} SET {set} WHERE {}", row(1))).await;
        log.execute(&format!("DELETE FROM {table}")).await;
    }
    log.execute("INSERT INTO none VALUES (5)").await;
    check(
        &log.events(&tables).await,
        "schema by_key(a* integer, v text, b* text)
         insert by_key (1, x, k)
         insert by_key (2, NULL, k)
         update by_key (k, 1) to (1, y, k)
         update by_key (k, 1) to (11, y, k)
         delete by_key (k, 2)
         delete by_key (k, 11)
         schema by_index(v text, code* text, id integer)
         insert by_index (x, c1, 1)
         insert by_index (NULL, c2, 2)
         update by_index (c1) to (y, c1, 1)
         update by_index (c1) to (y, c1!, 1)
         delete by_index (c2)
         delete by_index (c1!)
         schema whole(v text, id* integer)
         insert whole (x, 1)
         insert whole (NULL, 2)
         update whole (1) to (y, 1)
         update whole (1) to (y, 11)
         delete whole (2)
         delete whole (11)
         schema none(id* integer)
         insert none (5)",
    );
}

#[tokio::test]
async fn transactions_are_whole_and_positions_lead_past_them() {
    let log = Log::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let start = log.confirmed().await;
    for id in 1..=3 {
        log.execute(&format!("BEGIN; INSERT INTO t VALUES ({id}0), ({id}1); COMMIT")).await;
        log.execute("BEGIN; INSERT INTO t VALUES (99); ROLLBACK").await;
    }
    let mut reader = log.try_open(&start, &log.tables().await, "").await.unwrap();
    let events = log.try_rest(&mut reader).await.unwrap();
    drop(reader);
    let frames: String = events
        .iter()
        .filter_map(|event| match event {
            Event::Begin { .. } => Some('('),
            Event::Change(change) if change.table.name.name == "t" => Some('i'),
            Event::Commit { .. } => Some(')'),
            _ => None,
        })
        .collect();
    assert!(frames.starts_with("(ii)(ii)(ii)"), "{frames}");
    let commits: Vec<&Event> = events.iter().filter(|event| matches!(event, Event::Commit { .. })).collect();
    let Event::Commit { position, committed_at, .. } = commits[0] else { unreachable!() };
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_micros() as i64;
    assert!((now - committed_at.0).abs() < 60_000_000, "{committed_at:?}");
    let mut reader = eventually(async || log.try_open(position, &log.tables().await, "").await).await;
    check(
        &log.rest(&mut reader).await,
        "schema t(id* integer)
         insert t (20)
         insert t (21)
         insert t (30)
         insert t (31)",
    );
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

#[tokio::test]
async fn unchanged_large_values_stay_unchanged_unless_the_log_carries_them() {
    let log = Log::new(
        "CREATE TABLE part (id int PRIMARY KEY, big text, n int);
         CREATE TABLE whole (id int PRIMARY KEY, big text, n int);
         ALTER TABLE whole REPLICA IDENTITY FULL;
         CREATE TABLE keyed (code text PRIMARY KEY, big text, n int);
         ALTER TABLE part ALTER big SET STORAGE EXTERNAL;
         ALTER TABLE whole ALTER big SET STORAGE EXTERNAL;
         ALTER TABLE keyed ALTER big SET STORAGE EXTERNAL;
         ALTER TABLE keyed ALTER code SET STORAGE EXTERNAL",
    )
    .await;
    let tables = log.tables().await;
    for table in ["part", "whole"] {
        log.execute(&format!("INSERT INTO {table} VALUES (1, repeat('b', 9000), 0)")).await;
        log.execute(&format!("UPDATE {table} SET n = 1")).await;
        log.execute(&format!("UPDATE {table} SET id = 2")).await;
        log.execute(&format!("UPDATE {table} SET big = repeat('c', 9000)")).await;
        log.execute(&format!("UPDATE {table} SET big = NULL")).await;
    }
    log.execute("INSERT INTO keyed VALUES (repeat('k', 2200), repeat('b', 9000), 0)").await;
    log.execute("UPDATE keyed SET n = 1").await;
    check(
        &log.events(&tables).await,
        "schema part(id* integer, big text, n integer)
         insert part (1, bx9000, 0)
         update part (1) to (1, unchanged, 1)
         update part (1) to (2, unchanged, 1)
         update part (2) to (2, cx9000, 1)
         update part (2) to (2, NULL, 1)
         schema whole(id* integer, big text, n integer)
         insert whole (1, bx9000, 0)
         update whole (1) to (1, bx9000, 1)
         update whole (1) to (2, bx9000, 1)
         update whole (2) to (2, cx9000, 1)
         update whole (2) to (2, NULL, 1)
         schema keyed(code* text, big text, n integer)
         insert keyed (kx2200, bx9000, 0)
         update keyed (kx2200) to (kx2200, unchanged, 1)",
    );
}

#[tokio::test]
async fn a_truncate_names_all_its_tables_side_by_side() {
    let log = Log::new(
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY REFERENCES a);
         CREATE TABLE c (id int PRIMARY KEY); INSERT INTO a VALUES (1); INSERT INTO b VALUES (1)",
    )
    .await;
    let tables = log.tables().await;
    log.execute("TRUNCATE c, a CASCADE").await;
    log.execute("INSERT INTO c VALUES (1)").await;
    check(
        &log.events(&tables).await,
        "schema c(id* integer)
         schema a(id* integer)
         schema b(id* integer)
         truncate c
         truncate a
         truncate b
         insert c (1)",
    );
}

#[tokio::test]
async fn a_form_comes_once_and_again_only_when_it_changed() {
    let log = Log::new("CREATE TABLE t (id int PRIMARY KEY, v varchar(10))").await;
    let given = log.table("t").await;
    let mut reader = log.open(std::slice::from_ref(&given)).await;
    log.execute("INSERT INTO t VALUES (1, 'a')").await;
    let events = log.try_rest(&mut reader).await.unwrap();
    let first = events.iter().find_map(|event| match event {
        Event::Schema(table) if table.name.name == "t" => Some(table.clone()),
        _ => None,
    });
    assert!(Arc::ptr_eq(&first.unwrap(), &given), "nothing differs, so it is the form that was given");
    // The server describes the table again after each of these.
    log.execute("CREATE INDEX ON t (v)").await;
    log.execute("INSERT INTO t VALUES (2, 'b')").await;
    log.execute("ALTER TABLE t ALTER v SET DEFAULT 'd'").await;
    log.execute("INSERT INTO t VALUES (3, 'c')").await;
    check(&log.rest(&mut reader).await, "insert t (2, b)\ninsert t (3, c)");
    log.execute("ALTER TABLE t ADD note text DEFAULT 'n'").await;
    log.execute("UPDATE t SET v = 'z' WHERE id = 1").await;
    log.execute("ALTER TABLE t ALTER v TYPE text").await;
    log.execute("INSERT INTO t VALUES (4, 'd')").await;
    log.execute("ALTER TABLE t DROP note").await;
    log.execute("INSERT INTO t VALUES (5, 'e')").await;
    // ALTER TYPE rewrote the table, which the log carries as new rows under another name: not in it.
    check(
        &log.rest(&mut reader).await,
        "schema t(id* integer, v character varying(10), note text)
         update t (1) to (1, z, n)
         schema t(id* integer, v text, note text)
         insert t (4, d, n)
         schema t(id* integer, v text)
         insert t (5, e)",
    );
}

#[tokio::test]
async fn the_log_s_form_may_be_older_than_the_catalog() {
    let log = Log::new(
        "CREATE TYPE mood AS ENUM ('sad', 'ok');
         CREATE TABLE t (id int PRIMARY KEY, gone numeric(5,2), mood mood, old_name text)",
    )
    .await;
    let given = log.table("t").await;
    log.execute("INSERT INTO t VALUES (1, 1.50, 'ok', 'x')").await;
    log.execute("UPDATE t SET id = 2").await;
    log.execute(
        "ALTER TABLE t DROP gone; ALTER TABLE t RENAME old_name TO new_name; ALTER TABLE t RENAME id TO number",
    )
    .await;
    log.execute("UPDATE t SET number = 3").await;
    let mut reader = log.open(&[given]).await;
    let events = log.try_rest(&mut reader).await.unwrap();
    check(
        &shown(&events),
        "schema t(id* integer, gone numeric(5,2), mood public.mood, old_name text)
         insert t (1, 1.50, ok, x)
         update t (1) to (2, 1.50, ok, x)
         schema t(number* integer, mood public.mood, new_name text)
         update t (2) to (3, ok, x)",
    );
    drop(reader);
    // A table that is gone altogether, and was not asked for.
    log.execute("CREATE TABLE brief (id int PRIMARY KEY, b bool); INSERT INTO brief VALUES (1, true)").await;
    log.execute("DELETE FROM brief; DROP TABLE brief").await;
    let events = eventually(async || log.try_open(&log.confirmed().await, &[], "").await).await;
    let mut events = events;
    let shown = log.rest(&mut events).await;
    assert!(shown.contains("schema brief(id integer, b boolean)\ninsert brief (1, t)\ndelete brief ()"), "{shown}");
}

#[tokio::test]
async fn a_given_form_with_fewer_columns_lends_its_key() {
    let log = Log::new(
        "CREATE TABLE t (a int, b text NOT NULL, c int NOT NULL, PRIMARY KEY (a)); ALTER TABLE t REPLICA IDENTITY FULL",
    )
    .await;
    let mut narrow = (*log.table("t").await).clone();
    narrow.columns.remove(0);
    narrow.key = vec![1, 0];
    log.execute("INSERT INTO t VALUES (1, 'x', 2); UPDATE t SET a = 5; DELETE FROM t").await;
    check(
        &log.events(&[Arc::new(narrow)]).await,
        "schema t(a integer, b* text, c* integer)
         insert t (1, x, 2)
         update t (2, x) to (5, x, 2)
         delete t (2, x)",
    );
}

#[tokio::test]
async fn a_key_that_the_log_does_not_carry_is_an_error_that_names_the_table() {
    let log = Log::new(
        "CREATE TABLE t (id int PRIMARY KEY, email text NOT NULL UNIQUE);
         CREATE TABLE nullable (id int, code text); ALTER TABLE nullable REPLICA IDENTITY FULL",
    )
    .await;
    let with_key = async |name: &str, column: &str| {
        let mut table = (*log.table(name).await).clone();
        table.key = vec![table.column_index(column).unwrap()];
        Arc::new(table)
    };
    let tables = [with_key("t", "email").await, with_key("nullable", "code").await];
    let start = log.confirmed().await;
    // With the primary key unchanged, the log has no old row: the old email is not in it.
    for (sql, names) in [
        ("INSERT INTO t VALUES (1, 'a'); UPDATE t SET email = 'b'", "public.t"),
        ("INSERT INTO nullable VALUES (1, 'a'); UPDATE nullable SET code = NULL", "public.nullable"),
        ("INSERT INTO nullable VALUES (2, NULL)", "public.nullable"),
    ] {
        let start = if sql.contains("INTO t") { start.clone() } else { log.source().head().await.unwrap() };
        log.execute(sql).await;
        let mut reader = eventually(async || log.try_open(&start, &tables, "").await).await;
        let error = log.try_rest(&mut reader).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Schema, "{error}");
        assert!(error.to_string().contains(names) && error.hint_text().is_some(), "{error}");
    }
    // Nobody asked for it with that key: it passes.
    let start = log.source().head().await.unwrap();
    log.execute("UPDATE t SET email = 'c'").await;
    let mut reader = eventually(async || log.try_open(&start, &[], "").await).await;
    assert!(log.rest(&mut reader).await.contains("update t (1) to (1, c)"));
}

#[tokio::test]
async fn names_of_any_kind_are_read() {
    let log = Log::new(
        r#"CREATE SCHEMA "My Schema"; CREATE TABLE "My Schema"."a""b'c\d é" ("Id" int PRIMARY KEY, "select" text, "ü\" text)"#,
    )
    .await;
    log.execute(r#"INSERT INTO "My Schema"."a""b'c\d é" VALUES (1, 'x', 'y')"#).await;
    check(
        &log.events(&log.tables().await).await,
        r#"schema a"b'c\d é(Id* integer, select text, ü\ text)
           insert a"b'c\d é (1, x, y)"#,
    );
}

#[tokio::test]
async fn publications_with_odd_names_are_found() {
    let log = Log::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let name = r#"it's "my" \pub, really"#;
    log.execute(&format!("CREATE PUBLICATION \"{}\" FOR TABLE t", name.replace('"', "\"\""))).await;
    let from = log.source().head().await.unwrap();
    log.execute("INSERT INTO t VALUES (1)").await;
    let mut reader = PostgresLogReader::open(log.options("", name), &from, &log.tables().await).await.unwrap();
    let mut events = Vec::new();
    while !events.iter().any(|event| matches!(event, Event::Commit { .. })) {
        reader.next(&mut events).await.unwrap();
    }
    check(&shown(&events), "schema t(id* integer)\ninsert t (1)");
}

#[tokio::test]
async fn a_dropped_call_loses_nothing() {
    let log = Log::new("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    let tables = log.tables().await;
    for id in 0..60 {
        let more = if id % 20 == 10 { format!("ALTER TABLE t ADD c{id} int") } else { String::new() };
        log.execute(&format!(
            "INSERT INTO t (id, v) SELECT i, repeat('x', 50) FROM generate_series({id} * 100, {id} * 100 + 99) i"
        ))
        .await;
        log.execute(&more).await;
    }
    log.execute("CREATE TABLE the_end (id int PRIMARY KEY); INSERT INTO the_end VALUES (1)").await;
    let mut reader = log.open(&tables).await;
    let (mut events, mut dropped) = (Vec::new(), 0);
    let is_end = |event: &Event| matches!(event, Event::Change(change) if change.table.name.name == "the_end");
    while !events.iter().any(is_end) {
        tokio::select! {
            biased;
            read = reader.next(&mut events) => read.unwrap(),
            () = tokio::task::yield_now() => dropped += 1,
        }
    }
    assert!(dropped > 10, "{dropped} calls were dropped");
    let ids: Vec<String> = events
        .iter()
        .filter_map(|event| match event {
            Event::Change(change) if change.table.name.name == "t" => match &change.op {
                Op::Insert(row) => Some(cell(row.cell(0).unwrap())),
                _ => None,
            },
            _ => None,
        })
        .collect();
    assert_eq!(ids, (0..6000).map(|id| id.to_string()).collect::<Vec<_>>());
    let forms = events.iter().filter(|event| matches!(event, Event::Schema(table) if table.name.name == "t")).count();
    assert_eq!(forms, 4);
}

#[tokio::test]
async fn a_call_stops_near_256_kib() {
    let log = Log::new("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    let tables = log.tables().await;
    log.execute("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 5000) i").await;
    let mut reader = log.open(&tables).await;
    let (mut rows, mut calls) = (0, 0);
    while rows < 5000 {
        // What arrives in between waits in the socket.
        tokio::time::sleep(Duration::from_millis(2)).await;
        let mut events = Vec::new();
        reader.next(&mut events).await.unwrap();
        assert!(!events.is_empty());
        let bytes: usize = events
            .iter()
            .map(|event| match event {
                Event::Change(change) => match &change.op {
                    Op::Insert(row) => row.as_bytes().len(),
                    _ => 0,
                },
                _ => 0,
            })
            .sum();
        assert!(bytes < 300 << 10, "{bytes}");
        rows += events.iter().filter(|event| matches!(event, Event::Change(_))).count();
        calls += 1;
    }
    assert!(calls >= 5_000_000 / (300 << 10), "{calls}");
}

#[tokio::test]
async fn a_row_of_150_mb_passes() {
    let log = Log::new("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    let tables = log.tables().await;
    log.execute("INSERT INTO t VALUES (1, repeat('0123456789', 15000000)); INSERT INTO t VALUES (2, 'small')").await;
    let mut reader = log.open(&tables).await;
    let events = log.try_rest(&mut reader).await.unwrap();
    let rows: Vec<&Row> = events
        .iter()
        .filter_map(|event| match event {
            Event::Change(change) if change.table.name.name == "t" => match &change.op {
                Op::Insert(row) => Some(row),
                _ => None,
            },
            _ => None,
        })
        .collect();
    let Some(Cell::Text(text)) = rows[0].cell(1) else { panic!("no text") };
    assert_eq!(text.len(), 150_000_000);
    assert!(text.chunks(10).all(|part| part == b"0123456789"));
    assert_eq!(cells(rows[1]), "(2, small)");
}

#[tokio::test]
async fn a_stalled_caller_keeps_its_connection() {
    let log = Log::new("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    let tables = log.tables().await;
    log.execute("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 60000) i").await;
    let timeout = "?options=-c%20wal_sender_timeout%3D2s";
    let mut reader = log.try_open(&log.confirmed().await, &tables, timeout).await.unwrap();
    let mut events = Vec::new();
    reader.next(&mut events).await.unwrap();
    // Three times what the server waits for a silent client, with 60 MB that nobody takes: the wait is the test.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let rows = |events: &[Event]| events.iter().filter(|event| matches!(event, Event::Change(_))).count();
    let mut count = rows(&events);
    while count < 60000 {
        events.clear();
        reader.next(&mut events).await.unwrap();
        count += rows(&events);
    }
    // And idle for as long as that again, with a caller that only waits.
    let idle = async {
        loop {
            reader.next(&mut Vec::new()).await.unwrap();
        }
    };
    let idle = tokio::time::timeout(Duration::from_secs(5), idle).await;
    assert!(idle.is_err());
    log.execute("DELETE FROM t WHERE id = 1").await;
    assert!(log.rest(&mut reader).await.contains("delete t (1)"));
}

#[tokio::test]
async fn the_slot_of_an_idle_database_moves_on_and_head_is_passed_soon() {
    let log = Log::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let source = log.source();
    let mut reader = log.open(&log.tables().await).await;
    for round in 0..5 {
        // Log of another database: none of it is ours.
        let other = Postgres::shared().create_database("other");
        other.execute("CREATE TABLE x AS SELECT generate_series(1, 1000) i").await;
        let head = source.head().await.unwrap();
        let began = Instant::now();
        let mut events = Vec::new();
        let passed = loop {
            reader.next(&mut events).await.unwrap();
            if passed(&events) >= Lsn::try_from(&head).unwrap() {
                break Position::from(passed(&events));
            }
        };
        assert!(began.elapsed() < Duration::from_secs(2), "round {round}: {:?}", began.elapsed());
        reader.confirm(&passed).unwrap();
        let began = Instant::now();
        while Lsn::try_from(&log.confirmed().await).unwrap() < Lsn::try_from(&passed).unwrap() {
            assert!(began.elapsed() < Duration::from_secs(2), "the server does not take the confirmation");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test]
async fn an_idle_server_writes_out_the_end_of_its_log_when_somebody_waits_for_it() {
    // Nothing else does: neither the log's writer for half a minute nor the background writer's look at transactions.
    let server = Postgres::start(&[("wal_writer_delay", "10s"), ("autovacuum", "off"), ("bgwriter_delay", "10s")]);
    let log = Log::on(&server, "CREATE TABLE t (id int PRIMARY KEY)").await;
    let source = log.source();
    let mut reader = log.open(&log.tables().await).await;
    log.execute("SET synchronous_commit = off; INSERT INTO t VALUES (1)").await;
    let head = source.head().await.unwrap();
    source.hurry().await.unwrap();
    let mut events = Vec::new();
    let passes = async {
        while !shown(&events).contains("insert t (1)") || passed(&events) < Lsn::try_from(&head).unwrap() {
            reader.next(&mut events).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(5), passes).await.expect("the log's end in time");
}

#[tokio::test]
async fn nothing_is_confirmed_that_the_caller_has_not_confirmed() {
    let log = Log::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let start = log.confirmed().await;
    let mut reader = log.open(&log.tables().await).await;
    log.execute("INSERT INTO t VALUES (1)").await;
    let events = log.try_rest(&mut reader).await.unwrap();
    // Status updates went out in between: the server asked for one or the reader asked for a keepalive.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(log.confirmed().await, start);
    let commit = events.iter().find_map(|event| match event {
        Event::Commit { position, .. } => Some(position.clone()),
        _ => None,
    });
    let commit = commit.unwrap();
    reader.confirm(&commit).unwrap();
    reader.confirm(&start).unwrap();
    drop(reader);
    let began = Instant::now();
    while log.confirmed().await != commit {
        assert!(began.elapsed() < Duration::from_secs(2), "the last confirmation went out with the drop");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_dropped_reader_frees_its_slot_at_once() {
    let log = Log::new("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    let tables = log.tables().await;
    // Enough that the server is stuck in sending.
    log.execute("INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 30000) i").await;
    for _ in 0..3 {
        let began = Instant::now();
        let mut reader = eventually(async || log.try_open(&log.confirmed().await, &tables, "").await).await;
        reader.next(&mut Vec::new()).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn a_slot_in_use_is_busy_and_names_the_process() {
    let log = Log::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let _reader = log.open(&[]).await;
    let error = log.try_open(&log.confirmed().await, &[], "").await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    let pid = log
        .database
        .value(&format!("SELECT active_pid FROM pg_replication_slots WHERE slot_name = '{}'", log.slot))
        .await;
    let text = format!("{error} {}", error.hint_text().unwrap());
    assert!(text.contains(&log.slot) && text.contains(&pid), "{text}");
}

#[tokio::test]
async fn a_position_or_slot_that_is_gone_is_lost() {
    let log = Log::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let start = log.confirmed().await;
    let mut reader = log.open(&[]).await;
    log.execute("INSERT INTO t VALUES (1)").await;
    let events = log.try_rest(&mut reader).await.unwrap();
    let Some(Event::Commit { position, .. }) = events.iter().find(|event| matches!(event, Event::Commit { .. })) else {
        panic!("no commit")
    };
    reader.confirm(position).unwrap();
    drop(reader);
    eventually(async || log.try_open(position, &[], "").await).await;
    let lost = async |from: &Position| {
        let error = eventually(async || match log.try_open(from, &[], "").await {
            Err(error) if error.kind() == ErrorKind::Busy => Err(error),
            other => Ok(other.err().expect("it should be lost")),
        });
        let error = error.await;
        assert_eq!(error.kind(), ErrorKind::LogLost, "{error}");
        assert!(error.hint_text().unwrap().contains("rowferry resync"), "{error}");
        error.to_string()
    };
    let text = lost(&start).await;
    assert!(text.contains(start.as_str()) && text.contains(position.as_str()), "{text}");
    log.execute(&format!("SELECT pg_drop_replication_slot('{}')", log.slot)).await;
    assert!(lost(position).await.contains(&log.slot));
    let wrong = log.try_open(&Position::new("mysql-bin.000001:4"), &[], "").await.err().unwrap();
    assert_eq!(wrong.kind(), ErrorKind::Protocol);
}

#[tokio::test]
async fn a_slot_that_the_server_gave_up_is_lost() {
    let version = Postgres::shared().create_database("version").value("SHOW server_version_num").await;
    if version.parse::<u32>().unwrap() < 130_000 {
        println!("skipped: before version 13 no server gives a slot up");
        return;
    }
    let server =
        Postgres::start(&[("max_slot_wal_keep_size", "1MB"), ("max_wal_size", "32MB"), ("min_wal_size", "32MB")]);
    let log = Log::on(&server, "CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    let start = log.confirmed().await;
    for _ in 0..4 {
        log.execute("SELECT pg_logical_emit_message(false, 'x', repeat('x', 10000000))").await;
        log.execute("SELECT pg_switch_wal()").await;
        log.execute("CHECKPOINT").await;
    }
    let error = log.try_open(&start, &[], "").await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::LogLost, "{error}");
}

#[tokio::test]
async fn a_publication_that_is_not_there_is_named() {
    let log = Log::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let from = log.confirmed().await;
    let mut reader = PostgresLogReader::open(log.options("", "missing"), &from, &[]).await.unwrap();
    log.execute("INSERT INTO t VALUES (1)").await;
    let error = loop {
        if let Err(error) = reader.next(&mut Vec::new()).await {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.hint_text().unwrap().contains("missing"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_ends_is_unreachable_and_the_log_goes_on_after_it() {
    let server = Postgres::start(&[]);
    let log = Log::on(&server, "CREATE TABLE t (id int PRIMARY KEY)").await;
    let tables = log.tables().await;
    log.execute("INSERT INTO t VALUES (1)").await;
    for crash in [false, true] {
        let mut reader = log.open(&tables).await;
        let mut events = log.try_rest(&mut reader).await.unwrap();
        let ended = tokio::spawn(async move {
            loop {
                // A server that shuts down waits until what it has sent is confirmed.
                if let Some(Event::Heartbeat { position } | Event::Commit { position, .. }) = events.last() {
                    reader.confirm(position).unwrap();
                }
                if let Err(error) = reader.next(&mut events).await {
                    return error;
                }
            }
        });
        let stop = || if crash { server.kill() } else { server.restart() };
        tokio::task::block_in_place(stop);
        let error = tokio::time::timeout(Duration::from_secs(10), ended).await.unwrap().unwrap();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
        if crash {
            server.start_again();
        }
        log.execute("INSERT INTO t SELECT max(id) + 1 FROM t").await;
    }
    // What was confirmed shortly before the crash may come again, with the marks of the end in it.
    let mut reader = log.open(&tables).await;
    let mut said = String::new();
    for _ in 0..5 {
        said += &log.rest(&mut reader).await;
        said += "\n";
    }
    assert!(said.contains("insert t (3)"), "{said}");
}

fn commits(events: &[Event]) -> Vec<Position> {
    let position = |event: &Event| match event {
        Event::Commit { position, .. } => Some(position.clone()),
        _ => None,
    };
    events.iter().filter_map(position).collect()
}

impl Log {
    async fn copies(&self) -> String {
        self.database
            .value("SELECT count(*) FROM pg_replication_slots WHERE temporary AND database = current_database()")
            .await
    }
}

/// Read in parts of a few bytes, each a transaction or two: all of it, once, and then what comes after it.
#[tokio::test]
async fn a_backlog_is_read_in_parts_and_the_stream_goes_on_after_it() {
    // Of its own, so that nothing but this is in the log.
    let server = Postgres::start(&[]);
    let log = Log::on(&server, "CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    let (from, tables) = (log.confirmed().await, log.tables().await);
    let each = "INSERT INTO t VALUES (i, 'a'); UPDATE t SET v = 'b' WHERE t.id = i; COMMIT;";
    log.execute(&format!("DO $$ BEGIN FOR i IN 1..400 LOOP {each} END LOOP; END $$")).await;
    log.execute("BEGIN; INSERT INTO t VALUES (1000, 'undone'); ROLLBACK").await;
    let mut streamed = Vec::new();
    let mut reader = log.open(&tables).await;
    while commits(&streamed).len() < 400 {
        reader.next(&mut streamed).await.unwrap();
    }
    drop(reader);

    let options = LogOptions { backlog_bytes: 2_000, ..log.options("", "all_tables") };
    let mut reader = PostgresLogReader::open(options, &from, &tables).await.unwrap();
    assert_eq!(log.copies().await, "2");
    let mut events = Vec::new();
    let mut parts = 0;
    while commits(&events).len() < 400 {
        let before = events.len();
        reader.next(&mut events).await.unwrap();
        parts += events[before..].iter().filter(|event| matches!(event, Event::Heartbeat { .. })).count();
    }
    assert!(parts >= 2, "{parts} parts");
    assert_eq!(commits(&events), commits(&streamed));
    assert!(events.iter().all(|event| !matches!(event, Event::Commit { is_late: false, .. })));
    assert_eq!(log.confirmed().await, from, "nothing was confirmed");

    // What comes now is streamed, and the copies of the slot go with their connections.
    let rest = log.rest(&mut reader).await;
    assert_eq!(rest, "", "all of it was read before");
    log.execute("INSERT INTO t VALUES (500, 'after')").await;
    assert!(log.rest(&mut reader).await.contains("500"));
    assert_eq!(log.copies().await, "0");
    assert_eq!(log.confirmed().await, from);
}

/// A position in the middle of what the slot holds: the copy starts there.
#[tokio::test]
async fn a_backlog_starts_where_the_reader_stands() {
    let log = Log::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let (start, tables) = (log.confirmed().await, log.tables().await);
    log.execute("INSERT INTO t VALUES (1)").await;
    log.execute("INSERT INTO t VALUES (2)").await;
    let mut events = Vec::new();
    let mut reader = log.open_backlog(&start, &tables).await;
    while commits(&events).is_empty() {
        reader.next(&mut events).await.unwrap();
    }
    let first = commits(&events)[0].clone();
    drop(reader);
    let mut reader = log.open_backlog(&first, &tables).await;
    let rest = log.rest(&mut reader).await;
    assert!(!rest.contains("insert t (1)") && rest.contains("insert t (2)"), "{rest}");
}

/// The slot follows what is confirmed, part by part, and never what was only read.
#[tokio::test]
async fn a_slot_is_released_as_its_backlog_is_confirmed() {
    let log = Log::new("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    let (from, tables) = (log.confirmed().await, log.tables().await);
    for id in 0..30 {
        log.execute(&format!("INSERT INTO t VALUES ({id}, repeat('x', 1000))")).await;
    }
    let mut reader = log.open_backlog(&from, &tables).await;
    let mut events = Vec::new();
    while commits(&events).len() < 10 {
        reader.next(&mut events).await.unwrap();
    }
    assert_eq!(log.confirmed().await, from);
    let confirmed = commits(&events)[5].clone();
    reader.confirm(&confirmed).unwrap();
    while commits(&events).len() < 30 {
        reader.next(&mut events).await.unwrap();
    }
    while log.confirmed().await == from {
        tokio::task::yield_now().await;
    }
    assert_eq!(log.confirmed().await, confirmed);
}

#[tokio::test]
async fn a_backlog_that_is_being_read_is_not_read_by_another() {
    let log = Log::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let from = log.confirmed().await;
    log.execute("INSERT INTO t VALUES (1)").await;
    let reader = log.open_backlog(&from, &[]).await;
    let error = log.try_open(&from, &[], "").await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert!(error.to_string().contains(&log.slot), "{error}");
    drop(reader);
    log.try_open(&from, &[], "").await.unwrap();
}

/// Without room for two copies of the slot the backlog is streamed.
#[tokio::test]
async fn a_backlog_without_free_slots_is_streamed() {
    streams_with("1").await;
    streams_with("2").await;
}

async fn streams_with(slots: &str) {
    let server = Postgres::start(&[("max_replication_slots", slots)]);
    let log = Log::on(&server, "CREATE TABLE t (id int PRIMARY KEY)").await;
    let from = log.confirmed().await;
    log.execute("INSERT INTO t VALUES (1)").await;
    let mut reader = log.open_backlog(&from, &log.tables().await).await;
    assert!(log.rest(&mut reader).await.contains("insert t (1)"));
}
