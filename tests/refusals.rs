//! What a user gets wrong: one clear error each, the exit code that is promised, and nothing changed at either end.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::{Database, Ended, Options, Postgres, Rowferry, config};

const BINARY: &str = env!("CARGO_BIN_EXE_rowferry");
const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v text); INSERT INTO t VALUES (1, 'x')";

async fn source_with_table(server: &Postgres) -> Database {
    let source = server.create_database("refused");
    source.execute(TABLE).await;
    source
}

/// No slot, no publication: the source is as it was.
async fn assert_untouched(source: &Database) {
    let sql = "SELECT (SELECT count(*) FROM pg_publication)
        + (SELECT count(*) FROM pg_replication_slots WHERE database = current_database())";
    assert_eq!(source.value(sql).await, "0", "slots and publications left at the source");
}

/// One error, with these texts, and no password in it.
#[track_caller]
fn assert_one_error(ended: &Ended, texts: &[&str]) {
    ended.expect_stderr(texts);
    let errors = ended.stderr.lines().filter(|line| line.starts_with("error")).count();
    assert_eq!(errors, 1, "one error: {}", ended.stderr);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("s3cret"), "a password is in: {}", ended.stderr);
}

/// `check` exits 3 and `run` exits 1, both with these texts.
#[track_caller]
fn assert_refused(rowferry: &Rowferry, texts: &[&str]) {
    let checked = rowferry.command(&["check"]);
    checked.expect_code(3);
    let said = format!("{}{}", checked.stdout, checked.stderr);
    for text in texts {
        assert!(said.contains(text), "\"{text}\" is not in what check says: {said}");
    }
    assert!(!said.contains("s3cret"), "a password is in: {said}");
    for arguments in [&["run", "--until-caught-up"][..], &["run"]] {
        let ended = rowferry.command(arguments);
        ended.expect_code(1);
        assert_one_error(&ended, texts);
    }
}

#[tokio::test]
async fn a_wrong_configuration_is_exit_2_before_anything_is_touched() {
    let source = source_with_table(Postgres::shared()).await;
    let good = config::pipeline(&source, config::SQLITE, "");
    let cases = [
        (good.replace("tables =", "tabels ="), vec!["rowferry.toml:4", "tabels", "tables"]),
        (good.replace("\"sqlite\"", "\"sqlight\""), vec!["rowferry.toml:3", "sqlight", "sqlite"]),
        (good.replace("kind = \"sqlite\", ", ""), vec!["rowferry.toml:3", "kind"]),
        (good.replace("path = ", "file = "), vec!["rowferry.toml:3", "file"]),
        (good.replace(&source.url(), "${NOT_SET_ANYWHERE}"), vec!["rowferry.toml:2", "NOT_SET_ANYWHERE"]),
        (good.replace("]\n", "\n"), vec!["rowferry.toml:"]),
        (format!("{good}slice_rows = \"many\"\n"), vec!["rowferry.toml:6"]),
        (format!("{good}\n[pipeline.test.table.\"public.typo\"]\nkeys = [\"id\"]\n"), vec!["rowferry.toml:", "keys"]),
        (String::new(), vec!["pipeline"]),
    ];
    for (text, expected) in cases {
        let rowferry = Rowferry::new(BINARY, &text);
        for command in [&["check"][..], &["run", "--until-caught-up"], &["status"], &["verify"]] {
            rowferry.command(command).expect_code(2).expect_stderr(&expected);
        }
        assert!(!rowferry.path("rowferry-state").exists() && !rowferry.path("target.db").exists());
    }
    let rowferry = Rowferry::new(BINARY, &good);
    std::fs::remove_file(rowferry.path("rowferry.toml")).unwrap();
    rowferry.command(&["run"]).expect_code(2).expect_stderr(&["rowferry.toml", "-c"]);
    rowferry.command(&["rum"]).expect_code(2).expect_stderr(&["rum"]);
    assert_untouched(&source).await;
}

#[tokio::test]
async fn a_wrong_password() {
    let server = Options::new().hba("host all alice all scram-sha-256").start();
    let source = source_with_table(&server).await;
    source.execute("CREATE ROLE alice LOGIN SUPERUSER REPLICATION PASSWORD 'right'").await;
    let url = server.url_as("alice:s3cret", source.name());
    let rowferry = Rowferry::new(BINARY, &config::pipeline_from(&url, "s", config::SQLITE, ""));
    assert_refused(&rowferry, &["password", "alice"]);
    assert_untouched(&source).await;

    // The target's password is as wrong.
    let target = format!("{{ kind = \"postgres\", url = \"{url}\" }}");
    let rowferry = Rowferry::new(BINARY, &config::pipeline_from(&source.url(), "s", &target, ""));
    assert_refused(&rowferry, &["password", "alice"]);
    assert_untouched(&source).await;
}

#[tokio::test]
async fn a_server_without_logical_decoding() {
    let server = Postgres::start(&[("wal_level", "replica")]);
    let source = source_with_table(&server).await;
    let rowferry = Rowferry::new(BINARY, &config::pipeline(&source, config::SQLITE, ""));
    assert_refused(&rowferry, &["wal_level", "logical"]);
    assert!(!rowferry.path("target.db").exists());
    assert_untouched(&source).await;
}

