//! Both kinds of connection against real servers: every login, every sslmode, and what goes wrong.

use super::connect;
use crate::connection::ConnectOptions;
use rowferry_api::{Error, ErrorKind};
use rowferry_testkit::{Database, Options, Postgres};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const ROLES: &str = "
    CREATE ROLE trusty LOGIN REPLICATION;
    CREATE ROLE clear LOGIN REPLICATION PASSWORD 'se cr''et';
    SET password_encryption = 'md5';
    CREATE ROLE old LOGIN REPLICATION PASSWORD 'se cr''et';
    SET password_encryption = 'scram-sha-256';
    CREATE ROLE scram LOGIN REPLICATION PASSWORD 'se cr''et';
    CREATE ROLE carol LOGIN REPLICATION;
    CREATE ROLE only_plain LOGIN REPLICATION;
    CREATE ROLE only_tls LOGIN REPLICATION;
    CREATE ROLE crowded LOGIN REPLICATION CONNECTION LIMIT 0;";

/// A server that speaks TLS and logs each role in its own way.
fn server() -> &'static (Postgres, Database) {
    static SERVER: OnceLock<(Postgres, Database)> = OnceLock::new();
    SERVER.get_or_init(|| {
        let server = Options::new()
            .tls()
            .setting("ssl_ca_file", "../ca.crt")
            .hba("host all clear all password")
            .hba("host all old all md5")
            .hba("host all scram all scram-sha-256")
            .hba("hostssl all carol all cert")
            .hba("hostnossl all only_plain all trust")
            .hba("hostssl all only_plain all reject")
            .hba("hostssl all only_tls all trust")
            .hba("hostnossl all only_tls all reject")
            .start();
        let database = server.create_database("login");
        let sql = format!("{ROLES} ALTER ROLE trusty SET wal_sender_timeout = '7s'");
        let made = database.try_execute(&sql);
        std::thread::scope(|scope| scope.spawn(|| runtime().block_on(made)).join()).unwrap().unwrap();
        (server, database)
    })
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// key=value text for a role, with what else a test needs.
fn text(role: &str, more: &str) -> String {
    let (server, database) = server();
    format!(r"host=localhost hostaddr=127.0.0.1 port={} dbname={} user={role} {more}", server.port(), database.name())
}

const PASSWORD: &str = r"password='se cr\'et'";

/// Whether each kind of connection is encrypted, or why it was refused; both must agree.
async fn encrypted(text: &str) -> Result<bool, Error> {
    let options = ConnectOptions::parse(text)?;
    let ordinary = async {
        let client = options.connect().await?;
        let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        Ok::<bool, Error>(client.query_one(sql, &[]).await.unwrap().get(0))
    };
    let replication = async {
        let mut connection = connect(&options).await?;
        let system = connection.query("IDENTIFY_SYSTEM").await.unwrap();
        assert_eq!(system[0][3].as_deref(), Some(options.database()));
        let pid = connection.query("SELECT ssl::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()").await.unwrap();
        Ok::<bool, Error>(pid[0][0].as_deref() == Some("true"))
    };
    match (ordinary.await, replication.await) {
        (Ok(ordinary), Ok(replication)) => {
            assert_eq!(ordinary, replication, "{text}");
            Ok(ordinary)
        }
        (Err(ordinary), Err(replication)) => {
            assert_eq!(ordinary.kind(), replication.kind(), "{text}: {ordinary} and {replication}");
            assert!(replication.hint_text().is_some(), "{replication}");
            for error in [&ordinary, &replication] {
                assert!(!format!("{error} {error:?}").contains("cr'et"), "{error}");
            }
            Err(replication)
        }
        (ordinary, replication) => panic!("{text}: {ordinary:?} but {replication:?}"),
    }
}

#[track_caller]
fn refused(result: Result<bool, Error>, kind: ErrorKind) -> String {
    let error = result.expect_err("it should be refused");
    assert_eq!(error.kind(), kind, "{error}");
    error.to_string()
}

#[tokio::test]
async fn every_login_works_with_and_without_tls() {
    for role in ["trusty", "clear", "old", "scram"] {
        for (mode, is_encrypted) in [("disable", false), ("prefer", true), ("require", true)] {
            let text = text(role, &format!("{PASSWORD} sslmode={mode}"));
            assert_eq!(encrypted(&text).await.unwrap(), is_encrypted, "{role} {mode}");
        }
    }
}

#[tokio::test]
async fn a_login_is_bound_to_its_tls_session() {
    let bound = format!("{PASSWORD} channel_binding=require");
    assert!(encrypted(&text("scram", &format!("{bound} sslmode=require"))).await.unwrap());
    assert!(encrypted(&text("scram", &format!("{PASSWORD} channel_binding=disable sslmode=require"))).await.unwrap());
    for (role, mode) in [("old", "require"), ("clear", "require"), ("trusty", "require"), ("scram", "disable")] {
        let text = text(role, &format!("{bound} sslmode={mode}"));
        refused(encrypted(&text).await, ErrorKind::Denied);
    }
}

