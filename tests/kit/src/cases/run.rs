//! What every case does, whatever its source: a target of a kind, a configuration, and the steps.

use super::Expect;
use crate::Kind;
use crate::database::Database;
use crate::mysql::{Mysql, MysqlDatabase};
use crate::postgres::Postgres;
use crate::process::Rowferry;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Where a case is copied to.
#[derive(Debug)]
pub enum Copy {
    /// A database of its own.
    Postgres(Database),
    /// `target.db` beside the configuration.
    Sqlite,
    /// A database of its own.
    Mysql(MysqlDatabase),
}

impl Copy {
    /// An empty one.
    pub fn create(kind: Kind, mysql: &Mysql) -> Self {
        match kind {
            Kind::Postgres => Self::Postgres(Postgres::shared().create_database("case_target")),
            Kind::Sqlite => Self::Sqlite,
            Kind::Mysql => Self::Mysql(mysql.create_database("case_target")),
        }
    }

    /// The `target` of a configuration.
    pub fn config(&self) -> String {
        match self {
            Self::Postgres(copy) => format!("{{ kind = \"postgres\", url = \"{}\" }}", copy.url()),
            Self::Sqlite => "{ kind = \"sqlite\", path = \"target.db\" }".to_owned(),
            Self::Mysql(copy) => format!("{{ kind = \"mysql\", url = \"{}\" }}", copy.url()),
        }
    }
}

/// The folder's own configuration, else the one that all cases share, with its target; `fill` may fill in more.
pub fn rowferry(
    binary: &str,
    folder: &Path,
    copy: &Copy,
    expect: &Expect,
    fill: impl Fn(String) -> String,
) -> Rowferry {
    let own = folder.join("rowferry.toml");
    let shared = || folder.parent().expect("a case lies in a folder").join("rowferry.toml");
    let config = fs::read_to_string(if own.exists() { own } else { shared() }).expect("read a case's configuration");
    let rowferry = Rowferry::new(binary, &fill(config.replace("${TARGET}", &copy.config())));
    let rowferry = rowferry.patience(Duration::from_secs(90));
    expect.allowed_errors.iter().fold(rowferry, |rowferry, text| rowferry.allow_error(text))
}

/// `check` and `run` say why they do not go on.
pub fn refuses(rowferry: &Rowferry, expect: &Expect) {
    let texts: Vec<_> = expect.refused.iter().map(String::as_str).collect();
    let checked = rowferry.command(&["check"]);
    checked.expect_code(3);
    let said = format!("{}{}", checked.stdout, checked.stderr);
    for text in &texts {
        assert!(said.contains(text), "\"{text}\" is not in what check says: {said}");
    }
    rowferry.command(&["run", "--until-caught-up"]).expect_code(1).expect_stderr(&texts);
}

/// Makes the changes while rowferry runs, stops it, and lets it go on to the end.
pub async fn follows(rowferry: &Rowferry, expect: &Expect, changes: impl Future<Output = ()>) {
    let mut running = rowferry.spawn_run();
    running.wait_streaming();
    changes.await;
    running.sigterm();
    let ended = rowferry.command(&["run", "--until-caught-up"]);
    rowferry.refuse_errors(&ended.stderr);
    ended.expect_code(i32::from(!expect.halted.is_empty()));
}

/// The tables that are to be halted are, with their reasons. `full` makes the name that `status` shows of a table's.
pub fn halted(rowferry: &Rowferry, expect: &Expect, full: impl Fn(&str) -> String) {
    let (_, status) = rowferry.json(&["status"]);
    for (name, text) in &expect.halted {
        let table = table_of(&status["pipelines"][0], &full(name));
        assert_eq!(table["state"], "halted", "{table}");
        assert!(table["reason"].as_str().unwrap_or_default().contains(text), "\"{text}\" is not in {table}");
    }
}

/// What rowferry says of itself agrees with what was counted: tables as `verify` names them, with their rows.
pub fn verifies(rowferry: &Rowferry, expect: &Expect, tables: &[(String, u64)]) {
    let (code, document) = rowferry.json(&["verify"]);
    for (name, rows) in tables {
        let table = table_of(&document, name);
        assert_eq!(table["status"], "match", "{table}");
        let said = (table["source_rows"].as_u64(), table["target_rows"].as_u64());
        assert_eq!(said, (Some(*rows), Some(*rows)), "{table}");
    }
    if expect.halted.is_empty() {
        assert_eq!(code, 0, "{document}");
    }
}

/// The entry of a document's `tables`.
fn table_of<'a>(document: &'a Value, name: &str) -> &'a Value {
    let tables = document["tables"].as_array().unwrap_or_else(|| panic!("no tables: {document}"));
    let found = tables.iter().find(|table| table["name"] == name);
    found.unwrap_or_else(|| panic!("{name} is not in {document}"))
}
