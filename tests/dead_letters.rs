//! Rows that a target refuses: put aside with their reason, shown without their values, replayed, discarded, and gone by
//! themselves once the row has come right.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::{Database, End, Kind, Mysql, Postgres, Rowferry, Rows, Running, config};
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_rowferry");
const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, v int, note text);
    INSERT INTO t SELECT g, g % 100, 'note ' || g FROM generate_series(1, 50) g";
const LETS_GO: &str = "on_bad_row = \"dead_letter\"";

struct Ferry {
    source: Database,
    target: End,
    rowferry: Rowferry,
}

impl Ferry {
    async fn new(kind: Kind, setup: &str) -> Self {
        let source = Postgres::shared().create_database("letters_source");
        source.execute(setup).await;
        let rowferry = Rowferry::new(BINARY, "");
        let target = End::create(kind, "letters_target", rowferry.path("target.db"));
        rowferry.set_config(&config::pipeline(&source, &target.as_target(), LETS_GO));
        Self { source, target, rowferry }
    }

    async fn refuse_large(&self) {
        let how = match &self.target {
            End::Postgres(_) | End::Mysql(_) => "ALTER TABLE t ADD CONSTRAINT small CHECK (v < 100)",
            End::Sqlite(_) => {
                "CREATE TRIGGER small BEFORE INSERT ON t WHEN NEW.v >= 100 BEGIN SELECT RAISE(ABORT, 'too large'); END;
                 CREATE TRIGGER small_too BEFORE UPDATE ON t WHEN NEW.v >= 100 BEGIN SELECT RAISE(ABORT, 'too large'); END"
            }
        };
        self.target.execute(how).await;
    }

    async fn take_large(&self) {
        let how = match &self.target {
            End::Postgres(_) | End::Mysql(_) => "ALTER TABLE t DROP CONSTRAINT small",
            End::Sqlite(_) => "DROP TRIGGER small; DROP TRIGGER small_too",
        };
        self.target.execute(how).await;
    }

    /// `v` and `note` of one row.
    async fn row(&self, id: u32) -> Rows {
        self.target.query_text(&format!("SELECT v, note FROM t WHERE id = {id}")).await
    }

    async fn is_as_at_source(&self, id: u32) -> bool {
        self.source.query_text(&format!("SELECT v, note FROM t WHERE id = {id}")).await == self.row(id).await
    }

    fn letters(&self, more: &[&str]) -> Vec<Value> {
        let (code, document) = self.rowferry.json(&[&["dead-letters", "list"], more].concat());
        assert_eq!(code, 0, "{document}");
        document["dead_letters"].as_array().unwrap().clone()
    }

    /// The letter of a row.
    fn letter(&self, id: u32) -> Option<Value> {
        let key = format!("('{id}')");
        self.letters(&["--values"]).into_iter().find(|letter| letter["key"] == serde_json::json!([key]))
    }

    fn id_of(&self, id: u32) -> String {
        self.letter(id).unwrap_or_else(|| panic!("no letter of row {id}"))["id"].to_string()
    }

    fn command(&self, args: &[&str]) -> Value {
        let (code, document) = self.rowferry.json(&[&["dead-letters"], args].concat());
        assert_eq!(code, 0, "{args:?}: {document}");
        document
    }
}

fn has_letters(count: u64) -> impl Fn(&Value) -> bool {
    move |pipeline| pipeline["tables"][0]["dead_letters"] == count && pipeline["state"] == "streaming"
}

fn wait_letters(running: &mut Running<'_>, count: u64) {
    running.wait_status(&format!("{count} letters"), has_letters(count));
}

