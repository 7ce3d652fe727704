//! How much comes at once, what a dropped or slow caller means, and what an idle log says.

use super::*;

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
    // Of its own: others would go through those 60 MB too, in small parts.
    let server = Postgres::start(&[]);
    let log = Log::on(&server, "CREATE TABLE t (id int PRIMARY KEY, v text)").await;
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
async fn a_reader_that_is_closed_leaves_its_position_and_a_free_slot_while_more_is_sent() {
    let log = Log::new("CREATE TABLE t (id int PRIMARY KEY, v text)").await;
    let tables = log.tables().await;
    for id in 0..200 {
        let rows = format!("SELECT {id} * 100 + i, repeat('x', 1000) FROM generate_series(0, 99) i");
        log.execute(&format!("INSERT INTO t {rows}")).await;
    }
    let client = log.database.client().await;
    let sql = "SELECT confirmed_flush_lsn::text, active FROM pg_replication_slots WHERE slot_name = $1::text";
    for round in 0..5 {
        let mut reader = log.open(&tables).await;
        let mut events = Vec::new();
        while commits(&events).is_empty() {
            reader.next(&mut events).await.unwrap();
        }
        let position = commits(&events).pop().unwrap();
        reader.confirm(&position).unwrap();
        reader.close().await;
        let slot = client.query_one(sql, &[&log.slot]).await.unwrap();
        assert_eq!((slot.get(0), slot.get(1)), (Some(position.as_str()), false), "round {round}");
    }
}
