//! What cannot go on is refused with the command that mends it, and the mend compares: it writes the rows that differ, and no
//! others. Each test damages one thing, runs the command that the message names, and compares both ends value by value.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::compare::{self, Target};
use rowferry_testkit::{Database, Mysql, Postgres, Random, Rowferry, config};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const BINARY: &str = env!("CARGO_BIN_EXE_rowferry");
const TABLES: &str = "
    CREATE TABLE items (id int PRIMARY KEY, name text NOT NULL, price numeric(10, 2), seen timestamptz, code text UNIQUE);
    INSERT INTO items SELECT g, 'n' || g, g / 100.0, '2024-01-01'::timestamptz + g * interval '1 s', 'c' || g
        FROM generate_series(1, 3000) g;
    CREATE TABLE words (word text COLLATE \"C\", n int, note bytea, PRIMARY KEY (word, n));
    INSERT INTO words SELECT 'w' || g % 100, g, decode(md5(g::text), 'hex') FROM generate_series(1, 2000) g;";
/// 4 rows that are to be written, 2 that are to go.
const UNSEEN: &str = "
    UPDATE items SET price = 0.01 WHERE id = 7; UPDATE items SET code = NULL WHERE id = 2999; DELETE FROM items WHERE id = 8;
    INSERT INTO items VALUES (5000, 'new', 1, now(), 'c5000');
    UPDATE words SET n = 9000 WHERE word = 'w1' AND n = 1;";
const UNSEEN_WRITTEN: u64 = 4;
const ROWS: u64 = 5000;
const SMALL_SLICES: &str = "slice_rows = 700";

async fn assert_same(source: &Database, target: Target<'_>) {
    assert!(compare::assert_same(source, target).await >= 2);
}

/// One of the figures of all tables.
fn sum(rowferry: &Rowferry, figure: &str) -> u64 {
    let (_, status) = rowferry.json(&["status"]);
    let tables = status["pipelines"][0]["tables"].as_array().unwrap();
    tables.iter().map(|table| table[figure].as_u64().unwrap()).sum()
}

/// `run` ends with an error that holds these texts and names a command of rowferry's, which is run.
#[track_caller]
fn refused_and_mended(rowferry: &Rowferry, texts: &[&str]) {
    let ended = rowferry.command(&["run", "--until-caught-up"]);
    ended.expect_code(1).expect_stderr(texts);
    let command = ended.stderr.split("`rowferry ").nth(1).and_then(|rest| rest.split('`').next());
    let command = command.unwrap_or_else(|| panic!("no command in: {}", ended.stderr));
    rowferry.command(&command.split(' ').collect::<Vec<_>>()).expect_code(0);
    // Still refused is what is not mended, and the run that follows says so.
    rowferry.run_until_caught_up();
}

/// Everything was compared, and this many rows were written.
#[track_caller]
fn assert_written(rowferry: &Rowferry, rows: u64) {
    let compared = sum(rowferry, "rows_compared");
    assert!(compared.abs_diff(ROWS) <= 5, "{compared} rows were compared");
    assert_eq!(sum(rowferry, "rows_copied"), rows, "rows written");
}

struct Ferry {
    source: Database,
    target: Database,
    rowferry: Rowferry,
}

impl Ferry {
    async fn new(server: &Postgres) -> Self {
        let source = server.create_database("recover_source");
        let target = Postgres::shared().create_database("recover_target");
        source.execute(TABLES).await;
        let rowferry = Rowferry::new(BINARY, &config::pipeline(&source, &config::postgres(&target), SMALL_SLICES));
        rowferry.run_until_caught_up();
        Self { source, target, rowferry }
    }

    async fn assert_same(&self) {
        assert_same(&self.source, Target::Postgres(&self.target)).await;
        self.rowferry.command(&["verify"]).expect_code(0);
    }

    /// The target gets changes of 51 rows that a restored source does not have.
    async fn carry_what_is_lost(&self) {
        let lost = "UPDATE items SET name = 'lost with the disk' WHERE id <= 50; DELETE FROM words WHERE n = 3";
        self.source.execute(lost).await;
        self.rowferry.run_until_caught_up();
    }

    /// Those rows were written back, and the log is followed again.
    async fn has_what_was_restored(&self) {
        assert_written(&self.rowferry, 51);
        self.source.execute(UNSEEN).await;
        self.rowferry.run_until_caught_up();
        self.assert_same().await;
    }

    async fn drop_slot(&self) {
        self.source.execute(&format!("SELECT pg_drop_replication_slot('{}')", self.source.name())).await;
    }
}

/// Nothing is skipped in silence, and nothing is made in the slot's place before somebody asks for it.
#[tokio::test(flavor = "multi_thread")]
async fn from_a_slot_that_is_gone() {
    let ferry = Ferry::new(Postgres::shared()).await;
    ferry.drop_slot().await;
    ferry.source.execute(UNSEEN).await;
    ferry.rowferry.command(&["run", "--until-caught-up"]).expect_code(1);
    let slots = format!("SELECT count(*) FROM pg_replication_slots WHERE slot_name = '{}'", ferry.source.name());
    assert_eq!(ferry.source.value(&slots).await, "0", "something was made in place of the slot");
    refused_and_mended(&ferry.rowferry, &["slot", "is gone"]);
    assert_written(&ferry.rowferry, UNSEEN_WRITTEN);
    ferry.assert_same().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_a_slot_that_the_server_gave_up() {
    let server = Postgres::start(&[("max_slot_wal_keep_size", "1MB")]);
    let ferry = Ferry::new(&server).await;
    ferry.source.execute(UNSEEN).await;
    let lost = format!(
        "SELECT (to_jsonb(s)->>'wal_status' = 'lost')::text FROM pg_replication_slots s WHERE slot_name = '{}'",
        ferry.source.name()
    );
    let until = Instant::now() + Duration::from_secs(60);
    while ferry.source.value(&lost).await != "true" {
        assert!(Instant::now() < until, "the server keeps the slot");
        ferry
            .source
            .execute("SELECT pg_logical_emit_message(false, 'filler', repeat('x', 1000)), pg_switch_wal()")
            .await;
        ferry.source.execute("CHECKPOINT").await;
    }
    refused_and_mended(&ferry.rowferry, &["gave slot", "max_slot_wal_keep_size"]);
    assert_written(&ferry.rowferry, UNSEEN_WRITTEN);
    ferry.source.execute("UPDATE items SET name = 'after' WHERE id = 1").await;
    ferry.rowferry.run_until_caught_up();
    ferry.assert_same().await;
}

/// One row of many: the others are read, and not written.
#[tokio::test(flavor = "multi_thread")]
async fn of_one_row_among_many() {
    let server = Postgres::shared();
    let source = server.create_database("recover_many");
    source
        .execute(
            "CREATE TABLE many (id bigint PRIMARY KEY, v text, at timestamptz, amount numeric(12, 2), data jsonb, raw bytea);
             INSERT INTO many SELECT g, 'v' || g, '2024-01-01'::timestamptz + g * interval '1 s', g / 7.0, '{\"a\": 1}',
                 decode(md5(g::text), 'hex') FROM generate_series(1, 100000) g;
             CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other VALUES (1)",
        )
        .await;
    let (postgres, mysql) = (server.create_database("recover_many"), Mysql::shared().create_database("recover_many"));
    let into_mysql = format!("{{ kind = \"mysql\", url = \"{}\" }}", mysql.url());
    for (number, target) in [config::postgres(&postgres), into_mysql, config::SQLITE.to_owned()].iter().enumerate() {
        let configured = config::pipeline(&source, target, "slice_rows = 20000");
        let slot = format!("{}_{number}", source.name());
        let rowferry = Rowferry::new(
            BINARY,
            &configured.replace(&format!("slot = \"{}", source.name()), &format!("slot = \"{slot}")),
        );
        rowferry.run_until_caught_up();
        source.execute(&format!("SELECT pg_drop_replication_slot('{slot}')")).await;
        source.execute(&format!("UPDATE many SET v = 'changed {number}' WHERE id = {}", 77_777 + number)).await;
        refused_and_mended(&rowferry, &["is gone"]);
        assert_eq!(sum(&rowferry, "rows_compared"), 100_001, "into {target}");
        assert_eq!(sum(&rowferry, "rows_copied"), 1, "into {target}");
        rowferry.command(&["verify"]).expect_code(0);
        match number {
            0 => assert_same(&source, Target::Postgres(&postgres)).await,
            2 => assert_same(&source, Target::Sqlite(&rowferry.path("target.db"))).await,
            _ => {
                let changed = mysql.value("SELECT v FROM many WHERE id = 77778").await;
                assert_eq!(changed, "changed 1");
            }
        }
    }
}

/// Copies a folder as it is, owners too: servers do not start on another's.
fn copy_folder(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").args(["-a", "--"]).args([from, to]).status().unwrap();
    assert!(copied.success());
}

/// The server's files, to be put back later.
fn back_up(server: &Postgres) -> PathBuf {
    let backup = server.data_dir().with_file_name("backup");
    tokio::task::block_in_place(|| {
        server.stop();
        copy_folder(&server.data_dir(), &backup);
        server.start_again();
    });
    backup
}

fn restore(server: &Postgres, backup: &Path) {
    tokio::task::block_in_place(|| {
        server.stop();
        std::fs::remove_dir_all(server.data_dir()).unwrap();
        std::fs::rename(backup, server.data_dir()).unwrap();
        server.start_again();
    });
}

/// It goes on as another timeline from here, as a standby that becomes the primary, or a backup that was recovered.
async fn promote(server: &Postgres, source: &Database) {
    tokio::task::block_in_place(|| {
        server.stop();
        std::fs::write(server.data_dir().join("standby.signal"), "").unwrap();
        server.start_again();
    });
    assert_eq!(source.value("SELECT pg_promote()::text").await, "true");
}

/// It comes to our position again, with another history before it.
#[tokio::test(flavor = "multi_thread")]
async fn from_a_source_that_was_restored() {
    let server = Postgres::start(&[]);
    let ferry = Ferry::new(&server).await;
    let backup = back_up(&server);
    ferry.carry_what_is_lost().await;
    restore(&server, &backup);
    refused_and_mended(&ferry.rowferry, &["went back in time"]);
    ferry.has_what_was_restored().await;
}

/// And is past it by the time that it is asked: only the timeline tells. (The place alone has to be refused before it is.)
#[tokio::test(flavor = "multi_thread")]
async fn from_a_source_that_was_restored_and_went_on() {
    let server = Postgres::start(&[]);
    let ferry = Ferry::new(&server).await;
    let backup = back_up(&server);
    ferry.carry_what_is_lost().await;
    let reached = ferry.source.value("SELECT pg_current_wal_lsn()::text").await;
    restore(&server, &backup);
    promote(&server, &ferry.source).await;
    let is_past = format!("SELECT (pg_current_wal_lsn() > '{reached}')::text");
    while ferry.source.value(&is_past).await != "true" {
        ferry.source.execute("SELECT pg_logical_emit_message(false, 'filler', repeat('x', 100000))").await;
    }
    refused_and_mended(&ferry.rowferry, &["went back in time", "timeline 2"]);
    ferry.has_what_was_restored().await;
}

/// A server that branched off behind our position has all that we have.
#[tokio::test(flavor = "multi_thread")]
async fn a_promotion_that_loses_nothing_goes_on() {
    let server = Postgres::start(&[]);
    let ferry = Ferry::new(&server).await;
    let copied = sum(&ferry.rowferry, "rows_copied");
    for _ in 0..2 {
        promote(&server, &ferry.source).await;
        ferry.source.execute("UPDATE items SET name = name || '+' WHERE id = 9").await;
        ferry.rowferry.run_until_caught_up();
    }
    assert_eq!((sum(&ferry.rowferry, "rows_copied"), sum(&ferry.rowferry, "rows_compared")), (copied, 0));
    ferry.assert_same().await;
}

/// Puts a database in the place of another, which is closed by then.
async fn copy_database(from: &str, to: &str) {
    let admin = Postgres::shared().create_database("recover_admin");
    let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ('{from}', '{to}')");
    admin.execute(&end).await;
    let gone = format!("SELECT count(*) FROM pg_stat_activity WHERE datname IN ('{from}', '{to}')");
    let until = Instant::now() + Duration::from_secs(20);
    while admin.value(&gone).await != "0" {
        assert!(Instant::now() < until, "somebody uses {from} or {to}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    admin.execute(&format!("DROP DATABASE IF EXISTS {to}")).await;
    admin.execute(&format!("CREATE DATABASE {to} TEMPLATE {from}")).await;
}

/// It stands before what was applied to it.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_target_that_was_restored() {
    let server = Postgres::start(&[]);
    let (source, target) = (Postgres::shared().create_database("recover_source"), server.create_database("restored"));
    source.execute(TABLES).await;
    let rowferry = Rowferry::new(BINARY, &config::pipeline(&source, &config::postgres(&target), SMALL_SLICES));
    rowferry.run_until_caught_up();
    let backup = back_up(&server);
    source.execute(UNSEEN).await;
    rowferry.run_until_caught_up();
    restore(&server, &backup);
    refused_and_mended(&rowferry, &["went back in time"]);
    assert_written(&rowferry, UNSEEN_WRITTEN);
    assert_same(&source, Target::Postgres(&target)).await;
}

/// A dump of it was loaded into a new database.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_target_that_was_restored_into_a_new_database() {
    let ferry = Ferry::new(Postgres::shared()).await;
    let (name, backup) = (ferry.target.name().to_owned(), format!("{}_backup", ferry.target.name()));
    copy_database(&name, &backup).await;
    ferry.source.execute(UNSEEN).await;
    ferry.rowferry.run_until_caught_up();
    copy_database(&backup, &name).await;
    refused_and_mended(&ferry.rowferry, &["another target"]);
    assert_written(&ferry.rowferry, UNSEEN_WRITTEN);
    ferry.assert_same().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_file_that_was_restored() {
    let source = Postgres::shared().create_database("recover_file");
    source.execute(TABLES).await;
    let rowferry = Rowferry::new(BINARY, &config::pipeline(&source, config::SQLITE, SMALL_SLICES));
    rowferry.run_until_caught_up();
    let (file, backup) = (rowferry.path("target.db"), rowferry.path("backup.db"));
    std::fs::copy(&file, &backup).unwrap();
    source.execute(UNSEEN).await;
    rowferry.run_until_caught_up();
    std::fs::copy(&backup, &file).unwrap();
    refused_and_mended(&rowferry, &["went back in time"]);
    assert_written(&rowferry, UNSEEN_WRITTEN);
    assert_same(&source, Target::Sqlite(&file)).await;
}

/// The rows are there, the position is not.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_target_that_lost_its_position() {
    let ferry = Ferry::new(Postgres::shared()).await;
    ferry.source.execute(UNSEEN).await;
    ferry.target.execute("DROP SCHEMA rowferry CASCADE").await;
    refused_and_mended(&ferry.rowferry, &["holds no position"]);
    assert_written(&ferry.rowferry, UNSEEN_WRITTEN);
    ferry.assert_same().await;
}

/// A target that is ahead of the state directory goes on by itself: nothing is compared, nothing copied.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_state_directory_that_was_restored() {
    let ferry = Ferry::new(Postgres::shared()).await;
    let (state, backup) = (ferry.rowferry.path("rowferry-state"), ferry.rowferry.path("state-backup"));
    copy_folder(&state, &backup);
    let copied = sum(&ferry.rowferry, "rows_copied");
    ferry.source.execute(UNSEEN).await;
    ferry.rowferry.run_until_caught_up();
    std::fs::remove_dir_all(&state).unwrap();
    std::fs::rename(&backup, &state).unwrap();
    ferry.source.execute("UPDATE items SET name = 'later' WHERE id = 1").await;
    ferry.rowferry.run_until_caught_up();
    assert_eq!((sum(&ferry.rowferry, "rows_copied"), sum(&ferry.rowferry, "rows_compared")), (copied, 0));
    ferry.assert_same().await;
}

/// The target's position is enough to go on. Which tables were in step is not known, so they are compared.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_state_directory_that_is_lost() {
    let ferry = Ferry::new(Postgres::shared()).await;
    std::fs::remove_dir_all(ferry.rowferry.path("rowferry-state")).unwrap();
    ferry.rowferry.run_until_caught_up().expect_stderr(&["going on from the target's position"]);
    assert_written(&ferry.rowferry, 0);
    ferry.source.execute(UNSEEN).await;
    std::fs::remove_dir_all(ferry.rowferry.path("rowferry-state")).unwrap();
    ferry.rowferry.run_until_caught_up();
    // The log brings them too, before or after.
    assert!(sum(&ferry.rowferry, "rows_copied") <= UNSEEN_WRITTEN);
    ferry.assert_same().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_state_directory_of_another_pipeline() {
    let ferry = Ferry::new(Postgres::shared()).await;
    ferry.source.execute(UNSEEN).await;
    let configured = config::pipeline(&ferry.source, &config::postgres(&ferry.target), SMALL_SLICES);
    let renamed = configured.replace("pipeline.test", "pipeline.renamed");
    ferry.rowferry.set_config(&renamed);
    ferry
        .rowferry
        .command(&["run", "--until-caught-up"])
        .expect_code(1)
        .expect_stderr(&["\"test\"", "another state_dir"]);
    ferry.rowferry.set_config(&format!("state_dir = \"own-state\"\n{renamed}"));
    ferry.rowferry.run_until_caught_up();
    assert!(sum(&ferry.rowferry, "rows_copied") <= UNSEEN_WRITTEN, "rows that were the same were written");
    ferry.assert_same().await;
}

/// The same source in another place, with the state and the target of the one before.
#[tokio::test(flavor = "multi_thread")]
async fn from_another_source() {
    let ferry = Ferry::new(Postgres::shared()).await;
    let other = Postgres::shared().create_database("recover_other");
    other.execute(TABLES).await;
    other.execute(UNSEEN).await;
    ferry.rowferry.set_config(&config::pipeline(&other, &config::postgres(&ferry.target), SMALL_SLICES));
    refused_and_mended(&ferry.rowferry, &["another source"]);
    assert_written(&ferry.rowferry, UNSEEN_WRITTEN);
    assert_same(&other, Target::Postgres(&ferry.target)).await;
    // Without the state there is still the target's word.
    std::fs::remove_dir_all(ferry.rowferry.path("rowferry-state")).unwrap();
    ferry.rowferry.set_config(&config::pipeline(&ferry.source, &config::postgres(&ferry.target), SMALL_SLICES));
    refused_and_mended(&ferry.rowferry, &["of another source"]);
    assert_written(&ferry.rowferry, UNSEEN_WRITTEN);
    ferry.assert_same().await;
}

/// Writes until told to stop: rows that move, keys that change, unique values that are swapped.
async fn write(source: Arc<Database>, stop: Arc<AtomicBool>, mut random: Random) {
    let client = source.client().await;
    while !stop.load(Ordering::Relaxed) {
        let (a, b) = (1 + random.below(3000), 1 + random.below(3000));
        let statement = match random.below(5) {
            0 => format!("UPDATE items SET name = 'x{b}', price = {b} WHERE id = {a}"),
            1 => format!("DELETE FROM items WHERE id = {a}"),
            2 => format!("INSERT INTO items VALUES ({a}, 'again', {b}, now(), 'a{a}') ON CONFLICT DO NOTHING"),
            3 => format!(
                "BEGIN; UPDATE items SET code = NULL WHERE id = {a}; UPDATE items SET code = 'c{a}' WHERE id = (SELECT id FROM items
                 WHERE id <> {a} AND NOT EXISTS (SELECT FROM items WHERE code = 'c{a}') LIMIT 1); COMMIT"
            ),
            _ => format!("UPDATE words SET n = n + 10000 WHERE word = 'w{}' AND n % 7 = {}", a % 100, b % 7),
        };
        client.batch_execute(&statement).await.unwrap();
    }
}

