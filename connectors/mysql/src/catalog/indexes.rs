//! Keys, indexes and foreign keys.

use super::{Text, Which, by_table, cell, query_text};
use crate::connection::{Server, quote_name};
use mysql_async::Conn;
use rowferry_api::{ForeignKey, Index, Result, TableName, TableSchema};
use std::collections::HashMap;

/// An index with what its place in the catalog says.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) index: Index,
    pub(super) is_primary: bool,
    /// Columns or expressions may be NULL.
    nullable: bool,
}

/// The indexes of tables, in the order of their names.
pub(super) async fn indexes(
    conn: &mut Conn,
    server: Server,
    which: &Which<'_>,
) -> Result<HashMap<TableName, Vec<Found>>> {
    let condition = which.condition("TABLE_SCHEMA", "TABLE_NAME");
    let expression = if server.is_mysql(8, 0) { "EXPRESSION" } else { "NULL" };
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, NON_UNIQUE, COLUMN_NAME, SUB_PART, COLLATION, INDEX_TYPE, NULLABLE, \
         {expression} FROM information_schema.STATISTICS WHERE {condition} \
         ORDER BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX"
    );
    let rows = query_text(conn, "read the indexes of tables", &sql).await?;
    Ok(by_table(rows).into_iter().map(|(table, rows)| (table, grouped(rows))).collect())
}

fn grouped(rows: Vec<Vec<Text>>) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    let mut parts: Vec<Vec<String>> = Vec::new();
    let mut kinds: Vec<String> = Vec::new();
    for mut row in rows {
        let name = cell(&mut row, 2);
        let unique = cell(&mut row, 3) == "0";
        let column = row.get_mut(4).and_then(Option::take);
        let (prefix, order, kind) = (cell(&mut row, 5), cell(&mut row, 6), cell(&mut row, 7));
        let nullable = cell(&mut row, 8) == "YES";
        let expression = cell(&mut row, 9);
        if found.last().is_none_or(|last| last.index.name != name) {
            let is_primary = name == "PRIMARY";
            let index = Index {
                name,
                unique,
                columns: Vec::new(),
                partial: false,
                definition: String::new(),
                constraint: None,
            };
            found.push(Found { index, is_primary, nullable: false });
            parts.push(Vec::new());
            kinds.push(kind.clone());
        }
        let (Some(last), Some(parts)) = (found.last_mut(), parts.last_mut()) else { continue };
        last.nullable |= nullable;
        let mut part = match &column {
            Some(column) => quote_name(column),
            None => format!("({})", expression.replace("\\'", "'")),
        };
        // A prefix of a spatial index is its own matter.
        let prefix = if kind == "SPATIAL" { String::new() } else { prefix };
        if !prefix.is_empty() {
            part += &format!("({prefix})");
        }
        if order == "D" {
            part += " DESC";
        }
        parts.push(part);
        // Over a prefix an index is none over the column.
        last.index.columns.extend(column);
        last.index.partial |= !prefix.is_empty();
    }
    for ((found, parts), kind) in found.iter_mut().zip(parts).zip(kinds) {
        if parts.len() != found.index.columns.len() {
            found.index.columns.clear();
        }
        let what = match kind.as_str() {
            "FULLTEXT" => "FULLTEXT KEY",
            "SPATIAL" => "SPATIAL KEY",
            _ if found.index.unique => "UNIQUE KEY",
            _ => "KEY",
        };
        found.index.definition = format!("ADD {what} {} ({})", quote_name(&found.index.name), parts.join(", "));
    }
    found
}

/// The primary key, else a unique index whose columns are never NULL: the one with the fewest.
pub(super) fn key_of(schema: &TableSchema, indexes: &[Found]) -> Vec<usize> {
    let places = |found: &Found| -> Option<Vec<usize>> {
        let places: Vec<usize> =
            found.index.columns.iter().map(|name| schema.column_index(name)).collect::<Option<_>>()?;
        (!places.is_empty()).then_some(places)
    };
    if let Some(primary) = indexes.iter().find(|found| found.is_primary) {
        return places(primary).unwrap_or_default();
    }
    let usable = indexes.iter().filter(|found| found.index.unique && !found.index.partial && !found.nullable);
    usable.filter_map(places).min_by_key(Vec::len).unwrap_or_default()
}

/// The foreign keys of tables.
pub(super) async fn foreign_keys(conn: &mut Conn, which: &Which<'_>) -> Result<HashMap<TableName, Vec<ForeignKey>>> {
    let condition = which.condition("k.TABLE_SCHEMA", "k.TABLE_NAME");
    let rules = which.condition("r.CONSTRAINT_SCHEMA", "r.TABLE_NAME");
    let sql = format!(
        "SELECT k.TABLE_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME, k.COLUMN_NAME, k.REFERENCED_TABLE_SCHEMA, \
         k.REFERENCED_TABLE_NAME, k.REFERENCED_COLUMN_NAME, r.DELETE_RULE, r.UPDATE_RULE \
         FROM information_schema.KEY_COLUMN_USAGE k JOIN information_schema.REFERENTIAL_CONSTRAINTS r \
         ON r.CONSTRAINT_SCHEMA = k.CONSTRAINT_SCHEMA AND r.TABLE_NAME = k.TABLE_NAME \
         AND r.CONSTRAINT_NAME = k.CONSTRAINT_NAME \
         WHERE {condition} AND {rules} AND k.REFERENCED_TABLE_NAME IS NOT NULL \
         ORDER BY k.TABLE_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME, k.ORDINAL_POSITION"
    );
    let rows = query_text(conn, "read the foreign keys of tables", &sql).await?;
    Ok(by_table(rows).into_iter().map(|(table, rows)| (table, keys(rows))).collect())
}

fn keys(rows: Vec<Vec<Text>>) -> Vec<ForeignKey> {
    let mut keys: Vec<ForeignKey> = Vec::new();
    for mut row in rows {
        let (name, column) = (cell(&mut row, 2), cell(&mut row, 3));
        let references = TableName::new(cell(&mut row, 4), cell(&mut row, 5));
        let referenced = cell(&mut row, 6);
        let actions = format!("ON DELETE {} ON UPDATE {}", cell(&mut row, 7), cell(&mut row, 8));
        match keys.last_mut().filter(|key| key.name == name) {
            Some(key) => {
                key.columns.push(column);
                key.referenced_columns.push(referenced);
            }
            None => keys.push(ForeignKey {
                name,
                columns: vec![column],
                references,
                referenced_columns: vec![referenced],
                actions,
            }),
        }
    }
    keys
}
