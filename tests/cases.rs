//! Every folder of `tests/cases`, into PostgreSQL, SQLite and MySQL or MariaDB: copy, follow, stop, go on, compare value by value.
//!
//! A folder holds `source.sql` and may hold `changes.sql`, `rowferry.toml`, `target.sql` and `expect`; docs/testing.md says
//! what each does. Adding a case needs no Rust. `CASE=name` runs the cases whose name contains that.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::compare::{Pair, Target, differences, own_rows, source_tables, structure_differences};
use rowferry_testkit::{Database, Mysql, MysqlDatabase, Postgres, Rowferry, cases, psql};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

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

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Postgres,
    Sqlite,
    Mysql,
}

/// The lines of a case's `expect`.
#[derive(Debug, Default)]
struct Expect {
    only: Option<Kind>,
    not: Vec<Kind>,
    since: u32,
    tables: Vec<String>,
    skip: Vec<String>,
    halted: Vec<(String, String)>,
    refused: Vec<String>,
    renamed: Vec<(String, String)>,
    columns: Vec<(String, Vec<String>)>,
    loose: bool,
    allowed_errors: Vec<String>,
}

fn run_all(kind: Kind) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let version = runtime.block_on(server_version());
    let run = async |folder: PathBuf| {
        let expect = Expect::read(&folder);
        let left_out = expect.only.is_some_and(|only| only != kind) || expect.not.contains(&kind);
        if left_out || version < expect.since {
            return false;
        }
        run(&folder, &expect, kind).await;
        true
    };
    cases::run_side_by_side(&format!("{kind:?}"), folders(), run);
}

async fn run(folder: &Path, expect: &Expect, kind: Kind) {
    let case = Case::prepare(folder, expect, kind);
    let rowferry = &case.rowferry;
    if !expect.refused.is_empty() {
        return case.refuses(expect);
    }
    rowferry.command(&["check"]).expect_code(0);
    rowferry.run_until_caught_up();
    case.compare(expect, "after the copy").await;

    let changes = folder.join("changes.sql");
    if changes.exists() {
        let mut running = rowferry.spawn_run();
        running.wait_streaming();
        psql::run_file(&case.source.url(), &changes);
        running.sigterm();
        let ended = rowferry.command(&["run", "--until-caught-up"]);
        rowferry.refuse_errors(&ended.stderr);
        ended.expect_code(i32::from(!expect.halted.is_empty()));
        case.compare(expect, "after the changes").await;
        case.halted(expect);
    }
    case.verify(expect).await;
}

struct Case {
    source: Database,
    copy: Copy,
    rowferry: Rowferry,
}

enum Copy {
    Postgres(Database),
    /// It lies beside the configuration.
    Sqlite,
    Mysql(MysqlDatabase),
}

impl Case {
    fn prepare(folder: &Path, expect: &Expect, kind: Kind) -> Self {
        let server = Postgres::shared();
        let source = server.create_database("case_source");
        psql::run_file(&source.url(), &folder.join("source.sql"));
        let copy = match kind {
            Kind::Postgres => Copy::Postgres(server.create_database("case_target")),
            Kind::Sqlite => Copy::Sqlite,
            Kind::Mysql => Copy::Mysql(Mysql::shared().create_database("case_target")),
        };
        if let (Copy::Postgres(copy), true) = (&copy, folder.join("target.sql").exists()) {
            psql::run_file(&copy.url(), &folder.join("target.sql"));
        }
        let target = match &copy {
            Copy::Postgres(copy) => format!("{{ kind = \"postgres\", url = \"{}\" }}", copy.url()),
            Copy::Sqlite => "{ kind = \"sqlite\", path = \"target.db\" }".to_owned(),
            Copy::Mysql(copy) => format!("{{ kind = \"mysql\", url = \"{}\" }}", copy.url()),
        };
        let own = folder.join("rowferry.toml");
        let config = if own.exists() { own } else { folder.parent().unwrap().join("rowferry.toml") };
        let mut config = fs::read_to_string(config).unwrap().replace("${TARGET}", &target);
        if kind == Kind::Mysql {
            // One server keeps the positions of all cases, by their pipelines' names.
            config = config.replace("pipeline.case", &format!("pipeline.{}", source.name()));
        }
        let rowferry = Rowferry::new(env!("CARGO_BIN_EXE_rowferry"), &config)
            .env("SOURCE_URL", &source.url())
            .env("SLOT", source.name())
            .patience(Duration::from_secs(90));
        let rowferry = expect.allowed_errors.iter().fold(rowferry, |rowferry, text| rowferry.allow_error(text));
        Self { source, copy, rowferry }
    }

    /// `check` and `run` say why they do not go on, and leave no slot behind.
    fn refuses(&self, expect: &Expect) {
        let texts: Vec<_> = expect.refused.iter().map(String::as_str).collect();
        let checked = self.rowferry.command(&["check"]);
        checked.expect_code(3);
        let said = format!("{}{}", checked.stdout, checked.stderr);
        for text in &texts {
            assert!(said.contains(text), "\"{text}\" is not in what check says: {said}");
        }
        self.rowferry.command(&["run", "--until-caught-up"]).expect_code(1).expect_stderr(&texts);
    }