async fn live_through(target: Kind) {
    let ferry = Ferry::new(target, TABLE).await;
    ferry.rowferry.run_until_caught_up();
    ferry.refuse_large().await;
    let mut running = ferry.rowferry.spawn_run();
    running.wait_streaming();
    ferry
        .source
        .execute(
            "BEGIN; INSERT INTO t SELECT g, g % 100, 'many' FROM generate_series(1001, 4000) g;
             UPDATE t SET v = 77777777, note = 'secret one' WHERE id = 1; UPDATE t SET v = 778 WHERE id = 2;
             UPDATE t SET v = 779, note = 'discarded' WHERE id = 3; INSERT INTO t VALUES (5000, 78017801, 'secret new');
             INSERT INTO t VALUES (5001, 9999, 'for a moment'); UPDATE t SET v = 1 WHERE id = 5001; COMMIT",
        )
        .await;
    wait_letters(&mut running, 4);
    assert!(ferry.is_as_at_source(4000).await && ferry.is_as_at_source(5001).await);
    assert_eq!(ferry.row(5000).await.len(), 0);
    assert_eq!(ferry.row(1).await, [[Some("1".to_owned()), Some("note 1".to_owned())]], "as before what was refused");
    assert_shapes(&ferry, &running.stderr());

    // A newer change of the row that fits.
    ferry.source.execute("UPDATE t SET v = 11 WHERE id = 1").await;
    wait_letters(&mut running, 3);
    assert!(ferry.is_as_at_source(1).await, "{:?}", ferry.row(1).await);

    // Refused once more: another letter in its place.
    let before = ferry.id_of(2);
    assert_eq!(ferry.command(&["replay", &before])["pipelines"][0]["replayed"], 1);
    running.wait_status("row 2 refused again", |pipeline| {
        has_letters(3)(pipeline) && ferry.letter(2).is_some_and(|letter| letter["id"].as_u64() != before.parse().ok())
    });
    assert_eq!(ferry.letter(2).unwrap()["operation"], "copy");

    let (code, _) = ferry.rowferry.json(&["dead-letters", "discard", &ferry.id_of(3)]);
    assert_eq!(code, 0);
    wait_letters(&mut running, 2);
    ferry.rowferry.command(&["dead-letters", "discard", "123456"]).expect_code(1).expect_stderr(&["123456"]);
    ferry.rowferry.command(&["dead-letters", "discard"]).expect_code(2);

    // What the source has now is written, not what was refused then.
    ferry.take_large().await;
    ferry.source.execute("UPDATE t SET note = 'newer', v = 555 WHERE id = 5000").await;
    assert_eq!(ferry.command(&["replay", "--table", "public.t"])["pipelines"][0]["running"], true);
    wait_letters(&mut running, 0);
    assert!(ferry.is_as_at_source(2).await && ferry.is_as_at_source(5000).await);
    assert_eq!(
        ferry.row(3).await,
        [[Some("3".to_owned()), Some("note 3".to_owned())]],
        "a discarded row is left alone"
    );
    ferry.rowferry.command(&["verify"]).expect_code(3);
    ferry.rowferry.command(&["verify", "--repair"]).expect_code(0);
    running.sigterm();
    ferry.rowferry.command(&["verify"]).expect_code(0);
}

