//! The kit's own promises: servers start, are private, survive a restart, and are gone after their process.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::{Mysql, Options, Postgres, mysql};
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

#[tokio::test]
async fn databases_are_separate() {
    let (a, b) = (Postgres::shared().create_database("kit"), Postgres::shared().create_database("kit"));
    a.execute("CREATE TABLE t (x int); INSERT INTO t VALUES (1), (NULL)").await;
    let rows = a.query_text("SELECT x FROM t ORDER BY x").await;
    assert_eq!(rows, [[Some("1".to_owned())], [None]]);
    assert!(b.try_execute("SELECT * FROM t").await.is_err());
    assert_eq!(a.value("SHOW wal_level").await, "logical");
}

#[tokio::test]
async fn a_private_server_restarts_and_recovers() {
    let server = Postgres::start(&[("wal_level", "replica")]);
    let database = server.create_database("kit");
    assert_eq!(database.value("SHOW wal_level").await, "replica");
    server.restart_with(&[("wal_level", "logical")]);
    assert_eq!(database.value("SHOW wal_level").await, "logical");
    server.kill();
    server.start_again();
    assert_eq!(database.value("SELECT 1").await, "1");
    let folder = server.socket_dir().to_owned();
    drop(server);
    assert!(!folder.exists());
}

#[tokio::test]
async fn hba_and_tls() {
    let server =
        Options::new().tls().hba("hostssl all alice all scram-sha-256").hba("host all alice all reject").start();
    let database = server.create_database("kit");
    database.execute("CREATE ROLE alice LOGIN PASSWORD 'secret'").await;
    let refused = tokio_postgres::connect(&server.url_as("alice:secret", "postgres"), tokio_postgres::NoTls).await;
    assert!(refused.is_err());
    assert!(server.ca_file().exists());
    assert_eq!(database.value("SHOW ssl").await, "on");
}

#[tokio::test]
async fn mysql_databases_are_separate() {
    let (a, b) = (Mysql::shared().create_database("kit"), Mysql::shared().create_database("kit"));
    a.execute("CREATE TABLE t (x int); INSERT INTO t VALUES (1), (NULL)").await;
    let rows = a.query_text("SELECT x FROM t ORDER BY x IS NULL").await;
    assert_eq!(rows, [[Some("1".to_owned())], [None]]);
    assert!(b.try_execute("SELECT * FROM t").await.is_err());
    assert_eq!(a.value("SELECT @@binlog_format").await, "ROW");
    assert_eq!(a.value("SELECT CAST('2024-01-01 00:00:00' AS DATETIME) - INTERVAL 3 HOUR = CONVERT_TZ('2024-01-01', @@time_zone, '+00:00')").await, "1");
}

#[tokio::test]
async fn a_private_mysql_server_restarts_and_recovers() {
    let server = Mysql::start(&["--binlog-row-image=MINIMAL"]);
    let database = server.create_database("kit");
    assert_eq!(database.value("SELECT @@binlog_row_image").await, "MINIMAL");
    database.execute("CREATE TABLE t (x int) ENGINE=InnoDB; INSERT INTO t VALUES (1)").await;
    let pid = server.pid();
    server.kill();
    server.start_again();
    assert_ne!(server.pid(), pid);
    assert_eq!(database.value("SELECT x FROM t").await, "1");
    server.restart_with(&["--binlog-row-image=NOBLOB"]);
    assert_eq!(database.value("SELECT @@binlog_row_image").await, "NOBLOB");
    let folder = server.data_dir();
    assert!(folder.join("binlog.000001").exists());
    drop(server);
    assert!(!folder.exists());
}

#[tokio::test]
async fn mysql_files_run_in_several_sessions() {
    let database = Mysql::shared().create_database("kit");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("some.sql");
    let sql = "CREATE TABLE t (x int) ENGINE=InnoDB; BEGIN; INSERT INTO t VALUES (1);
        -- session other\nINSERT INTO t VALUES (10);\n-- session first\nSELECT 1;\n";
    std::fs::write(&file, sql).unwrap();
    mysql::run_file(&database.url(), &file).await;
    assert_eq!(database.query_text("SELECT x FROM t").await, [[Some("10".to_owned())]], "one session never committed");
    assert_eq!(database.name().matches(|char: char| !char.is_ascii_alphanumeric() && char != '_').count(), 0);
}

/// Not a test by itself: the process that the test below kills.
#[test]
#[ignore = "started by a_server_ends_with_a_killed_process"]
fn start_a_server_and_wait() {
    let server = Postgres::shared();
    println!("folder {}", server.socket_dir().display());
    std::thread::sleep(Duration::from_secs(60));
}

/// The same with the other server.
#[test]
#[ignore = "started by a_server_ends_with_a_killed_process"]
fn start_a_mysql_server_and_wait() {
    let server = Mysql::shared();
    println!("folder {}", server.data_dir().parent().unwrap().display());
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_server_ends_with_a_killed_process() {
    ends_with_its_process("start_a_server_and_wait", "data/postmaster.pid");
    ends_with_its_process("start_a_mysql_server_and_wait", "server.pid");
}

fn ends_with_its_process(starts: &str, file: &str) {
    let args = ["--exact", starts, "--ignored", "--nocapture"];
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(args)
        .env_remove("ROWFERRY_TEST_PG")
        .env_remove("ROWFERRY_TEST_MYSQL")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said = lines.map(Result::unwrap).find(|line| line.contains("folder ")).expect("the child names its folder");
    let folder = PathBuf::from(said.split_once("folder ").unwrap().1);
    assert!(folder.join(file).exists());
    child.kill().unwrap();
    child.wait().unwrap();
    for _ in 0..200 {
        if !folder.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("{folder:?} is still there 10 s after its process was killed");
}
