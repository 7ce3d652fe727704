//! Every folder of `tests/cases_mysql`, from MySQL or MariaDB into each target: copy, follow, stop, go on, compare value
//! by value.
//!
//! A folder holds what one of `tests/cases` does; docs/testing.md says where they differ. Adding a case needs no Rust.
//! `CASE=name` runs the cases whose name contains that.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::Kind;
use rowferry_testkit::cases::{self, Copy, Expect};
use rowferry_testkit::mysql::compare::{Pair, Target, differences, source_tables, structure_differences};
use rowferry_testkit::{Mysql, MysqlDatabase, Rowferry, mysql};
use std::path::{Path, PathBuf};

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
        if !expect.is_from(Mysql::shared().flavor()) {
            return false;
        }
        let server = Server::of(&expect);
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

/// The server of a case: the shared one, or one of its own.
enum Server {
    Shared,
    Own(Box<Mysql>),
}

impl Server {
    fn of(expect: &Expect) -> Self {
        let options: Vec<_> = expect.server.iter().map(String::as_str).collect();
        if options.is_empty() { Self::Shared } else { Self::Own(Box::new(Mysql::start(&options))) }
    }

    fn get(&self) -> &Mysql {
        match self {
            Self::Shared => Mysql::shared(),
            Self::Own(server) => server,
        }
    }
}

fn folders() -> Vec<PathBuf> {
    cases::folders(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases_mysql"))
}

fn run_all(kind: Kind) {
    let flavor = Mysql::shared().flavor();
    let run = async |folder: PathBuf| {
        let expect = Expect::read(&folder);
        let is_for = expect.is_from(flavor) && expect.is_into(kind);
        if is_for {
            run(&folder, &expect, kind).await;
        }
        is_for
    };
    cases::run_side_by_side(&format!("{flavor:?} into {kind:?}"), folders(), run);
}

async fn run(folder: &Path, expect: &Expect, kind: Kind) {
    let server = Server::of(expect);
    let case = Case::prepare(folder, expect, server.get(), kind).await;
    let rowferry = &case.rowferry;
    if !expect.refused.is_empty() {
        return cases::refuses(rowferry, expect);
    }
    rowferry.command(&["check"]).expect_code(0);
    rowferry.run_until_caught_up();
    case.compare(expect, "after the copy").await;

    let changes = folder.join("changes.sql");
    if changes.exists() {
        cases::follows(rowferry, expect, mysql::run_file(&case.source.url(), &changes)).await;
        case.compare(expect, "after the changes").await;
        cases::halted(rowferry, expect, |name| case.full_name(name));
    }
    case.verify(expect).await;
}

struct Case {
    source: MysqlDatabase,
    copy: Copy,
    rowferry: Rowferry,
    /// `target.db`, if that is the target.
    file: PathBuf,
}

impl Case {
    async fn prepare(folder: &Path, expect: &Expect, server: &Mysql, kind: Kind) -> Self {
        let source = server.create_database("case_source");
        mysql::run_file(&source.url(), &folder.join("source.sql")).await;
        let copy = Copy::create(kind, Mysql::other().unwrap_or(server));
        if let (Copy::Mysql(copy), true) = (&copy, folder.join("target.sql").exists()) {
            mysql::run_file(&copy.url(), &folder.join("target.sql")).await;
        }
        let fill = |config: String| config.replace("${DATABASE}", source.name());
        let rowferry = cases::rowferry(env!("CARGO_BIN_EXE_rowferry"), folder, &copy, expect, fill)
            .env("SOURCE_URL", &source.url());
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
        // Another kind of server has other types and collations.
        if let (Copy::Mysql(copy), false) = (&self.copy, expect.loose || Mysql::other().is_some()) {
            found.extend(structure_differences(&self.source, copy, &pairs).await);
        }
        assert!(found.is_empty(), "{when}:\n{}", found.join("\n"));
    }

    async fn pairs(&self, expect: &Expect, after_changes: bool) -> Vec<Pair> {
        let target = self.target();
        let mut pairs = source_tables(&self.source, &target).await;
        if !expect.tables.is_empty() {
            pairs = expect.tables.iter().map(|name| Pair::new(&self.source, name, &target)).collect();
        }
        pairs.retain(|pair| expect.compares(&pair.source, after_changes));
        for pair in &mut pairs {
            if let Some(to) = expect.renamed_to(&pair.source) {
                to.clone_into(&mut pair.target.1);
            }
            pair.columns = expect.columns_of(&pair.source);
        }
        assert!(!pairs.is_empty(), "nothing to compare");
        pairs
    }

    async fn verify(&self, expect: &Expect) {
        let mut tables = Vec::new();
        for pair in self.pairs(expect, true).await {
            let count = format!("SELECT count(*) FROM `{}`", pair.source.replace('`', "``"));
            let rows = self.source.value(&count).await.parse().unwrap();
            tables.push((self.full_name(&pair.source), rows));
        }
        cases::verifies(&self.rowferry, expect, &tables);
    }

    fn full_name(&self, table: &str) -> String {
        format!("{}.{table}", self.source.name())
    }
}
