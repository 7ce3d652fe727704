//! A backlog, read in parts.

use super::*;

impl Log {
    /// Whether the server is one whose backlogs are read in parts; says so if not.
    async fn is_read_in_parts(&self) -> bool {
        let version: u32 = self.database.value("SHOW server_version_num").await.parse().unwrap();
        if version < 140_000 {
            println!("skipped: version {version} is streamed from");
        }
        version >= 140_000
    }

    async fn copies(&self) -> String {
        self.database
            .value("SELECT count(*) FROM pg_replication_slots WHERE temporary AND database = current_database()")
            .await
    }

    /// A session has no copy for a moment when it takes another one, and the server notices its end when it does.
    async fn wait_for_copies(&self, copies: &str) {
        let wait = async {
            while self.copies().await != copies {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("no {copies} copies"));
    }
}

/// Reads until there are so many commits, or a few more.
async fn read_commits(reader: &mut PostgresLogReader, count: usize) -> Vec<Event> {
    let mut events = Vec::new();
    while commits(&events).len() < count {
        reader.next(&mut events).await.unwrap();
    }
    events
}

/// Read in parts of a few bytes, each a transaction or two: all of it, once, and then what comes after it.
#[tokio::test]
async fn a_backlog_is_read_in_parts_and_the_stream_goes_on_after_it() {
    // Of its own, so that nothing but this is in the log.
    let server = Postgres::start(&[]);
    let log = Log::on(&server, "CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    if !log.is_read_in_parts().await {
        return;
    }
    let (from, tables) = (log.confirmed().await, log.tables().await);
    let each = "INSERT INTO t VALUES (i, 'a'); UPDATE t SET v = 'b' WHERE t.id = i; COMMIT;";
    log.execute(&format!("DO $$ BEGIN FOR i IN 1..400 LOOP {each} END LOOP; END $$")).await;
    log.execute("BEGIN; INSERT INTO t VALUES (1000, 'undone'); ROLLBACK").await;
    let mut reader = log.open(&tables).await;
    let streamed = read_commits(&mut reader, 400).await;
    drop(reader);

    // The smaller ones end anywhere, also in the middle of a record or of a page's header.
    for (backlog_bytes, at_least) in [(40, 100), (100, 40), (2_000, 2)] {
        let options = LogOptions { backlog_bytes, ..log.options("", "all_tables") };
        let mut reader = PostgresLogReader::open(options, &from, &tables).await.unwrap();
        // Three sessions' and the cursor's.
        log.wait_for_copies("4").await;
        let events = read_commits(&mut reader, 400).await;
        let parts = events.iter().filter(|event| matches!(event, Event::Heartbeat { .. })).count();
        assert!(parts >= at_least, "{parts} parts");
        assert_eq!(commits(&events), commits(&streamed));
        assert!(events.iter().all(|event| !matches!(event, Event::Commit { is_late: false, .. })));
        assert_eq!(log.confirmed().await, from, "nothing was confirmed");
    }

    // What comes after it is streamed, and the copies of the slot go with their connections.
    let options = LogOptions { backlog_bytes: 2_000, ..log.options("", "all_tables") };
    let mut reader = PostgresLogReader::open(options, &from, &tables).await.unwrap();
    read_commits(&mut reader, 400).await;
    let rest = log.rest(&mut reader).await;
    assert_eq!(rest, "", "all of it was read before");
    log.execute("INSERT INTO t VALUES (500, 'after')").await;
    assert!(log.rest(&mut reader).await.contains("500"));
    log.wait_for_copies("0").await;
    assert_eq!(log.confirmed().await, from);
}

/// A position in the middle of what the slot holds: the copy starts there.
#[tokio::test]
async fn a_backlog_starts_where_the_reader_stands() {
    let log = Log::new("CREATE TABLE t (id int PRIMARY KEY)").await;
    let (start, tables) = (log.confirmed().await, log.tables().await);
    log.execute("INSERT INTO t VALUES (1)").await;
    log.execute("INSERT INTO t VALUES (2)").await;
    let mut reader = log.open_backlog(&start, &tables).await;
    let first = commits(&read_commits(&mut reader, 1).await)[0].clone();
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

/// Without room for two copies of the slot the backlog is streamed; with that, as many sessions read it as leave a place free.
#[tokio::test]
async fn a_server_with_few_slots_is_read_by_fewer_sessions_or_streamed() {
    for (slots, copies) in [("1", "0"), ("2", "0"), ("3", "2"), ("4", "2"), ("5", "3"), ("6", "4")] {
        let server = Postgres::start(&[("max_replication_slots", slots)]);
        let log = Log::on(&server, "CREATE TABLE t (id int PRIMARY KEY)").await;
        if !log.is_read_in_parts().await {
            return;
        }
        let from = log.confirmed().await;
        log.execute("INSERT INTO t SELECT generate_series(1, 100)").await;
        let mut reader = log.open_backlog(&from, &log.tables().await).await;
        log.wait_for_copies(copies).await;
        assert!(log.rest(&mut reader).await.contains("insert t (1)"));
    }
}

/// The server has no room to write a part down: it is streamed, from where the parts before it end.
#[tokio::test]
async fn a_part_that_the_server_has_no_room_for_is_streamed() {
    let server = Postgres::start(&[("temp_file_limit", "1MB")]);
    let log = Log::on(&server, "CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    if !log.is_read_in_parts().await {
        return;
    }
    let (from, tables) = (log.confirmed().await, log.tables().await);
    log.execute("INSERT INTO t VALUES (1)").await;
    log.execute("SET temp_file_limit = -1; INSERT INTO t SELECT 2, string_agg(md5(i::text), '') FROM generate_series(1, 300000) i").await;
    log.execute("INSERT INTO t VALUES (3)").await;
    let options = LogOptions { backlog_bytes: 1 << 20, ..log.options("", "all_tables") };
    let mut reader = PostgresLogReader::open(options, &from, &tables).await.unwrap();
    log.wait_for_copies("4").await;
    let events = log.try_rest(&mut reader).await.unwrap();
    let id = |event: &Event| match event {
        Event::Change(change) if change.table.name.name == "t" => match &change.op {
            Op::Insert(row) => row.cells().next().map(cell),
            _ => None,
        },
        _ => None,
    };
    assert_eq!(events.iter().filter_map(id).collect::<Vec<_>>(), ["1", "2", "3"]);
    log.wait_for_copies("0").await;
}

/// A commit record right behind a page's header, and a first part that ends inside of that header: the server sends the
/// transaction with that part, and again with the next one.
#[tokio::test]
async fn a_transaction_that_the_server_sends_with_two_parts_comes_once() {
    const PAGE_BYTES: u64 = 8192;
    const HEADER_BYTES: u64 = 24;
    let server = Postgres::start(&[]);
    let log = Log::on(&server, "CREATE TABLE t (id int PRIMARY KEY)").await;
    if !log.is_read_in_parts().await {
        return;
    }
    let (from, tables) = (log.confirmed().await, log.tables().await);
    log.execute("DO $$ BEGIN FOR i IN 1..20000 LOOP INSERT INTO t VALUES (i); COMMIT; END LOOP; END $$").await;
    let sql = format!(
        "SELECT ('x' || encode(substr(data, 2, 8), 'hex'))::bit(64)::bigint FROM pg_logical_slot_peek_binary_changes('{}', \
         NULL, NULL, 'proto_version', '1', 'publication_names', 'all_tables') WHERE get_byte(data, 0) = ascii('B')",
        log.slot
    );
    let begins: Vec<u64> =
        log.database.query_text(&sql).await.iter().map(|row| row[0].as_deref().unwrap().parse().unwrap()).collect();
    assert_eq!(begins.len(), 20_000);
    let behind_header = begins.iter().position(|at| at % PAGE_BYTES == HEADER_BYTES).expect("one of 20,000");
    // The first part is a sixteenth of what is worth parts, and so much has to be there.
    log.execute("SELECT pg_logical_emit_message(false, 'rest', repeat('x', 1000000)) FROM generate_series(1, 80)")
        .await;
    let end_of_part = begins[behind_header] - HEADER_BYTES / 2;
    let backlog_bytes = 16 * (end_of_part - Lsn::try_from(&from).unwrap().0);
    let options = LogOptions { backlog_bytes, ..log.options("", "all_tables") };
    let mut reader = PostgresLogReader::open(options, &from, &tables).await.unwrap();
    let mut events = Vec::new();
    let mut whole = 0;
    while !events.iter().any(|event| matches!(event, Event::Heartbeat { position } if *position != from)) {
        events.clear();
        reader.next(&mut events).await.unwrap();
        whole += commits(&events).len();
    }
    assert_eq!(passed(&events), Lsn(end_of_part));
    assert_eq!(whole, behind_header);
    while whole < 20_000 {
        events.clear();
        reader.next(&mut events).await.unwrap();
        whole += commits(&events).len();
    }
    assert!(!log.rest(&mut reader).await.contains(" t "), "none comes twice");
}

/// Who waits for more of a backlog hears at once that there is none, also if the last transaction ends where the log does.
#[tokio::test]
async fn the_end_of_a_backlog_is_said_on_a_quiet_server() {
    let server = Postgres::start(&[]);
    let log = Log::on(&server, "CREATE TABLE t (id int PRIMARY KEY)").await;
    if !log.is_read_in_parts().await {
        return;
    }
    let (from, tables) = (log.confirmed().await, log.tables().await);
    log.execute("INSERT INTO t SELECT generate_series(1, 100)").await;
    let end = async || Lsn::parse(&log.database.value("SELECT pg_current_wal_flush_lsn()").await).unwrap();
    let before = end().await;
    let mut reader = log.open_backlog(&from, &tables).await;
    let after = end().await;
    let mut events = Vec::new();
    while commits(&events).is_empty() {
        events.clear();
        reader.next(&mut events).await.unwrap();
    }
    while !matches!(events.last(), Some(Event::Heartbeat { .. })) {
        reader.next(&mut events).await.unwrap();
    }
    assert!((before..=after).contains(&passed(&events)), "{before} <= {} <= {after}", passed(&events));
}

/// A transaction that has an id and nothing in the log, and a column that comes in a subtransaction: what a slot writes down of that
/// moment lets the other parts, and other slots, read the rows behind it. Before version 14 it does not where the slot is moved
/// without decoding.
#[tokio::test]
async fn a_column_that_a_subtransaction_adds_is_read_in_every_part() {
    let server = Postgres::start(&[]);
    let log = Log::on(&server, "CREATE TABLE t (id int PRIMARY KEY)").await;
    let (from, tables) = (log.confirmed().await, log.tables().await);
    log.execute("INSERT INTO t VALUES (0)").await;
    let open = log.database.client().await;
    open.batch_execute("BEGIN; SELECT txid_current()").await.unwrap();
    log.execute("BEGIN; SAVEPOINT a; ALTER TABLE t ADD c int; RELEASE a; COMMIT").await;
    for id in 1..4 {
        log.execute(&format!("INSERT INTO t VALUES ({id}, {id})")).await;
        log.execute("CHECKPOINT").await;
    }
    open.batch_execute("COMMIT").await.unwrap();
    log.execute("INSERT INTO t VALUES (4, 4)").await;
    let mut reader = log.open_backlog(&from, &tables).await;
    let events = log.rest(&mut reader).await;
    for row in ["(0)", "(1, 1)", "(2, 2)", "(3, 3)", "(4, 4)"] {
        assert!(events.contains(&format!("insert t {row}")), "{events}");
    }
}
