//! Tables as `information_schema` has them: columns, keys, indexes, foreign keys.
//!
//! Virtual generated columns, and all of MariaDB's, are in [`TableSchema::computed`]: the log does not always bring what a
//! read gives. MariaDB logs what a column that depends on AUTO_INCREMENT was before the number was known, and from 11 on leaves
//! generated columns out of an UPDATE's images. MySQL's stored ones are columns like others, which know how they are computed.

mod columns;
mod indexes;

use crate::connection::{Server, from_mysql, quote_text};
use crate::statements::LogColumn;
use columns::columns;
use indexes::{foreign_keys, indexes, key_of};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use rowferry_api::{Dialect, Result, SourceTable, TableName, TableSchema};
use std::collections::HashMap;
use std::sync::Arc;

/// What no pipeline carries.
const SYSTEM: &str = "'mysql', 'information_schema', 'performance_schema', 'sys', 'rowferry'";

/// Which tables to look at.
#[derive(Debug, Clone)]
pub(crate) enum Which<'a> {
    /// Every table of one database, or of all.
    Database(Option<&'a str>),
    /// One table.
    Table(&'a TableName),
}

impl Which<'_> {
    /// A condition on `TABLE_SCHEMA` and `TABLE_NAME`, or on columns of other names.
    fn condition(&self, schema: &str, table: &str) -> String {
        match self {
            Self::Database(Some(name)) => format!("{schema} = {}", quote_text(name)),
            Self::Database(None) => format!("{schema} NOT IN ({SYSTEM})"),
            Self::Table(name) => {
                format!("{schema} = {} AND {table} = {}", quote_text(&name.schema), quote_text(&name.name))
            }
        }
    }
}

/// A table with what the log says of it beyond its form.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) table: SourceTable,
    /// All of its columns in the order of the log, also those that do not travel.
    pub(crate) log_columns: Vec<LogColumn>,
    /// InnoDB, MyISAM, ...
    pub(crate) engine: String,
    /// The default of its columns.
    pub(crate) collation: Option<String>,
}

/// The text of a cell of a system table.
pub(crate) type Text = Option<String>;

/// Rows of a query, all as text.
pub(crate) async fn query_text(conn: &mut Conn, context: &str, sql: &str) -> Result<Vec<Vec<Text>>> {
    let rows: Vec<mysql_async::Row> = conn.query(sql).await.map_err(|error| from_mysql(context, error))?;
    let text = |value: mysql_async::Value| match value {
        mysql_async::Value::NULL => None,
        mysql_async::Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        other => Some(other.as_sql(true).trim_matches('\'').to_owned()),
    };
    Ok(rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect())
}

fn cell(row: &mut [Text], at: usize) -> String {
    row.get_mut(at).and_then(Option::take).unwrap_or_default()
}

/// The tables, by name. Views, sequences and temporary tables are none.
pub(crate) async fn entries(conn: &mut Conn, server: Server, which: &Which<'_>) -> Result<Vec<Entry>> {
    let condition = which.condition("TABLE_SCHEMA", "TABLE_NAME");
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE, TABLE_ROWS, DATA_LENGTH, TABLE_COLLATION FROM information_schema.TABLES \
         WHERE {condition} AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') ORDER BY 1, 2"
    );
    let tables = query_text(conn, "read the source's tables", &sql).await?;
    let mut columns = columns(conn, server, which).await?;
    let mut indexes = indexes(conn, server, which).await?;
    let mut foreign_keys = foreign_keys(conn, which).await?;
    let mut entries = Vec::with_capacity(tables.len());
    for mut row in tables {
        let name = TableName::new(cell(&mut row, 0), cell(&mut row, 1));
        let (engine, rows, bytes) = (cell(&mut row, 3), cell(&mut row, 4), cell(&mut row, 5));
        let Some(found) = columns.remove(&name) else { continue };
        let indexes = indexes.remove(&name).unwrap_or_default();
        let mut schema = TableSchema {
            name: name.clone(),
            dialect: Dialect::Mysql,
            columns: found.columns,
            computed: found.computed,
            key: Vec::new(),
            indexes: Vec::new(),
            foreign_keys: foreign_keys.remove(&name).unwrap_or_default(),
            types: Vec::new(),
        };
        schema.key = key_of(&schema, &indexes);
        schema.indexes = indexes.into_iter().filter(|index| !index.is_primary).map(|index| index.index).collect();
        entries.push(Entry {
            table: SourceTable {
                id: 0,
                schema: Arc::new(schema),
                ancestors: Vec::new(),
                estimated_rows: rows.parse().unwrap_or(0),
                estimated_bytes: bytes.parse().unwrap_or(0),
                traces: String::new(),
            },
            log_columns: found.log,
            engine,
            collation: row.get_mut(6).and_then(Option::take),
        });
    }
    Ok(entries)
}

/// Databases with their default character set and collation.
pub(crate) async fn databases(conn: &mut Conn, which: &Which<'_>) -> Result<Vec<(String, String, String)>> {
    let condition = which.condition("SCHEMA_NAME", "''");
    let sql = format!(
        "SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA \
         WHERE {condition}"
    );
    let rows = query_text(conn, "read the source's databases", &sql).await?;
    Ok(rows.into_iter().map(|mut row| (cell(&mut row, 0), cell(&mut row, 1), cell(&mut row, 2))).collect())
}

/// A number that changes with the form of any of the tables.
pub(crate) async fn version(conn: &mut Conn, which: &Which<'_>) -> Result<u64> {
    let condition = which.condition("TABLE_SCHEMA", "TABLE_NAME");
    let sum = |table: &str, columns: &str| {
        format!(
            "SELECT COUNT(*), COALESCE(SUM(CRC32(CONCAT_WS('|', TABLE_SCHEMA, TABLE_NAME, {columns}))), 0) \
             FROM information_schema.{table} WHERE {condition}"
        )
    };
    let parts = [
        sum(
            "COLUMNS",
            "COLUMN_NAME, ORDINAL_POSITION, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, COLLATION_NAME, EXTRA",
        ),
        sum("STATISTICS", "INDEX_NAME, SEQ_IN_INDEX, COLUMN_NAME, NON_UNIQUE, SUB_PART"),
    ];
    let mut version = 0xcbf2_9ce4_8422_2325_u64;
    for sql in &parts {
        for row in query_text(conn, "look whether the source's tables have changed", sql).await? {
            for number in row.into_iter().flatten() {
                let number = number.parse::<u64>().unwrap_or(0);
                version = (version ^ number).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
    Ok(version.max(1))
}

/// Groups rows by the table that their first two cells name.
fn by_table(rows: Vec<Vec<Text>>) -> HashMap<TableName, Vec<Vec<Text>>> {
    let mut tables: HashMap<TableName, Vec<Vec<Text>>> = HashMap::new();
    for mut row in rows {
        let name = TableName::new(cell(&mut row, 0), cell(&mut row, 1));
        tables.entry(name).or_default().push(row);
    }
    tables
}
