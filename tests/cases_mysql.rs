//! Every folder of `tests/cases_mysql`, from MySQL or MariaDB into each target: copy, follow, stop, go on, compare value
//! by value.
//!
//! A folder holds what one of `tests/cases` does; docs/testing.md says where they differ. Adding a case needs no Rust.
//! `CASE=name` runs the cases whose name contains that.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::mysql::compare::{Pair, Target, differences, source_tables, structure_differences};
use rowferry_testkit::{Database, Flavor, Mysql, MysqlDatabase, Postgres, Rowferry, cases, mysql};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[test]
fn mysql_cases_into_postgres() {
    run_all(Kind::Postgres);
}

#[test]
fn mysql_cases_into_sqlite() {
    run_all(Kind::Sqlite);
}

#[test]
fn mysql_cases_into_mysql() {
    run_all(Kind::Mysql);
}

/// The cases' own SQL is right, whatever rowferry makes of it.
#[test]
fn case_files_load() {
    let load = async |folder: PathBuf| {
        let expect = Expect::read(&folder);
        if !expect.is_for(Mysql::shared().flavor()) {
            return false;
        }
        let server = expect.server();
        let source = server.get().create_database("case_files");
        mysql::run_file(&source.url(), &folder.join("source.sql")).await;
        let target = Target::Sqlite(Path::new("none"));
        assert!(!source_tables(&source, &target).await.is_empty());
        if folder.join("changes.sql").exists() {
            mysql::run_file(&source.url(), &folder.join("changes.sql")).await;
        }
        // Each value of the source can be read, and is the same when read again.
        let same = Target::Mysql(&source);
        let pairs = source_tables(&source, &same).await;
        assert_eq!(differences(&source, same, &pairs).await, Vec::<String>::new());
        assert_eq!(structure_differences(&source, &source, &pairs).await, Vec::<String>::new());
        true
    };
    cases::run_side_by_side("load", folders(), load);
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Postgres,
    Sqlite,
    Mysql,
}

/// The lines of a case's `expect`. Tables have no schema here: that is the database, whose name is made up.
#[derive(Debug, Default)]
struct Expect {
    into: Vec<Kind>,
    sources: Vec<String>,
    server: Vec<String>,
    tables: Vec<String>,
    skip: Vec<String>,
    halted: Vec<(String, String)>,
    refused: Vec<String>,
    renamed: Vec<(String, String)>,
    columns: Vec<(String, Vec<String>)>,
    loose: bool,
    allowed_errors: Vec<String>,
}

/// The server of a case: the shared one, or one of its own.
enum Server {
    Shared,
    Own(Box<Mysql>),
}

fn run_all(kind: Kind) {
    let flavor = Mysql::shared().flavor();
    let run = async |folder: PathBuf| {
        let expect = Expect::read(&folder);
        let is_for = expect.is_for(flavor) && (expect.into.is_empty() || expect.into.contains(&kind));
        if is_for {
            run(&folder, &expect, kind).await;
        }
        is_for
    };
    cases::run_side_by_side(&format!("{flavor:?} into {kind:?}"), folders(), run);
}

async fn run(folder: &Path, expect: &Expect, kind: Kind) {
    let server = expect.server();
    let case = Case::prepare(folder, expect, server.get(), kind).await;
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
        mysql::run_file(&case.source.url(), &changes).await;
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
    source: MysqlDatabase,
    copy: Copy,
    rowferry: Rowferry,
}

enum Copy {
    Postgres(Database),
    Sqlite(PathBuf),
    Mysql(MysqlDatabase),
}

impl Case {
    async fn prepare(folder: &Path, expect: &Expect, server: &Mysql, kind: Kind) -> Self {
        let source = server.create_database("case_source");
        mysql::run_file(&source.url(), &folder.join("source.sql")).await;
        let given = folder.join("target.sql");
        let (copy, target) = match kind {
            Kind::Postgres => {
                let copy = Postgres::shared().create_database("case_target");
                let target = format!("{{ kind = \"postgres\", url = \"{}\" }}", copy.url());
                (Copy::Postgres(copy), target)
            }
            // Its place is known once the folder is.
            Kind::Sqlite => (Copy::Sqlite(PathBuf::new()), "{ kind = \"sqlite\", path = \"target.db\" }".to_owned()),
            Kind::Mysql => {
                let copy = server.create_database("case_target");
                if given.exists() {
                    mysql::run_file(&copy.url(), &given).await;
                }
                let target = format!("{{ kind = \"mysql\", url = \"{}\" }}", copy.url());
                (Copy::Mysql(copy), target)
            }
        };
        let own = folder.join("rowferry.toml");
        let config = if own.exists() { own } else { folder.parent().unwrap().join("rowferry.toml") };
        let config = fs::read_to_string(config).unwrap();
        let config = config.replace("${TARGET}", &target).replace("${DATABASE}", source.name());
        let rowferry = Rowferry::new(env!("CARGO_BIN_EXE_rowferry"), &config)
            .env("SOURCE_URL", &source.url())
            .patience(Duration::from_secs(90));
        let rowferry = expect.allowed_errors.iter().fold(rowferry, |rowferry, text| rowferry.allow_error(text));
        let copy = if let Copy::Sqlite(_) = copy { Copy::Sqlite(rowferry.path("target.db")) } else { copy };
        Self { source, copy, rowferry }
    }

