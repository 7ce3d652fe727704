//! Every folder of `tests/cases`, into PostgreSQL, SQLite and MySQL or MariaDB: copy, follow, stop, go on, compare value by value.
//!
//! A folder holds `source.sql` and may hold `changes.sql`, `rowferry.toml`, `target.sql` and `expect`; docs/testing.md says
//! what each does. Adding a case needs no Rust. `CASE=name` runs the cases whose name contains that.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::Kind;
use rowferry_testkit::cases::{self, Copy, Expect};
use rowferry_testkit::compare::{Pair, Target, differences, own_rows, source_tables, structure_differences};
use rowferry_testkit::{Database, Mysql, Postgres, Rowferry, psql};
use std::path::{Path, PathBuf};

#[test]
fn cases_into_postgres() {
    run_all(Kind::Postgres);
}

#[test]
fn cases_into_sqlite() {
    run_all(Kind::Sqlite);
}

#[test]
fn cases_into_mysql() {
    run_all(Kind::Mysql);
}

fn run_all(kind: Kind) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let version = runtime.block_on(server_version());
    let run = async |folder: PathBuf| {
        let expect = Expect::read(&folder);
        let is_for = expect.is_into(kind) && version >= expect.since;
        if is_for {
            run(&folder, &expect, kind).await;
        }
        is_for
    };
    let folders = cases::folders(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases"));
    cases::run_side_by_side(&format!("{kind:?}"), folders, run);
}

async fn run(folder: &Path, expect: &Expect, kind: Kind) {
    let case = Case::prepare(folder, expect, kind);
    let rowferry = &case.rowferry;
    if !expect.refused.is_empty() {
        return cases::refuses(rowferry, expect);
    }
    rowferry.command(&["check"]).expect_code(0);
    rowferry.run_until_caught_up();
    case.compare(expect, "after the copy").await;

    let changes = folder.join("changes.sql");
    if changes.exists() {
        cases::follows(rowferry, expect, async { psql::run_file(&case.source.url(), &changes) }).await;
        case.compare(expect, "after the changes").await;
        cases::halted(rowferry, expect, str::to_owned);
    }
    case.verify(expect).await;
}

struct Case {
    source: Database,
    copy: Copy,
    rowferry: Rowferry,
    /// `target.db`, if that is the target.
    file: PathBuf,
}

impl Case {
    fn prepare(folder: &Path, expect: &Expect, kind: Kind) -> Self {
        let source = Postgres::shared().create_database("case_source");
        psql::run_file(&source.url(), &folder.join("source.sql"));
        let copy = Copy::create(kind, Mysql::shared());
        if let (Copy::Postgres(copy), true) = (&copy, folder.join("target.sql").exists()) {
            psql::run_file(&copy.url(), &folder.join("target.sql"));
        }
        let rowferry = cases::rowferry(env!("CARGO_BIN_EXE_rowferry"), folder, &copy, expect, |config| config)
            .env("SOURCE_URL", &source.url())
            .env("SLOT", source.name());
        let file = rowferry.path("target.db");
        Self { source, copy, rowferry, file }
    }

    fn target(&self) -> Target<'_> {
        match &self.copy {
            Copy::Postgres(copy) => Target::Postgres(copy),
            Copy::Sqlite => Target::Sqlite(&self.file),
            Copy::Mysql(copy) => Target::Mysql(copy),
        }
    }

    async fn compare(&self, expect: &Expect, when: &str) {
        let pairs = self.pairs(expect, when == "after the changes").await;
        let mut found = differences(&self.source, self.target(), &pairs).await;
        if let (Copy::Postgres(copy), false) = (&self.copy, expect.loose) {
            found.extend(structure_differences(&self.source, copy, &pairs).await);
        }
        assert!(found.is_empty(), "{when}:\n{}", found.join("\n"));
    }

    async fn pairs(&self, expect: &Expect, after_changes: bool) -> Vec<Pair> {
        let target = self.target();
        let mut pairs = source_tables(&self.source, &target).await;
        if !expect.tables.is_empty() {
            let named = |name: &String| {
                let (schema, name) = name.split_once('.').unwrap();
                let there = target.default_name(schema, name);
                Pair { source: (schema.to_owned(), name.to_owned()), target: there, columns: Vec::new() }
            };
            pairs = expect.tables.iter().map(named).collect();
        }
        pairs.retain(|pair| expect.compares(&full_name(pair), after_changes));
        for pair in &mut pairs {
            let name = full_name(pair);
            if let Some(to) = expect.renamed_to(&name) {
                let (schema, name) = to.split_once('.').unwrap_or(("", to));
                pair.target = (schema.to_owned(), name.to_owned());
            }
            pair.columns = expect.columns_of(&name);
        }
        assert!(!pairs.is_empty(), "nothing to compare");
        pairs
    }

    async fn verify(&self, expect: &Expect) {
        let mut tables = Vec::new();
        for pair in self.pairs(expect, true).await {
            let rows = own_rows(&self.source, &pair.source.0, &pair.source.1).await;
            let count = self.source.value(&format!("SELECT count(*) FROM {rows}")).await;
            tables.push((full_name(&pair), count.parse().unwrap()));
        }
        cases::verifies(&self.rowferry, expect, &tables);
    }
}

fn full_name(pair: &Pair) -> String {
    format!("{}.{}", pair.source.0, pair.source.1)
}

async fn server_version() -> u32 {
    let version = Postgres::shared().create_database("version").value("SHOW server_version_num").await;
    version.parse::<u32>().unwrap() / 10_000
}
