//! Compares a MySQL or MariaDB source with its target value by value, and shares no code with rowferry.
//!
//! Each value of the source is read by an expression of its own that the server works out, and is known by a text that
//! all stores can be asked for. Both ends are read whole into memory and sorted there.

use super::MysqlDatabase;
use super::columns::{Column, columns_of, double, name_quoted, single, text_quoted};
use crate::compare::{Column as PostgresColumn, SESSION, all_same, join, literal, quoted, row_differences};
use crate::{Database, sqlite};
use mysql_async::prelude::Queryable;
use mysql_async::{Row, Value};
use std::path::Path;

/// Rows of texts, `None` for NULL.
type Rows = Vec<Vec<Option<String>>>;

/// A table at both ends.
#[derive(Debug, Clone)]
pub struct Pair {
    /// Its name in the source's database.
    pub source: String,
    /// Schema and name at the target; no schema in SQLite and MySQL.
    pub target: (String, String),
    /// Only these columns are expected at the target; empty for all.
    pub columns: Vec<String>,
}

/// Where the copy is.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// A PostgreSQL database: the schema has the name of the source's database.
    Postgres(&'a Database),
    /// An SQLite file.
    Sqlite(&'a Path),
    /// Another database of MySQL or MariaDB.
    Mysql(&'a MysqlDatabase),
}

impl Pair {
    /// A table with the name that it takes at the target when the configuration names none.
    pub fn new(source: &MysqlDatabase, name: &str, target: &Target<'_>) -> Self {
        let there = match target {
            Target::Postgres(_) => (source.name().to_owned(), name.to_owned()),
            Target::Sqlite(_) => (String::new(), format!("{}_{name}", source.name())),
            Target::Mysql(_) => (String::new(), name.to_owned()),
        };
        Self { source: name.to_owned(), target: there, columns: Vec::new() }
    }
}

/// Every table of the source's database.
pub async fn source_tables(source: &MysqlDatabase, target: &Target<'_>) -> Vec<Pair> {
    let sql = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE() \
        AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY 1";
    let names = source.query_text(sql).await.into_iter().flatten().flatten();
    names.map(|name| Pair::new(source, &name, target)).collect()
}

/// Compares the rows of tables; each difference is one line. Empty: they are the same.
pub async fn differences(source: &MysqlDatabase, target: Target<'_>, pairs: &[Pair]) -> Vec<String> {
    let mut found = Vec::new();
    for pair in pairs {
        let mut columns = columns_of(source, &pair.source).await;
        if !pair.columns.is_empty() {
            columns.retain(|column| pair.columns.contains(&column.name));
        }
        // What the source generates may be generated at the target, or be left out.
        let there = columns_there(target, pair).await;
        columns.retain(|column| !column.generated || there.contains(&column.name));
        let mut here = rows(source, &pair.source, &columns).await;
        let mut there = target_rows(target, pair, &columns).await;
        if let Target::Mysql(database) = target {
            as_kept_at(database, &pair.target.1, &columns, [&mut here, &mut there]).await;
        }
        match (here, there) {
            (Ok(here), Ok(there)) => {
                let here = here.into_iter().map(|row| join(&expected(target, &columns, row))).collect();
                let there = there.iter().map(|row| join(row)).collect();
                found.extend(row_differences(&pair.source, here, there));
            }
            (Err(error), _) => found.push(format!("{}: read the source: {error}", pair.source)),
            (_, Err(error)) => found.push(format!("{}: read the target: {error}", pair.source)),
        }
    }
    found
}

/// Panics unless all tables are the same, value by value, and there is one. Returns how many there are.
pub async fn assert_same(source: &MysqlDatabase, target: Target<'_>) -> usize {
    let pairs = source_tables(source, &target).await;
    all_same(&pairs, &differences(source, target, &pairs).await)
}

/// Compares columns, keys, indexes and foreign keys of tables in two databases of MySQL or MariaDB.
pub async fn structure_differences(source: &MysqlDatabase, target: &MysqlDatabase, pairs: &[Pair]) -> Vec<String> {
    let mut found = Vec::new();
    for pair in pairs {
        let here = structure(source, &pair.source).await;
        let there = structure(target, &pair.target.1).await;
        found.extend(row_differences(&format!("structure of {}", pair.source), here, there));
    }
    found
}

async fn structure(database: &MysqlDatabase, table: &str) -> Vec<String> {
    let table = text_quoted(table);
    let of_table = format!("TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {table}");
    // The names of indexes and foreign keys are the target's own matter: what they are over is not. NO ACTION and
    // RESTRICT are one and the same here.
    let queries = [
        format!(
            "SELECT 'column', COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLLATION_NAME, EXTRA LIKE '%L GENERATED%' OR EXTRA LIKE '%D GENERATED%' \
             FROM information_schema.COLUMNS WHERE {of_table}"
        ),
        format!(
            "SELECT IF(INDEX_NAME = 'PRIMARY', 'primary key', IF(NON_UNIQUE, 'index', 'unique index')), \
             GROUP_CONCAT(CONCAT(COLUMN_NAME, IFNULL(CONCAT('(', SUB_PART, ')'), '')) ORDER BY SEQ_IN_INDEX) \
             FROM information_schema.STATISTICS WHERE {of_table} GROUP BY INDEX_NAME, NON_UNIQUE"
        ),
        format!(
            "SELECT 'foreign key', k.REFERENCED_TABLE_NAME, REPLACE(r.UPDATE_RULE, 'NO ACTION', 'RESTRICT'), \
             REPLACE(r.DELETE_RULE, 'NO ACTION', 'RESTRICT'), \
             GROUP_CONCAT(CONCAT(k.COLUMN_NAME, ' to ', k.REFERENCED_COLUMN_NAME) ORDER BY k.ORDINAL_POSITION) \
             FROM information_schema.KEY_COLUMN_USAGE k JOIN information_schema.REFERENTIAL_CONSTRAINTS r \
             USING (CONSTRAINT_SCHEMA, CONSTRAINT_NAME, TABLE_NAME) \
             WHERE k.TABLE_SCHEMA = DATABASE() AND TABLE_NAME = {table} AND k.REFERENCED_TABLE_NAME IS NOT NULL \
             GROUP BY CONSTRAINT_NAME, k.REFERENCED_TABLE_NAME, r.UPDATE_RULE, r.DELETE_RULE"
        ),
    ];
    let mut lines = Vec::new();
    for sql in queries {
        lines.extend(database.query_text(&sql).await.iter().map(|row| join(row)));
    }
    lines
}

/// Rows of these columns in their order, each value known by what its column is at this server.
pub(crate) async fn named_rows(database: &MysqlDatabase, table: &str, names: &[&str]) -> Result<Rows, String> {
    let there = columns_of(database, table).await;
    let find = |name: &&str| {
        let found = there.iter().find(|column| column.name == **name).cloned();
        found.ok_or_else(|| format!("no column {name} in {table}"))
    };
    let columns: Vec<_> = names.iter().map(find).collect::<Result<_, _>>()?;
    rows(database, table, &columns).await
}

/// How the texts of a row of PostgreSQL are known here. A moment is kept in UTC without saying so.
pub(crate) fn from_postgres(columns: &[PostgresColumn], row: Vec<Option<String>>) -> Vec<Option<String>> {
    let text = |(column, cell): (&PostgresColumn, Option<String>)| {
        cell.map(|text| match column.base_type.as_str() {
            "bool" => u8::from(text == "t").to_string(),
            "float4" => text.parse().map_or(text, single),
            "float8" => text.parse().map_or(text, double),
            "bytea" => text.trim_start_matches("\\x").to_owned(),
            "timestamptz" => text.trim_end_matches("+00").to_owned(),
            _ => text,
        })
    };
    columns.iter().zip(row).map(text).collect()
}

/// What another kind of server keeps otherwise and is the same: MySQL sorts documents that MariaDB has as text, MariaDB has no minus zero.
async fn as_kept_at(database: &MysqlDatabase, table: &str, columns: &[Column], ends: [&mut Result<Rows, String>; 2]) {
    let there = columns_of(database, table).await;
    let is_document =
        |column: &Column| !column.is_json() && there.iter().any(|other| other.name == column.name && other.is_json());
    let documents: Vec<bool> = columns.iter().map(is_document).collect();
    let is_mariadb = database.value("SELECT VERSION()").await.contains("MariaDB");
    for row in ends.into_iter().flatten().flatten() {
        for (cell, is_document) in row.iter_mut().zip(&documents) {
            let Some(text) = cell else { continue };
            if *is_document {
                *text = serde_json::from_str::<serde_json::Value>(text).expect("JSON").to_string();
            } else if is_mariadb && (*text == single(-0.0) || *text == double(-0.0)) {
                *text = text.replace("real 8", "real 0");
            }
        }
    }
}

async fn columns_there(target: Target<'_>, pair: &Pair) -> Vec<String> {
    let (schema, name) = &pair.target;
    match target {
        Target::Postgres(database) => {
            let sql = format!(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = {} AND table_name = {}",
                literal(schema),
                literal(name)
            );
            database.query_text(&sql).await.into_iter().flatten().flatten().collect()
        }
        Target::Sqlite(file) => sqlite::column_names(file, name),
        Target::Mysql(database) => columns_of(database, name).await.into_iter().map(|column| column.name).collect(),
    }
}

/// The source's rows, as texts: see [`Column::text`].
async fn rows(database: &MysqlDatabase, table: &str, columns: &[Column]) -> Result<Rows, String> {
    let list: Vec<_> = columns.iter().map(Column::expression).collect();
    let sql = format!("SELECT {} FROM {}", list.join(", "), name_quoted(table));
    let mut client = database.client().await;
    let read = async {
        client.query_drop("SET SESSION time_zone = '+00:00', sql_mode = ''").await?;
        // The binary protocol says the bits of a float; text would round it.
        client.exec::<Row, _, _>(sql.as_str(), ()).await
    };
    let rows = read.await.map_err(|error| format!("{error} in: {sql}"))?;
    let cell = |(column, value): (&Column, Value)| column.text(value);
    Ok(rows.into_iter().map(|row| columns.iter().zip(row.unwrap()).map(cell).collect()).collect())
}

async fn target_rows(target: Target<'_>, pair: &Pair, columns: &[Column]) -> Result<Rows, String> {
    let (schema, name) = &pair.target;
    match target {
        Target::Mysql(database) => rows(database, name, columns).await,
        Target::Sqlite(file) => {
            let columns: Vec<_> = columns.iter().map(|column| (column.name.as_str(), column.is_single())).collect();
            sqlite::values(file, name, &columns)
        }
        Target::Postgres(database) => {
            let list: Vec<_> = columns.iter().map(|column| quoted(&column.name)).collect();
            let sql = format!("{SESSION} SELECT {} FROM {}.{}", list.join(", "), quoted(schema), quoted(name));
            let rows = database.try_query_text(&sql).await.map_err(|error| format!("{error:?}"))?;
            let cell = |(column, cell): (&Column, Option<String>)| cell.map(|text| column.postgres_text(text));
            Ok(rows.into_iter().map(|row| columns.iter().zip(row).map(cell).collect()).collect())
        }
    }
}

fn expected(target: Target<'_>, columns: &[Column], row: Vec<Option<String>>) -> Vec<Option<String>> {
    match target {
        Target::Sqlite(_) => {
            columns.iter().zip(row).map(|(column, cell)| cell.map(|text| column.sqlite_text(&text))).collect()
        }
        _ => row,
    }
}
