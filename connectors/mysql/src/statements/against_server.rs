//! Random DDL on a real server: the forms that follow it must be those of the server's catalog after each statement.
//!
//! `ROWFERRY_TEST_MYSQL=mysql://root@127.0.0.1:3306/?sslmode=prefer cargo test -p rowferry-mysql against_server -- --ignored`;
//! `ROWFERRY_TEST_SEED` and `ROWFERRY_TEST_ROUNDS` repeat or lengthen a run.

mod random;

use super::*;
use crate::connection::{ConnectOptions, Server, quote_name};
use crate::kind::Kind;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use random::Random;
use std::collections::BTreeMap;

type Shape = Vec<(String, Option<Kind>, Option<Generated>)>;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test]
#[ignore = "needs a server, named by ROWFERRY_TEST_MYSQL"]
async fn forms_follow_the_catalog() {
    let url = std::env::var("ROWFERRY_TEST_MYSQL").expect("ROWFERRY_TEST_MYSQL names a server");
    let seed = number("ROWFERRY_TEST_SEED", u64::from(std::process::id()));
    let rounds = number("ROWFERRY_TEST_ROUNDS", 400);
    let schema = format!("forms_{seed}");
    let (mut conn, server) = ConnectOptions::parse(&url).unwrap().connect_without_database().await.unwrap();
    let mut random = Random::new(seed, server);
    let charset = random.charset();
    conn.query_drop(format!("DROP DATABASE IF EXISTS {schema}")).await.unwrap();
    conn.query_drop(format!("CREATE DATABASE {schema} CHARACTER SET {charset}")).await.unwrap();
    conn.query_drop(format!("USE {schema}")).await.unwrap();
    let mut forms = Forms::new(server.flavor, false);
    forms.set_database(&schema, Charset::new(charset, None));
    let mut history = Vec::new();
    let mut unknown = 0;
    for _ in 0..rounds {
        let statement = random.statement(&columns(&forms));
        // What the server refuses is not in its log.
        if conn.query_drop(&statement).await.is_err() {
            continue;
        }
        let Statement::Ddl(changes) = parse(&statement, &schema, SqlMode::default()) else {
            panic!("seed {seed}: {statement} is no DDL")
        };
        history.push(statement);
        changes.iter().for_each(|change| drop(forms.apply(change)));
        let expected = catalog(&mut conn, &schema, server).await;
        unknown += mend(&mut forms, &expected);
        let recent = &history[history.len().saturating_sub(12)..];
        let shapes =
            |forms: BTreeMap<String, Form>| forms.iter().map(|(name, form)| (name.clone(), shape(form))).collect();
        let found: BTreeMap<String, Shape> = shapes(by_name(&forms));
        let expected: BTreeMap<String, Shape> = shapes(expected);
        assert_eq!(found, expected, "seed {seed} on {server}, after {recent:#?}");
    }
    let taken = history.len() as u64;
    println!("seed {seed} on {server}: took {taken} of {rounds} statements, {unknown} of them left a form unknown");
    assert!(taken > rounds / 4 && unknown < taken / 5, "seed {seed}: {unknown} unknown of {taken} of {rounds}");
    conn.query_drop(format!("DROP DATABASE {schema}")).await.unwrap();
}

/// Does what the log's reader does with a form that is unknown.
fn mend(forms: &mut Forms, catalog: &BTreeMap<String, Form>) -> u64 {
    let unknown: Vec<TableName> =
        forms.iter().filter(|(_, form)| !form.is_known).map(|(table, _)| table.clone()).collect();
    for table in &unknown {
        forms.set(table, catalog[&table.name].clone());
    }
    unknown.len() as u64
}

fn by_name(forms: &Forms) -> BTreeMap<String, Form> {
    forms.iter().map(|(table, form)| (table.name.clone(), form.clone())).collect()
}

fn columns(forms: &Forms) -> BTreeMap<String, Vec<String>> {
    let names = |form: &Form| form.columns.iter().map(|column| column.name.clone()).collect();
    forms.iter().map(|(table, form)| (table.name.clone(), names(form))).collect()
}

fn shape(form: &Form) -> Shape {
    let column = |column: &LogColumn| (column.name.clone(), Kind::parse(&column.native), column.generated);
    form.columns.iter().map(column).collect()
}

async fn catalog(conn: &mut Conn, schema: &str, server: Server) -> BTreeMap<String, Form> {
    let json: Vec<(String, String)> = if server.is_mariadb(10, 5) {
        // The constraint keeps its name where the column is renamed.
        let query = "SELECT table_name, check_clause FROM information_schema.check_constraints \
             WHERE constraint_schema = ? AND level = 'Column'";
        conn.exec(query, (schema,)).await.unwrap()
    } else {
        Vec::new()
    };
    let query = "SELECT table_name, column_name, column_type, character_set_name, extra \
         FROM information_schema.columns WHERE table_schema = ? ORDER BY table_name, ordinal_position";
    let rows: Vec<(String, String, String, Option<String>, String)> = conn.exec(query, (schema,)).await.unwrap();
    let query = "SELECT table_name, table_collation FROM information_schema.tables WHERE table_schema = ?";
    let tables: Vec<(String, String)> = conn.exec(query, (schema,)).await.unwrap();
    let form = |(name, collation): (String, String)| (name, Form::known(Vec::new(), Charset::of_collation(&collation)));
    let mut forms: BTreeMap<String, Form> = tables.into_iter().map(form).collect();
    for (table, name, ty, charset, extra) in rows {
        let is_json = ty == "longtext" && json.contains(&(table.clone(), format!("json_valid({})", quote_name(&name))));
        let native = match charset {
            _ if is_json => "json".to_owned(),
            Some(charset) => format!("{ty} character set {}", Charset::new(&charset, None).name),
            // MySQL names none where labels are bytes.
            None if ty.starts_with("enum") || ty.starts_with("set") => format!("{ty} character set binary"),
            None => ty,
        };
        let generated = match extra.to_ascii_uppercase() {
            extra if extra.contains("VIRTUAL GENERATED") => Some(Generated::Virtual),
            extra if extra.contains("STORED GENERATED") => Some(Generated::Stored),
            _ => None,
        };
        assert!(Kind::parse(&native).is_some(), "{native}");
        forms.get_mut(&table).unwrap().columns.push(LogColumn { name, native, generated });
    }
    forms
}