/// Documents, and that no value is in them, in the log or in texts that nobody asked values of.
fn assert_shapes(ferry: &Ferry, log: &str) {
    let letters = ferry.letters(&[]);
    assert_eq!(letters.len(), 4);
    for letter in &letters {
        let fields: Vec<_> = letter.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(fields, ["at", "id", "operation", "pipeline", "position", "reason", "state", "table"]);
        assert_eq!((&letter["pipeline"], &letter["table"]), (&Value::from("test"), &Value::from("public.t")));
        assert_eq!(letter["state"], "kept");
        assert!(letter["position"].as_str().unwrap().contains('/'), "{letter}");
    }
    let operations: Vec<_> = letters.iter().map(|letter| letter["operation"].as_str().unwrap()).collect();
    assert_eq!(operations, ["update", "update", "update", "insert"]);
    let id = ferry.id_of(5000);
    let shown = ferry.command(&["show", &id]);
    assert_eq!(shown["row"]["v"], serde_json::json!({ "hidden": true }));
    assert!(shown["reason"].as_str().unwrap().len() > 10, "{shown}");
    let texts = [
        serde_json::to_string(&letters).unwrap(),
        shown.to_string(),
        ferry.rowferry.command(&["dead-letters", "list"]).stdout,
        ferry.rowferry.command(&["dead-letters", "show", &id]).stdout,
        log.to_owned(),
    ];
    for text in texts {
        for value in ["secret", "78017801", "77777777"] {
            assert!(!text.contains(value), "{value} is in: {text}");
        }
    }
    let shown = ferry.command(&["show", &id, "--values"]);
    assert_eq!(shown["row"], serde_json::json!({ "id": "5000", "v": "78017801", "note": "secret new" }));
    assert_eq!(shown["key"], serde_json::json!(["('5000')"]));
    assert!(ferry.rowferry.command(&["dead-letters", "show", &id, "--values"]).stdout.contains("secret new"));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_postgres() {
    live_through(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_sqlite() {
    live_through(Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn at_mysql() {
    let server = Mysql::shared();
    // Before these, constraints are read and ignored.
    if !server.flavor().is_mariadb() && server.flavor().version() < (8, 0) {
        return;
    }
    live_through(Kind::Mysql).await;
}

/// Ranges of a first copy hold rows that the target refuses; nobody runs when they are looked at.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_copy_are_found_and_replayed_by_the_next_run() {
    let ferry = Ferry::new(
        Kind::Postgres,
        "CREATE TABLE t (id int PRIMARY KEY, v int, note text);
         INSERT INTO t SELECT g, CASE WHEN g IN (7, 4321) THEN 1000 ELSE g % 100 END, 'note ' || g FROM generate_series(1, 6000) g",
    )
    .await;
    ferry
        .target
        .execute(
            "CREATE TABLE t (id int PRIMARY KEY, v int CONSTRAINT small CHECK (v < 100), note text);
             INSERT INTO t VALUES (7, 1, 'older'), (9999, 1, 'only here')",
        )
        .await;
    ferry.rowferry.run_until_caught_up();
    let (_, status) = ferry.rowferry.json(&["status"]);
    assert_eq!(status["pipelines"][0]["tables"][0]["dead_letters"], 2, "{status}");
    assert_eq!(
        ferry.target.value("SELECT count(*) || ' ' || count(*) FILTER (WHERE id IN (7, 4321, 9999)) FROM t").await,
        "5998 0"
    );
    let letters = ferry.letters(&[]);
    assert!(letters.iter().all(|letter| letter["operation"] == "copy" && letter["position"].is_null()), "{letters:?}");

    // One is let be, then taken back; the other's row is gone at the source by then.
    ferry.source.execute("DELETE FROM t WHERE id = 4321").await;
    ferry.take_large().await;
    let noted = ferry.command(&["replay", "--all"]);
    assert_eq!((&noted["pipelines"][0]["running"], &noted["pipelines"][0]["replayed"]), (&false.into(), &2.into()));
    assert_eq!(ferry.letters(&[]).len(), 2, "a letter stays until its row is in step");
    ferry.rowferry.run_until_caught_up();
    assert_eq!(ferry.letters(&[]), Vec::<Value>::new());
    assert!(ferry.is_as_at_source(7).await);
    ferry.rowferry.command(&["verify"]).expect_code(0);
}

/// The change that fits does not carry the cell that was refused before: the row is read again.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_some_cells_brings_the_whole_row() {
    let ferry = Ferry::new(
        Kind::Postgres,
        "CREATE TABLE t (id int PRIMARY KEY, v int, note text); ALTER TABLE t ALTER note SET STORAGE EXTERNAL;
         INSERT INTO t VALUES (1, 1, repeat('a', 10000)), (2, 2, repeat('b', 10000))",
    )
    .await;
    ferry.rowferry.run_until_caught_up();
    ferry.refuse_large().await;
    let mut running = ferry.rowferry.spawn_run();
    running.wait_streaming();
    ferry.source.execute("UPDATE t SET v = 100, note = repeat('c', 10000) WHERE id = 1").await;
    wait_letters(&mut running, 1);
    ferry.source.execute("UPDATE t SET v = 5 WHERE id = 1").await;
    wait_letters(&mut running, 0);
    assert!(ferry.is_as_at_source(1).await, "the cell of the refused change");
    // The same within one batch.
    ferry
        .source
        .execute("BEGIN; UPDATE t SET v = 100, note = repeat('d', 10000) WHERE id = 2; UPDATE t SET v = 100 WHERE id = 1; COMMIT")
        .await;
    wait_letters(&mut running, 2);
    ferry.source.execute("TRUNCATE t").await;
    wait_letters(&mut running, 0);
    running.sigterm();
    ferry.rowferry.command(&["verify"]).expect_code(0);
}

/// A table that is copied again as a whole takes its letters with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_resync_settles_them() {
    let ferry = Ferry::new(Kind::Postgres, TABLE).await;
    ferry.rowferry.run_until_caught_up();
    ferry.refuse_large().await;
    ferry.source.execute("UPDATE t SET v = 100 WHERE id = 1; UPDATE t SET id = 200, v = 101 WHERE id = 2").await;
    ferry.rowferry.run_until_caught_up();
    assert_eq!(ferry.letters(&[]).len(), 2);
    let moved = ferry.letters(&["--values"]).pop().unwrap();
    assert_eq!(moved["key"], serde_json::json!(["('2')", "('200')"]), "both rows of a changed key have to come right");
    ferry.take_large().await;
    ferry.rowferry.command(&["resync", "--table", "public.t"]).expect_code(0);
    ferry.rowferry.run_until_caught_up();
    assert_eq!(ferry.letters(&[]), Vec::<Value>::new());
    ferry.rowferry.command(&["verify"]).expect_code(0);
}