#[tokio::test]
async fn a_login_that_fails_says_who_and_what_to_check() {
    for role in ["clear", "old", "scram"] {
        let wrong = text(role, "password=wrong sslmode=require");
        assert!(refused(encrypted(&wrong).await, ErrorKind::Denied).contains(role));
        refused(encrypted(&text(role, "sslmode=disable")).await, ErrorKind::Denied);
    }
    assert!(refused(encrypted(&text("nobody_here", "")).await, ErrorKind::Denied).contains("nobody_here"));
    let (server, _) = server();
    let elsewhere = format!("host=127.0.0.1 port={} user=trusty dbname=nowhere", server.port());
    assert!(refused(encrypted(&elsewhere).await, ErrorKind::Denied).contains("nowhere"));
    // A role's limit does not count replication connections.
    let crowded = ConnectOptions::parse(&text("crowded", "")).unwrap().connect().await;
    assert_eq!(crowded.unwrap_err().kind(), ErrorKind::Unreachable);
    refused(encrypted(&text("only_tls", "sslmode=disable")).await, ErrorKind::Denied);
    refused(encrypted(&text("only_plain", "sslmode=require")).await, ErrorKind::Denied);
}

#[tokio::test]
async fn prefer_goes_without_tls_where_the_server_wants_that() {
    assert!(!encrypted(&text("only_plain", "sslmode=prefer")).await.unwrap());
    assert!(encrypted(&text("only_tls", "")).await.unwrap(), "prefer is the default");
    let plain = Postgres::start(&[]);
    let url = |mode: &str| format!("{}?sslmode={mode}", plain.url("postgres"));
    assert!(!encrypted(&url("prefer")).await.unwrap());
    assert!(refused(encrypted(&url("require")).await, ErrorKind::Config).contains("TLS"));
}

#[tokio::test]
async fn verify_ca_looks_at_the_authority_and_verify_full_at_the_name_too() {
    let ca = server().0.ca_file().display().to_string();
    let (server, database) = server();
    let at = |host: &str, mode: &str, ca: &str| {
        let (port, name) = (server.port(), database.name());
        format!("host={host} hostaddr=127.0.0.1 port={port} dbname={name} user=trusty sslmode={mode} sslrootcert={ca}")
    };
    for host in ["localhost", "127.0.0.1"] {
        assert!(encrypted(&at(host, "verify-ca", &ca)).await.unwrap());
        assert!(encrypted(&at(host, "verify-full", &ca)).await.unwrap());
    }
    assert!(encrypted(&at("other.example", "verify-ca", &ca)).await.unwrap());
    assert!(encrypted(&at("other.example", "require", &ca)).await.unwrap());
    let text = refused(encrypted(&at("other.example", "verify-full", &ca)).await, ErrorKind::Config);
    assert!(text.contains("does not name this host"), "{text}");

    let folder = tempfile::tempdir().unwrap();
    let stranger = self_signed(folder.path(), "/CN=somebody");
    for mode in ["require", "verify-ca", "verify-full"] {
        let text = refused(encrypted(&at("localhost", mode, &stranger)).await, ErrorKind::Config);
        assert!(text.contains("authority that we do not trust"), "{text}");
    }
    assert!(encrypted(&at("localhost", "prefer", &stranger)).await.unwrap(), "prefer verifies nothing");
    let system = at("localhost", "verify-full", "system");
    refused(encrypted(&system).await, ErrorKind::Config);
    refused(encrypted(&at("localhost", "require", "system")).await, ErrorKind::Config);
}

#[tokio::test]
async fn a_server_s_own_self_signed_certificate_can_be_the_trusted_one() {
    let server = Options::new().tls().start();
    let folder = tempfile::tempdir().unwrap();
    let made = self_signed(folder.path(), "/CN=localhost");
    // Written over what is there, so that owner and mode stay.
    for (name, from) in [("server.crt", PathBuf::from(&made)), ("server.key", folder.path().join("own.key"))] {
        std::fs::write(server.socket_dir().join(name), std::fs::read(from).unwrap()).unwrap();
    }
    server.restart();
    let at = |host: &str, mode: &str| {
        let port = server.port();
        format!(
            "host={host} hostaddr=127.0.0.1 port={port} dbname=postgres user=postgres sslmode={mode} sslrootcert={made}"
        )
    };
    assert!(encrypted(&at("localhost", "verify-ca")).await.unwrap());
    assert!(encrypted(&at("localhost", "verify-full")).await.unwrap(), "its common name is the host");
    refused(encrypted(&at("other.example", "verify-full")).await, ErrorKind::Config);
}