#[tokio::test]
async fn missing_rights() {
    let server = Postgres::shared();
    let source = source_with_table(server).await;
    let role = format!("r_{}", source.name());
    source.execute(&format!("CREATE ROLE {role} LOGIN; GRANT SELECT ON t TO {role}")).await;
    let rowferry =
        || Rowferry::new(BINARY, &config::pipeline_from(&server.url_as(&role, source.name()), "s", config::SQLITE, ""));
    assert_refused(&rowferry(), &["REPLICATION", &role]);
    source.execute(&format!("ALTER ROLE {role} REPLICATION; REVOKE SELECT ON t FROM {role}")).await;
    assert_refused(&rowferry(), &["GRANT", "public.t"]);
    assert_untouched(&source).await;

    // At the target: may connect, may not create.
    let copy = server.create_database("refused_target");
    let target = format!("{{ kind = \"postgres\", url = \"{}\" }}", server.url_as(&role, copy.name()));
    let rowferry = Rowferry::new(BINARY, &config::pipeline(&source, &target, ""));
    assert_refused(&rowferry, &["CREATE", &role]);
    assert_untouched(&source).await;
    assert_eq!(copy.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'rowferry'").await, "0");
}

#[tokio::test]
async fn a_missing_table() {
    let source = source_with_table(Postgres::shared()).await;
    let config = config::pipeline(&source, config::SQLITE, "");
    let rowferry = Rowferry::new(BINARY, &config.replace("\"*.*\"", "\"public.oders\""));
    assert_refused(&rowferry, &["table"]);
    let rowferry = Rowferry::new(BINARY, &config.replace("\"*.*\"", "\"public.t\", \"public.oders\""));
    assert_refused(&rowferry, &["public.oders"]);
    assert_untouched(&source).await;
}

#[tokio::test]
async fn an_unreachable_end() {
    let source = source_with_table(Postgres::shared()).await;
    // A port that was just free; nobody listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://me:s3cret@127.0.0.1:{port}/shop");
    let target = format!("{{ kind = \"postgres\", url = \"{url}\" }}");
    let rowferry = Rowferry::new(BINARY, &config::pipeline(&source, &target, ""));
    assert_refused(&rowferry, &["127.0.0.1", &port.to_string()]);
    assert_untouched(&source).await;
    let rowferry = Rowferry::new(BINARY, &config::pipeline_from(&url, "s", config::SQLITE, ""));
    assert_refused(&rowferry, &["127.0.0.1", &port.to_string()]);
    assert!(!rowferry.path("target.db").exists());
    // A folder that is not there.
    let target = "{ kind = \"sqlite\", path = \"no/such/folder/target.db\" }";
    let rowferry = Rowferry::new(BINARY, &config::pipeline(&source, target, ""));
    assert_refused(&rowferry, &["no/such/folder"]);
    assert_untouched(&source).await;
}

#[tokio::test]
async fn a_database_that_is_not_there() {
    let server = Postgres::shared();
    let rowferry = Rowferry::new(BINARY, &config::pipeline_from(&server.url("no_such_db"), "s", config::SQLITE, ""));
    assert_refused(&rowferry, &["no_such_db"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slot_or_a_state_directory_in_use() {
    let source = source_with_table(Postgres::shared()).await;
    let first = Rowferry::new(BINARY, &config::pipeline(&source, config::SQLITE, ""));
    let mut running = first.spawn_run();
    running.wait_streaming();

    let second = Rowferry::new(BINARY, &config::pipeline(&source, config::SQLITE, ""));
    let ended = second.command(&["run", "--until-caught-up"]);
    ended.expect_code(1);
    assert_one_error(&ended, &["slot", source.name()]);

    let ended = first.command(&["run", "--until-caught-up"]);
    ended.expect_code(1);
    assert_one_error(&ended, &["rowferry-state"]);
    // The first is not disturbed.
    source.execute("INSERT INTO t VALUES (2, 'y')").await;
    running.wait_status("the row", |pipeline| pipeline["tables"][0]["rows_applied"].as_u64() >= Some(1));
    running.sigterm().expect_code(0);
}

#[tokio::test]
async fn a_state_directory_of_another_pipeline_or_source() {
    let server = Postgres::shared();
    let (source, other) = (source_with_table(server).await, source_with_table(server).await);
    let rowferry = Rowferry::new(BINARY, &config::pipeline(&source, config::SQLITE, ""));
    rowferry.run_until_caught_up();

    rowferry.set_config(&config::pipeline(&source, config::SQLITE, "").replace("pipeline.test", "pipeline.renamed"));
    let ended = rowferry.command(&["run", "--until-caught-up"]);
    ended.expect_code(1);
    assert_one_error(&ended, &["\"test\"", "state"]);

    rowferry.set_config(&config::pipeline(&other, config::SQLITE, ""));
    let ended = rowferry.command(&["run", "--until-caught-up"]);
    ended.expect_code(1);
    assert_one_error(&ended, &["source"]);
    assert_untouched(&other).await;

    let elsewhere = "{ kind = \"sqlite\", path = \"elsewhere.db\" }";
    rowferry.set_config(&config::pipeline(&source, elsewhere, ""));
    let ended = rowferry.command(&["run", "--until-caught-up"]);
    ended.expect_code(1);
    assert_one_error(&ended, &["target", "resync --all"]);
    assert!(!rowferry.path("elsewhere.db").exists());

    // And as it was, it goes on.
    rowferry.set_config(&config::pipeline(&source, config::SQLITE, ""));
    source.execute("INSERT INTO t VALUES (2, 'y')").await;
    rowferry.run_until_caught_up();
    rowferry.command(&["verify"]).expect_code(0);
}

#[tokio::test]
async fn a_target_table_that_does_not_fit() {
    let server = Postgres::shared();
    let source = source_with_table(server).await;
    let copy = server.create_database("refused_target");
    copy.execute("CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (99)").await;
    let rowferry = Rowferry::new(BINARY, &config::pipeline(&source, &config::postgres(&copy), ""));
    assert_refused(&rowferry, &["public.t", "v"]);
    assert_untouched(&source).await;
    assert_eq!(copy.value("SELECT count(*) FROM t").await, "1");
}
