//! A target's tables as they are.

use super::session::Session;
use crate::connection::{quote_name, quote_table, quote_text};
use crate::native::native_text;
use rowferry_api::{Result, TableName};

/// A target's table as it is.
#[derive(Debug, Clone)]
pub(super) struct TargetTable {
    /// Database and table, quoted.
    pub(super) quoted: String,
    /// Rows of it can be rolled back.
    pub(super) transactional: bool,
    pub(super) engine: String,
    pub(super) columns: Vec<TargetColumn>,
    pub(super) uniques: Vec<Unique>,
}

/// A column of it.
#[derive(Debug, Clone)]
pub(super) struct TargetColumn {
    pub(super) name: String,
    pub(super) native: String,
    pub(super) not_null: bool,
    pub(super) has_default: bool,
    pub(super) generated: bool,
    /// It takes the time of every update that does not write it.
    pub(super) follows_updates: bool,
}

/// A unique index of it; the primary key is one.
#[derive(Debug, Clone)]
pub(super) struct Unique {
    pub(super) name: String,
    /// Column and, where the index holds only its beginning, how many characters or bytes of it. Empty if it is over
    /// expressions.
    pub(super) columns: Vec<(String, Option<u32>)>,
}

impl Unique {
    /// Whether it holds exactly these columns, each whole.
    pub(super) fn is_over(&self, names: &[&str]) -> bool {
        let whole = |(name, prefix): &(String, Option<u32>)| prefix.is_none() && names.contains(&name.as_str());
        self.columns.len() == names.len() && self.columns.iter().all(whole)
    }
}

impl TargetTable {
    pub(super) fn column(&self, name: &str) -> Option<&TargetColumn> {
        // Names of columns are the same in any case of their letters.
        self.columns.iter().find(|column| column.name.to_lowercase() == name.to_lowercase())
    }
}

type ColumnRow = (String, String, Option<String>, Option<String>, String, Option<String>, String);

/// Looks a table up; `None` if it is not there.
pub(super) async fn look(session: &mut Session, name: &TableName) -> Result<Option<TargetTable>> {
    let context = format!("look at table {name} in the target");
    let place = format!("TABLE_SCHEMA = {} AND TABLE_NAME = {}", quote_text(&name.schema), quote_text(&name.name));
    let table: Option<(String, Option<String>)> = session
        .first(&context, format!("SELECT TABLE_TYPE, ENGINE FROM information_schema.TABLES WHERE {place}"))
        .await?;
    let Some((kind, engine)) = table else { return Ok(None) };
    let query = format!(
        "SELECT COLUMN_NAME, CAST(COLUMN_TYPE AS CHAR), CHARACTER_SET_NAME, COLLATION_NAME, IS_NULLABLE, \
         CAST(COLUMN_DEFAULT AS CHAR), EXTRA FROM information_schema.COLUMNS WHERE {place} ORDER BY ORDINAL_POSITION"
    );
    let columns: Vec<ColumnRow> = session.query(&context, query).await?;
    let engine = engine.unwrap_or(kind);
    Ok(Some(TargetTable {
        quoted: quote_table(name),
        transactional: ["innodb", "rocksdb", "ndbcluster", "ndb"].contains(&engine.to_lowercase().as_str()),
        engine,
        columns: columns.into_iter().map(column).collect(),
        uniques: uniques(session, &context, &place).await?,
    }))
}

fn column(row: ColumnRow) -> TargetColumn {
    let (name, column_type, charset, collation, nullable, default, extra) = row;
    let extra = extra.to_lowercase();
    let not_null = nullable == "NO";
    TargetColumn {
        name,
        native: native_text(column_type, charset.as_deref().zip(collation.as_deref())),
        not_null,
        has_default: default.is_some() || !not_null || extra.contains("auto_increment"),
        generated: ["virtual", "stored", "persistent"].iter().any(|word| extra.contains(word)),
        follows_updates: extra.contains("on update"),
    }
}

async fn uniques(session: &mut Session, context: &str, place: &str) -> Result<Vec<Unique>> {
    let query = format!(
        "SELECT INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS WHERE {place} AND NON_UNIQUE = 0 \
         ORDER BY INDEX_NAME <> 'PRIMARY', INDEX_NAME, SEQ_IN_INDEX"
    );
    let rows: Vec<(String, Option<String>, Option<u32>)> = session.query(context, query).await?;
    let mut uniques: Vec<Unique> = Vec::new();
    let mut over_expressions = Vec::new();
    for (index, column, prefix) in rows {
        if uniques.last().is_none_or(|last| last.name != index) {
            uniques.push(Unique { name: index.clone(), columns: Vec::new() });
        }
        match (column, uniques.last_mut()) {
            (Some(column), Some(unique)) => unique.columns.push((column, prefix)),
            _ => over_expressions.push(index),
        }
    }
    for unique in uniques.iter_mut().filter(|unique| over_expressions.contains(&unique.name)) {
        unique.columns.clear();
    }
    Ok(uniques)
}

/// Whether a database is there.
pub(super) async fn has_database(session: &mut Session, name: &str) -> Result<bool> {
    let query = format!("SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {}", quote_text(name));
    let found: Option<u8> = session.first(&format!("look for database {name} at the target"), query).await?;
    Ok(found.is_some())
}

/// Whether the table has an index of that name.
pub(super) async fn has_index(session: &mut Session, table: &TableName, name: &str) -> Result<bool> {
    has(session, table, "STATISTICS", &format!("INDEX_NAME = {}", quote_text(name))).await
}

/// Whether the table has a foreign key of that name. Its index has the name too.
pub(super) async fn has_foreign_key(session: &mut Session, table: &TableName, name: &str) -> Result<bool> {
    let condition = format!("CONSTRAINT_NAME = {} AND CONSTRAINT_TYPE = 'FOREIGN KEY'", quote_text(name));
    has(session, table, "TABLE_CONSTRAINTS", &condition).await
}

async fn has(session: &mut Session, table: &TableName, view: &str, condition: &str) -> Result<bool> {
    let query = format!(
        "SELECT 1 FROM information_schema.{view} WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {} AND {condition} LIMIT 1",
        quote_text(&table.schema),
        quote_text(&table.name)
    );
    let found: Option<u8> = session.first(&format!("look at the indexes of table {table}"), query).await?;
    Ok(found.is_some())
}

/// What follows a column's name in the table's own definition.
pub(super) async fn definition(session: &mut Session, name: &TableName, column: &str) -> Result<Option<String>> {
    let context = format!("look at table {name} in the target");
    let row: Option<(String, String)> =
        session.first(&context, format!("SHOW CREATE TABLE {}", quote_table(name))).await?;
    let Some((_, text)) = row else { return Ok(None) };
    let start = format!("{} ", quote_name(column));
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(start.as_str()));
    Ok(line.map(|line| line.strip_suffix(',').unwrap_or(line).to_owned()))
}
