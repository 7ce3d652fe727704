//! docs/types.md says what each type of MySQL becomes: a table of all of them is carried, and looked at.

#![allow(clippy::unwrap_used)]

use rowferry_testkit::{Mysql, Postgres, Rowferry};
use std::fs;
use std::path::Path;

const HEAD: &str = "| MySQL, MariaDB | PostgreSQL | SQLite, declared as |";

/// Lines of the table: the source's type, PostgreSQL's, SQLite's.
fn lines() -> Vec<[String; 3]> {
    let document = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/types.md")).unwrap();
    let table = document.lines().skip_while(|line| *line != HEAD).skip(2).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| {
        let cells: Vec<String> = line.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
        cells.try_into().unwrap_or_else(|cells| panic!("not three cells: {cells:?}"))
    };
    table.map(cells).collect()
}

#[tokio::test]
async fn types_become_what_the_document_says() {
    let lines = lines();
    assert!(lines.len() > 25, "{lines:?}");
    let server = Mysql::shared();
    let source = server.create_database("types_document");
    // MySQL 5.6 has no JSON.
    let is_known = |ty: &str| ty != "json" || server.flavor().version() >= (5, 7);
    let lines: Vec<_> = lines.into_iter().filter(|line| is_known(&line[0])).collect();
    let columns: Vec<String> = lines.iter().enumerate().map(|(place, line)| format!("c{place} {}", line[0])).collect();
    source.execute(&format!("CREATE TABLE t (id int PRIMARY KEY, {})", columns.join(", "))).await;
    let copy = Postgres::shared().create_database("types_document");
    let target = format!("{{ kind = \"postgres\", url = \"{}\" }}", copy.url());
    let config = |name: &str, target: &str| {
        let (url, database) = (source.url(), source.name());
        format!(
            "[pipeline.types_{name}]\nsource = {{ kind = \"mysql\", url = \"{url}\" }}\ntarget = {target}\ntables = [\"{database}.t\"]\n"
        )
    };
    let config = config("pg", &target) + &config("lite", "{ kind = \"sqlite\", path = \"types.db\" }");
    let rowferry = Rowferry::new(env!("CARGO_BIN_EXE_rowferry"), &config);
    rowferry.run_until_caught_up();
    let sql = format!(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = '{}.t'::regclass AND attnum > 1 ORDER BY attnum",
        source.name()
    );
    let postgres: Vec<String> = copy.query_text(&sql).await.into_iter().map(|row| row[0].clone().unwrap()).collect();
    let file = rusqlite::Connection::open(rowferry.path("types.db")).unwrap();
    let table = format!("{}_t", source.name());
    let mut statement = file.prepare("SELECT type FROM pragma_table_info(?1) WHERE cid > 0 ORDER BY cid").unwrap();
    let sqlite: Vec<String> = statement.query_map([table], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!((postgres.len(), sqlite.len()), (lines.len(), lines.len()));
    for ((line, postgres), sqlite) in lines.into_iter().zip(postgres).zip(sqlite) {
        assert_eq!([line[0].clone(), postgres, sqlite], line);
    }
}
