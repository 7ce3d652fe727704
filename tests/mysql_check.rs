//! What `check` finds at a MySQL or MariaDB source, and that the statements it gives mend it.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::mysql::compare::{Target, differences, source_tables};
use rowferry_testkit::{Mysql, MysqlDatabase, Rowferry};
use serde_json::Value;
use std::collections::BTreeMap;

const BINARY: &str = env!("CARGO_BIN_EXE_rowferry");

fn rowferry(source: &MysqlDatabase, more: &str) -> Rowferry {
    let config = format!(
        "[pipeline.shop]\nsource = {{ kind = \"mysql\", url = \"{}\"{more} }}\n\
         target = {{ kind = \"sqlite\", path = \"copy.db\" }}\ntables = [\"{}.*\"]\n",
        source.url(),
        source.name()
    );
    Rowferry::new(BINARY, &config)
}

/// Severity and mend of each finding, by its subject; tables without the name of their database.
fn findings(rowferry: &Rowferry, source: &MysqlDatabase) -> BTreeMap<String, (String, String)> {
    let (_, report) = rowferry.json(&["check"]);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let findings = report["pipelines"][0]["findings"].as_array().unwrap();
    let prefix = format!("table {}.", source.name());
    // The target has its own name for a table, and a finding of its own.
    let at_target = format!("table {}_", source.name());
    let one = |finding: &Value| {
        let subject = text(&finding["subject"]).replace(&prefix, "table ");
        (subject, (text(&finding["severity"]), text(&finding["mend"])))
    };
    findings.iter().map(one).filter(|(subject, _)| !subject.starts_with(&at_target)).collect()
}