/// Both ends change while they are compared, and a kill in the middle takes nothing back.
async fn under_traffic(target: &str, same: impl AsyncFn(&Database, &Rowferry)) {
    let mut random = Random::from_env();
    let source = Arc::new(Postgres::shared().create_database("recover_traffic"));
    source.execute(TABLES).await;
    let rowferry = Rowferry::new(BINARY, &config::pipeline(&source, target, "slice_rows = 100"));
    for _ in 0..2 {
        rowferry.run_until_caught_up();
        source.execute(&format!("SELECT pg_drop_replication_slot('{}')", source.name())).await;
        source
            .execute("UPDATE items SET name = 'unseen' WHERE id % 500 = 3; DELETE FROM words WHERE n % 400 = 5")
            .await;
        let stop = Arc::new(AtomicBool::new(false));
        let writer = tokio::spawn(write(source.clone(), stop.clone(), Random::new(random.number())));
        rowferry.command(&["run", "--until-caught-up"]).expect_code(1);
        rowferry.command(&["resync", "--all"]).expect_code(0);
        let mut running = rowferry.spawn_run();
        let compared = |least: u64| {
            move |pipeline: &Value| {
                let tables = pipeline["tables"].as_array().unwrap();
                tables.iter().map(|table| table["rows_compared"].as_u64().unwrap()).sum::<u64>() >= least
            }
        };
        running.wait_status("some ranges", compared(1 + random.below(1500)));
        running.kill9();
        let mut running = rowferry.spawn_run();
        running.wait_status("in step", |pipeline| pipeline["state"] == "streaming");
        stop.store(true, Ordering::Relaxed);
        writer.await.unwrap();
        running.sigterm().expect_code(0);
        rowferry.run_until_caught_up();
        same(&source, &rowferry).await;
        assert!(sum(&rowferry, "rows_compared") > 2000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn under_traffic_into_postgres() {
    let copy = Postgres::shared().create_database("recover_traffic");
    let same = async |source: &Database, _: &Rowferry| assert_same(source, Target::Postgres(&copy)).await;
    under_traffic(&config::postgres(&copy), same).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn under_traffic_into_sqlite() {
    let same = async |source: &Database, rowferry: &Rowferry| {
        assert_same(source, Target::Sqlite(&rowferry.path("target.db"))).await;
    };
    under_traffic(config::SQLITE, same).await;
}
