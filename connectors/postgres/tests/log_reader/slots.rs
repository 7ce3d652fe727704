//! Slots and servers that are busy, gone, lost or end, and what is confirmed to them.

use super::*;

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