    fn target<'a>(&'a self, file: &'a Path) -> Target<'a> {
        match &self.copy {
            Copy::Postgres(copy) => Target::Postgres(copy),
            Copy::Sqlite => Target::Sqlite(file),
            Copy::Mysql(copy) => Target::Mysql(copy),
        }
    }

    async fn compare(&self, expect: &Expect, when: &str) {
        let file = self.rowferry.path("target.db");
        let target = self.target(&file);
        let pairs = self.pairs(expect, &target, when).await;
        let mut found = differences(&self.source, target, &pairs).await;
        if let (Copy::Postgres(copy), false) = (&self.copy, expect.loose) {
            found.extend(structure_differences(&self.source, copy, &pairs).await);
        }
        assert!(found.is_empty(), "{when}:\n{}", found.join("\n"));
    }

    async fn pairs(&self, expect: &Expect, target: &Target<'_>, when: &str) -> Vec<Pair> {
        let mut pairs = source_tables(&self.source, target).await;
        if !expect.tables.is_empty() {
            let named = |name: &String| {
                let (schema, name) = name.split_once('.').unwrap();
                let there = target.default_name(schema, name);
                Pair { source: (schema.to_owned(), name.to_owned()), target: there, columns: Vec::new() }
            };
            pairs = expect.tables.iter().map(named).collect();
        }
        let name_of = |pair: &Pair| format!("{}.{}", pair.source.0, pair.source.1);
        pairs.retain(|pair| !expect.skip.contains(&name_of(pair)));
        if when == "after the changes" {
            pairs.retain(|pair| !expect.halted.iter().any(|(name, _)| *name == name_of(pair)));
        }
        for pair in &mut pairs {
            let name = name_of(pair);
            if let Some((_, to)) = expect.renamed.iter().find(|(from, _)| *from == name) {
                let (schema, name) = to.split_once('.').unwrap_or(("", to));
                pair.target = (schema.to_owned(), name.to_owned());
            }
            if let Some((_, columns)) = expect.columns.iter().find(|(table, _)| *table == name) {
                pair.columns.clone_from(columns);
            }
        }
        assert!(!pairs.is_empty(), "nothing to compare");
        pairs
    }

    fn halted(&self, expect: &Expect) {
        let (_, status) = self.rowferry.json(&["status"]);
        for (name, text) in &expect.halted {
            let tables = status["pipelines"][0]["tables"].as_array().unwrap();
            let table = tables.iter().find(|table| table["name"] == name.as_str()).expect("the table in status");
            assert_eq!(table["state"], "halted", "{table}");
            assert!(table["reason"].as_str().unwrap_or_default().contains(text), "\"{text}\" is not in {table}");
        }
    }

    /// What rowferry says of itself agrees with what we compared.
    async fn verify(&self, expect: &Expect) {
        let (code, document) = self.rowferry.json(&["verify"]);
        let tables = document["tables"].as_array().unwrap_or_else(|| panic!("no tables: {document}"));
        let file = PathBuf::new();
        for pair in self.pairs(expect, &self.target(&file), "after the changes").await {
            let name = format!("{}.{}", pair.source.0, pair.source.1);
            let of_this = |table: &&Value| table["name"] == name.as_str();
            let table = tables.iter().find(of_this).unwrap_or_else(|| panic!("{name} is not in {document}"));
            assert_eq!(table["status"], "match", "{table}");
            let count =
                format!("SELECT count(*) FROM {}", own_rows(&self.source, &pair.source.0, &pair.source.1).await);
            let rows: u64 = self.source.value(&count).await.parse().unwrap();
            assert_eq!(
                (table["source_rows"].as_u64(), table["target_rows"].as_u64()),
                (Some(rows), Some(rows)),
                "{table}"
            );
        }
        if expect.halted.is_empty() {
            assert_eq!(code, 0, "{document}");
        }
    }
}

impl Expect {
    fn read(folder: &Path) -> Self {
        let mut expect = Self::default();
        let text = fs::read_to_string(folder.join("expect")).unwrap_or_default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let two =
                || rest.split_once(' ').map_or((rest.to_owned(), String::new()), |(a, b)| (a.to_owned(), b.to_owned()));
            match word {
                "only" => expect.only = Some(Kind::parse(rest)),
                "not" => expect.not.push(Kind::parse(rest)),
                "since" => expect.since = rest.parse().unwrap(),
                "tables" => expect.tables = rest.split(' ').map(str::to_owned).collect(),
                "skip" => expect.skip.push(rest.to_owned()),
                "halted" => expect.halted.push(two()),
                "refused" => expect.refused.push(rest.to_owned()),
                "target" => expect.renamed.push(two()),
                "columns" => expect.columns.push((two().0, two().1.split(',').map(str::to_owned).collect())),
                "loose" => expect.loose = true,
                "allow-error" => expect.allowed_errors.push(rest.to_owned()),
                _ => panic!("{}: no such line in expect: {line}", folder.display()),
            }
        }
        expect
    }
}

impl Kind {
    fn parse(name: &str) -> Self {
        match name {
            "postgres" => Self::Postgres,
            "sqlite" => Self::Sqlite,
            "mysql" => Self::Mysql,
            _ => panic!("no such target: {name}"),
        }
    }
}

fn folders() -> Vec<PathBuf> {
    cases::folders(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases"))
}

async fn server_version() -> u32 {
    let version = Postgres::shared().create_database("version").value("SHOW server_version_num").await;
    version.parse::<u32>().unwrap() / 10_000
}