/// What is to be found with these wrong settings: subject, severity, and what the mend begins with.
fn expected(server: &Mysql) -> Vec<(&'static str, &'static str, &'static str)> {
    let flavor = server.flavor();
    let has_metadata = flavor.is_mariadb() || flavor.version() >= (8, 0);
    let expiry = match (flavor.is_mariadb(), flavor.version()) {
        (true, version) if version < (10, 6) => "SET GLOBAL expire_logs_days",
        (false, version) if version < (8, 0) => "SET GLOBAL expire_logs_days",
        _ => "SET GLOBAL binlog_expire_logs_seconds",
    };
    let mut expected = vec![
        ("source binlog_format", "blocked", "SET GLOBAL binlog_format = 'ROW';"),
        ("source binlog_row_image", "warning", "SET GLOBAL binlog_row_image = 'FULL';"),
        ("source sql_mode", "warning", "Declare what becomes of them in the source's options: zero_dates"),
        ("table keyless", "blocked", "ALTER TABLE"),
        ("table aria", "warning", "ALTER TABLE"),
    ];
    if has_metadata {
        expected.push(("source binlog_row_metadata", "warning", "SET GLOBAL binlog_row_metadata = 'FULL';"));
        // Days are the least that older servers keep.
        expected.push(("source log retention", "warning", expiry));
    }
    if flavor.is_mariadb() || flavor.version() < (9, 6) {
        expected.push(("table lines", "warning", "Have the application delete and update those rows itself"));
    }
    expected
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_settings_are_found_and_their_statements_mend_them() {
    let server = Mysql::start(&["--server-id=51", "--binlog-format=MIXED", "--binlog-row-image=MINIMAL"]);
    let flavor = server.flavor();
    if flavor.is_mariadb() || flavor.version() >= (8, 0) {
        server
            .execute("SET GLOBAL binlog_row_metadata = 'MINIMAL'; SET GLOBAL binlog_expire_logs_seconds = 3600")
            .await;
    }
    let source = server.create_database("wrong");
    source
        .execute(
            "CREATE TABLE keyless (id INT, sent_at DATETIME); CREATE TABLE aria (id INT PRIMARY KEY) ENGINE = MyISAM;
             CREATE TABLE orders (id INT PRIMARY KEY);
             CREATE TABLE `lines` (id INT PRIMARY KEY, o INT, FOREIGN KEY (o) REFERENCES orders (id) ON DELETE CASCADE)",
        )
        .await;
    server.execute("SET GLOBAL sql_mode = ''").await;
    let looking = rowferry(&source, "");
    looking.command(&["check"]).expect_code(3);
    let found = findings(&looking, &source);
    for (subject, severity, mend) in expected(&server) {
        let (is, said) = found.get(subject).unwrap_or_else(|| panic!("nothing of {subject} in {found:#?}"));
        assert!(is == severity && said.starts_with(mend), "{subject}: {is}, {said}");
    }
    let wrong: Vec<&String> =
        found.iter().filter(|(_, (severity, _))| severity != "ok").map(|(name, _)| name).collect();
    let known = |subject: &&&String| !expected(&server).iter().any(|(known, ..)| known == *subject);
    assert_eq!(wrong.iter().find(known), None, "a finding that nobody expects");

    // As they stand; only the columns of the key are for a person to choose.
    let statements =
        found.values().filter(|(_, mend)| mend.starts_with("SET GLOBAL") || mend.starts_with("ALTER TABLE"));
    for (_, mend) in statements {
        let statement = mend.split(';').next().unwrap();
        source.execute(&statement.replace("(...)", "(id)")).await;
    }
    let looking = rowferry(&source, ", zero_dates = \"null\"");
    looking.command(&["check"]).expect_code(0);
    let left = findings(&looking, &source).into_iter().filter(|(_, (severity, _))| severity != "ok");
    let left: Vec<String> = left.map(|(subject, _)| subject).filter(|subject| subject != "table lines").collect();
    assert_eq!(left, Vec::<String>::new(), "mended, and still found");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_log_is_refused() {
    let server =
        Mysql::start(&["--server-id=52", "--skip-log-bin", "--skip-log-slave-updates", "--loose-gtid-mode=OFF"]);
    let source = server.create_database("silent");
    source.execute("CREATE TABLE t (id INT PRIMARY KEY)").await;
    let looking = rowferry(&source, "");
    looking.command(&["check"]).expect_code(3);
    let (severity, mend) = findings(&looking, &source).remove("source log_bin").expect("a finding");
    assert!(severity == "blocked" && mend.contains("log_bin = binlog"), "{severity}: {mend}");
    looking.command(&["run", "--until-caught-up"]).expect_code(1).expect_stderr(&["log"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_own_number_is_refused() {
    let server = Mysql::start(&["--server-id=53"]);
    let source = server.create_database("numbers");
    source.execute("CREATE TABLE t (id INT PRIMARY KEY)").await;
    let looking = rowferry(&source, ", server_id = 53");
    looking.command(&["check"]).expect_code(3);
    let (severity, mend) = findings(&looking, &source).remove("source server_id").expect("a finding");
    assert!(severity == "blocked" && mend.contains("Set another `server_id`"), "{severity}: {mend}");
}

/// What `check` says of `max_allowed_packet`: it limits neither reads of tables nor the log.
#[tokio::test(flavor = "multi_thread")]
async fn rows_larger_than_the_servers_packets_are_read() {
    let server = Mysql::start(&["--server-id=54"]);
    let source = server.create_database("packets");
    source.execute("CREATE TABLE t (id INT PRIMARY KEY, v LONGTEXT)").await;
    source.execute("INSERT INTO t VALUES (1, REPEAT('copied ', 1000000))").await;
    let rowferry = rowferry(&source, "");
    let shrink = "SET GLOBAL max_allowed_packet = 1048576";
    server.execute(shrink).await;
    rowferry.run_until_caught_up();
    server.execute("SET GLOBAL max_allowed_packet = 268435456").await;
    source.execute("INSERT INTO t VALUES (2, REPEAT('logged ', 1000000))").await;
    server.execute(shrink).await;
    rowferry.run_until_caught_up();
    // The comparison casts texts, and a cast is held to the limit.
    server.execute("SET GLOBAL max_allowed_packet = 268435456").await;
    let file = rowferry.path("copy.db");
    let target = Target::Sqlite(&file);
    let pairs = source_tables(&source, &target).await;
    assert_eq!(differences(&source, target, &pairs).await, Vec::<String>::new());
    let (severity, _) = findings(&rowferry, &source).remove("source max_allowed_packet").expect("a finding");
    assert_eq!(severity, "ok");
}
