//! The kit's own promises: servers start, are private, survive a restart, and are gone after their process.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::{Options, Postgres};
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

/// Not a test by itself: the process that the test below kills.
#[test]
#[ignore = "started by a_server_ends_with_a_killed_process"]
fn start_a_server_and_wait() {
    let server = Postgres::shared();
    println!("folder {}", server.socket_dir().display());
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn a_server_ends_with_a_killed_process() {
    let args = ["--exact", "start_a_server_and_wait", "--ignored", "--nocapture"];
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(args)
        .env_remove("ROWFERRY_TEST_PG")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let said = lines.map(Result::unwrap).find(|line| line.contains("folder ")).expect("the child names its folder");
    let folder = PathBuf::from(said.split_once("folder ").unwrap().1);
    assert!(folder.join("data/postmaster.pid").exists());
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
