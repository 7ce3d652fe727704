//! What the file's own catalog says of a table.

use crate::types::Affinity;
use rusqlite::{Connection, OptionalExtension};

/// In the `CREATE TABLE` text of every table that rowferry made, where SQLite keeps it: such a table may be rebuilt
/// from its form alone.
pub(crate) const OUR_MARK: &str = "/* rowferry */";

/// A table that is there.
#[derive(Debug)]
pub(crate) struct ActualTable {
    /// As it is spelled there.
    pub(crate) name: String,
    /// Made by rowferry.
    pub(crate) ours: bool,
    /// Its columns refuse values of other types.
    pub(crate) strict: bool,
    /// A table whose rows can be written: no view, no virtual table.
    pub(crate) plain: bool,
    pub(crate) columns: Vec<ActualColumn>,
    pub(crate) uniques: Vec<Unique>,
    /// Columns that stand in a foreign key.
    pub(crate) in_foreign_key: Vec<String>,
}

/// A column that is there.
#[derive(Debug)]
pub(crate) struct ActualColumn {
    pub(crate) name: String,
    pub(crate) declared: String,
    pub(crate) affinity: Affinity,
    pub(crate) not_null: bool,
    pub(crate) has_default: bool,
    pub(crate) generated: bool,
    /// Part of the primary key.
    pub(crate) primary: bool,
}

/// A set of columns of which no two rows hold the same.
#[derive(Debug)]
pub(crate) struct Unique {
    /// `None` for an `INTEGER PRIMARY KEY`, which needs no index.
    pub(crate) index: Option<String>,
    /// Empty where it is over expressions.
    pub(crate) columns: Vec<String>,
    /// It covers only some rows.
    pub(crate) partial: bool,
    /// Every column is compared by its bytes.
    pub(crate) binary: bool,
}

impl ActualTable {
    /// The column of that name, which SQLite compares without case.
    pub(crate) fn column(&self, name: &str) -> Option<&ActualColumn> {
        self.columns.iter().find(|column| column.name.eq_ignore_ascii_case(name))
    }

    /// Whether no two rows can have the same of exactly these columns.
    pub(crate) fn has_key(&self, key: &[&str]) -> bool {
        self.uniques.iter().any(|unique| !unique.partial && unique.binary && unique.is_over(key))
    }
}

impl Unique {
    /// Whether it is over exactly these columns, in any order.
    pub(crate) fn is_over(&self, columns: &[&str]) -> bool {
        self.columns.len() == columns.len()
            && columns.iter().all(|name| self.columns.iter().any(|column| column.eq_ignore_ascii_case(name)))
    }
}

/// Reads a table's catalog entries; `None` if nothing has that name.
pub(crate) fn table(connection: &Connection, name: &str) -> rusqlite::Result<Option<ActualTable>> {
    let sql = "SELECT name, coalesce(sql, '') FROM sqlite_schema \
        WHERE name = ?1 COLLATE NOCASE AND type IN ('table', 'view')";
    let mut statement = connection.prepare_cached(sql)?;
    let found =
        statement.query_row([name], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).optional()?;
    let Some((name, sql)) = found else { return Ok(None) };
    let mut statement =
        connection.prepare_cached("SELECT type, strict FROM pragma_table_list WHERE schema = 'main' AND name = ?1")?;
    let (kind, strict) = statement.query_row([&name], |row| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?)))?;
    let columns = columns(connection, &name, strict)?;
    let uniques = uniques(connection, &name, &columns)?;
    let mut statement = connection.prepare_cached("SELECT \"from\" FROM pragma_foreign_key_list(?1)")?;
    let in_foreign_key = statement.query_map([&name], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(Some(ActualTable {
        ours: sql.contains(OUR_MARK),
        strict,
        plain: kind == "table",
        name,
        columns,
        uniques,
        in_foreign_key,
    }))
}

fn columns(connection: &Connection, table: &str, strict: bool) -> rusqlite::Result<Vec<ActualColumn>> {
    let sql = "SELECT name, type, \"notnull\", dflt_value IS NOT NULL, hidden, pk FROM pragma_table_xinfo(?1)";
    let column = |row: &rusqlite::Row<'_>| {
        let declared: String = row.get(1)?;
        Ok(ActualColumn {
            name: row.get(0)?,
            affinity: Affinity::of(&declared, strict),
            declared,
            not_null: row.get(2)?,
            has_default: row.get(3)?,
            generated: row.get::<_, i64>(4)? != 0,
            primary: row.get::<_, i64>(5)? != 0,
        })
    };
    connection.prepare_cached(sql)?.query_map([table], column)?.collect()
}

fn uniques(connection: &Connection, table: &str, columns: &[ActualColumn]) -> rusqlite::Result<Vec<Unique>> {
    let mut uniques = Vec::new();
    let mut primary_has_index = false;
    for (index, unique, origin, partial) in indexes(connection, table)? {
        primary_has_index |= origin == "pk";
        if unique {
            let (columns, binary) = index_columns(connection, &index)?;
            uniques.push(Unique { index: Some(index), columns, partial, binary });
        }
    }
    let primary: Vec<_> = columns.iter().filter(|column| column.primary).map(|column| column.name.clone()).collect();
    if primary.len() == 1 && !primary_has_index {
        uniques.push(Unique { index: None, columns: primary, partial: false, binary: true });
    }
    Ok(uniques)
}

/// Name, uniqueness, origin (`c`, `u`, `pk`) and partiality of each index.
pub(crate) fn indexes(connection: &Connection, table: &str) -> rusqlite::Result<Vec<(String, bool, String, bool)>> {
    let sql = "SELECT name, \"unique\", origin, partial FROM pragma_index_list(?1)";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?.collect()
}

/// The columns of an index in order (empty if one is an expression), and whether all are compared by their bytes.
pub(crate) fn index_columns(connection: &Connection, index: &str) -> rusqlite::Result<(Vec<String>, bool)> {
    let sql = "SELECT name, coll FROM pragma_index_xinfo(?1) WHERE key ORDER BY seqno";
    let mut statement = connection.prepare_cached(sql)?;
    let (mut columns, mut binary, mut plain) = (Vec::new(), true, true);
    let mut rows = statement.query([index])?;
    while let Some(row) = rows.next()? {
        match row.get::<_, Option<String>>(0)? {
            Some(name) => columns.push(name),
            None => plain = false,
        }
        binary &= row.get::<_, String>(1)?.eq_ignore_ascii_case("BINARY");
    }
    if !plain {
        columns.clear();
    }
    Ok((columns, binary))
}

/// `"name"`.
pub(crate) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// `"a", "b"`.
pub(crate) fn quoted_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}