    fn target(&self) -> Target<'_> {
        match &self.copy {
            Copy::Postgres(copy) => Target::Postgres(copy),
            Copy::Sqlite(file) => Target::Sqlite(file),
            Copy::Mysql(copy) => Target::Mysql(copy),
        }
    }

    /// `check` and `run` say why they do not go on.
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

    async fn compare(&self, expect: &Expect, when: &str) {
        let pairs = self.pairs(expect, when).await;
        let mut found = differences(&self.source, self.target(), &pairs).await;
        if let (Copy::Mysql(copy), false) = (&self.copy, expect.loose) {
            found.extend(structure_differences(&self.source, copy, &pairs).await);
        }
        assert!(found.is_empty(), "{when}:\n{}", found.join("\n"));
    }

    async fn pairs(&self, expect: &Expect, when: &str) -> Vec<Pair> {
        let target = self.target();
        let mut pairs = source_tables(&self.source, &target).await;
        if !expect.tables.is_empty() {
            pairs = expect.tables.iter().map(|name| Pair::new(&self.source, name, &target)).collect();
        }
        pairs.retain(|pair| !expect.skip.contains(&pair.source));
        if when == "after the changes" {
            pairs.retain(|pair| !expect.halted.iter().any(|(name, _)| *name == pair.source));
        }
        for pair in &mut pairs {
            if let Some((_, to)) = expect.renamed.iter().find(|(from, _)| *from == pair.source) {
                pair.target.1.clone_from(to);
            }
            if let Some((_, columns)) = expect.columns.iter().find(|(table, _)| *table == pair.source) {
                pair.columns.clone_from(columns);
            }
        }
        assert!(!pairs.is_empty(), "nothing to compare");
        pairs
    }

    fn halted(&self, expect: &Expect) {
        let (_, status) = self.rowferry.json(&["status"]);
        for (name, text) in &expect.halted {
            let table = self.of(name, &status["pipelines"][0]["tables"]);
            assert_eq!(table["state"], "halted", "{table}");
            assert!(table["reason"].as_str().unwrap_or_default().contains(text), "\"{text}\" is not in {table}");
        }
    }

    /// What rowferry says of itself agrees with what we compared.
    async fn verify(&self, expect: &Expect) {
        let (code, document) = self.rowferry.json(&["verify"]);
        for pair in self.pairs(expect, "after the changes").await {
            let table = self.of(&pair.source, &document["tables"]);
            assert_eq!(table["status"], "match", "{table}");
            let count = format!("SELECT count(*) FROM `{}`", pair.source.replace('`', "``"));
            let rows: u64 = self.source.value(&count).await.parse().unwrap();
            let said = (table["source_rows"].as_u64(), table["target_rows"].as_u64());
            assert_eq!(said, (Some(rows), Some(rows)), "{table}");
        }
        if expect.halted.is_empty() {
            assert_eq!(code, 0, "{document}");
        }
    }

    /// The table of a document's list.
    fn of<'a>(&self, table: &str, tables: &'a Value) -> &'a Value {
        let name = format!("{}.{table}", self.source.name());
        let tables = tables.as_array().unwrap_or_else(|| panic!("no tables: {tables}"));
        let found = tables.iter().find(|table| table["name"] == name.as_str());
        found.unwrap_or_else(|| panic!("{name} is not in {tables:?}"))
    }
}

impl Expect {
    fn read(folder: &Path) -> Self {
        let mut expect = Self::default();
        let text = fs::read_to_string(folder.join("expect")).unwrap_or_default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            let words = || rest.split(' ').map(str::to_owned).collect();
            let two =
                || rest.split_once(' ').map_or((rest.to_owned(), String::new()), |(a, b)| (a.to_owned(), b.to_owned()));
            match word {
                "into" => expect.into = rest.split(' ').map(Kind::parse).collect(),
                "source" => expect.sources.push(rest.to_owned()),
                "server" => expect.server = words(),
                "tables" => expect.tables = words(),
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

    /// `source mariadb 10.5`: one of these lines has to fit, if there are any.
    fn is_for(&self, flavor: Flavor) -> bool {
        let fits = |line: &String| {
            let (brand, version) = line.split_once(' ').unwrap_or((line, "0.0"));
            let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
            let least: (u16, u16) = (major.parse().unwrap(), minor.parse().unwrap());
            assert!(["mysql", "mariadb"].contains(&brand), "no such source: {line}");
            (brand == "mariadb") == flavor.is_mariadb() && flavor.version() >= least
        };
        self.sources.is_empty() || self.sources.iter().any(fits)
    }

    fn server(&self) -> Server {
        let options: Vec<_> = self.server.iter().map(String::as_str).collect();
        if options.is_empty() { Server::Shared } else { Server::Own(Box::new(Mysql::start(&options))) }
    }
}

impl Server {
    fn get(&self) -> &Mysql {
        match self {
            Self::Shared => Mysql::shared(),
            Self::Own(server) => server,
        }
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
    cases::folders(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases_mysql"))
}