#[tokio::test]
async fn a_client_certificate_logs_in() {
    let folder = tempfile::tempdir().unwrap();
    let authority = server().0.socket_dir();
    openssl(folder.path(), "req -new -newkey rsa:2048 -nodes -subj /CN=carol -keyout carol.key -out carol.csr");
    let (ca, key) = (authority.join("ca.crt"), authority.join("ca.key"));
    let sign = format!(
        "x509 -req -in carol.csr -CA {} -CAkey {} -set_serial 7 -days 2 -out carol.crt",
        ca.display(),
        key.display()
    );
    openssl(folder.path(), &sign);
    let dir = folder.path().display();
    let with =
        format!("sslmode=verify-full sslrootcert={} sslcert={dir}/carol.crt sslkey={dir}/carol.key", ca.display());
    assert!(encrypted(&text("carol", &with)).await.unwrap());
    refused(encrypted(&text("carol", "sslmode=require")).await, ErrorKind::Denied);
    let stranger = self_signed(folder.path(), "/CN=carol");
    let with = format!("sslmode=require sslcert={stranger} sslkey={dir}/own.key");
    refused(encrypted(&text("carol", &with)).await, ErrorKind::Config);
}

#[tokio::test]
async fn unix_sockets_are_plain_whatever_the_mode_says() {
    let (server, database) = server();
    let dir = server.socket_dir().display().to_string();
    let (port, name) = (server.port(), database.name());
    let encoded = dir.replace('/', "%2F");
    for mode in ["disable", "prefer", "require"] {
        let by_parameter = format!("postgres://trusty@/{name}?host={dir}&port={port}&sslmode={mode}");
        let by_host = format!("postgres://trusty@{encoded}:{port}/{name}?sslmode={mode}");
        assert!(!encrypted(&by_parameter).await.unwrap());
        assert!(!encrypted(&by_host).await.unwrap());
    }
    refused(encrypted(&format!("host=/nowhere/at/all user=trusty dbname={name}")).await, ErrorKind::Unreachable);
}

#[tokio::test]
async fn a_server_that_is_not_there_or_says_nothing_is_unreachable() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = |mode: &str| format!("postgres://u:p@127.0.0.1:{port}/db?connect_timeout=1&sslmode={mode}");
    for mode in ["disable", "prefer"] {
        refused(encrypted(&silent(mode)).await, ErrorKind::Unreachable);
    }
    drop(listener);
    refused(encrypted(&silent("prefer")).await, ErrorKind::Unreachable);
    refused(encrypted("postgres://u:p@no-such-host.invalid/db?connect_timeout=2").await, ErrorKind::Unreachable);
    // The next address is tried.
    let (server, database) = server();
    let both = format!("postgres://trusty@127.0.0.1:{port},127.0.0.1:{}/{}", server.port(), database.name());
    encrypted(&both).await.unwrap();
}

#[tokio::test]
async fn sessions_of_both_kinds_write_values_the_same_way() {
    let (_, database) = server();
    let role = "ALTER ROLE trusty SET TimeZone = 'Asia/Tokyo'; ALTER ROLE trusty SET statement_timeout = '1ms'; \
                ALTER ROLE trusty SET bytea_output = 'escape'";
    database.execute(role).await;
    let has_idle_timeout =
        database.value("SELECT count(*) FROM pg_settings WHERE name = 'idle_session_timeout'").await == "1";
    if has_idle_timeout {
        database.execute("ALTER ROLE trusty SET idle_session_timeout = '1h'").await;
    }
    let options = ConnectOptions::parse(&text("trusty", "application_name=ferry")).unwrap();
    let client = options.connect().await.unwrap();
    let mut connection = connect(&options).await.unwrap();
    let expected = [
        ("TimeZone", "UTC"),
        ("DateStyle", "ISO, MDY"),
        ("IntervalStyle", "postgres"),
        ("extra_float_digits", "3"),
        ("bytea_output", "hex"),
        ("client_encoding", "UTF8"),
        ("search_path", ""),
        ("statement_timeout", "0"),
        ("idle_session_timeout", "0"),
        ("row_security", "off"),
        ("default_transaction_isolation", "read committed"),
        ("application_name", "ferry"),
    ];
    let known = expected.into_iter().filter(|(name, _)| has_idle_timeout || *name != "idle_session_timeout");
    for (name, value) in known {
        let ordinary: String = client.query_one(&format!("SHOW {name}"), &[]).await.unwrap().get(0);
        let replication = connection.query(&format!("SHOW {name}")).await.unwrap();
        assert_eq!((ordinary.as_str(), replication[0][0].as_deref()), (value, Some(value)), "{name}");
    }
    let failure = connection.query("SELECT 1/0").await.unwrap_err();
    assert_eq!(failure.into_error("divide").kind(), ErrorKind::BadRow);
    assert_eq!(connection.query("SELECT 1").await.unwrap(), [[Some("1".to_owned())]], "an error ends no connection");
}

fn self_signed(folder: &Path, subject: &str) -> String {
    openssl(folder, &format!("req -x509 -newkey rsa:2048 -nodes -days 2 -subj {subject} -keyout own.key -out own.crt"));
    folder.join("own.crt").display().to_string()
}

fn openssl(folder: &Path, args: &str) {
    let output = Command::new("openssl").args(args.split_whitespace()).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {args}: {}", String::from_utf8_lossy(&output.stderr));
}
