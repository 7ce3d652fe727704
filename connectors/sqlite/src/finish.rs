//! What is built once a table is consistent: its secondary indexes.

use crate::catalog::{self, quoted, quoted_list};
use crate::error::{Explain, failed};
use crate::writer::Writer;
use rowferry_api::{Error, ErrorKind, Finding, Index, Result, TableSchema, failpoint};
use rusqlite::{Connection, OptionalExtension};

/// Builds the indexes that are missing; what SQLite cannot have is a finding. Each is a transaction of its own, so that
/// one that fails costs no other.
pub(crate) fn finish(writer: &mut Writer, table: &TableSchema) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for index in &table.indexes {
        if let Some(why) = cannot_have(index) {
            let subject = format!("index {} of {}", index.name, table.name);
            let mend =
                Some(format!("create one by hand, if queries here need it; at the source it is: {}", index.definition));
            findings.push(Finding::warning(subject, why, mend));
            continue;
        }
        let index = &Index { unique: index.unique && !is_deferrable(index), ..index.clone() };
        let built = writer.transaction(|writer| build(&writer.connection, table, index));
        match built {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::Unique | ErrorKind::BadRow | ErrorKind::Schema) => {
                let subject = format!("index {} of {}", index.name, table.name);
                findings.push(Finding::warning(subject, error.to_string(), None));
            }
            Err(error) => return Err(error),
        }
        failpoint!("sqlite.index");
    }
    findings.extend(missing_foreign_keys(&writer.connection, table)?);
    Ok(findings)
}

/// SQLite looks at every single row, so rows that swap their values would be refused.
fn is_deferrable(index: &Index) -> bool {
    index.constraint.as_ref().is_some_and(|clause| clause.contains(" DEFERRABLE"))
}

fn cannot_have(index: &Index) -> Option<&'static str> {
    let definition = index.definition.to_ascii_lowercase();
    let method = definition.split(" using ").nth(1).and_then(|rest| rest.split([' ', '(']).next());
    match method {
        _ if index.partial => Some("it covers only some rows, by a condition of the source's own SQL: not built"),
        _ if index.columns.is_empty() => Some("it is over expressions of the source's own SQL: not built"),
        Some("btree" | "hash") | None => None,
        Some(_) => Some("it is of a kind that SQLite does not have: not built"),
    }
}

fn build(connection: &Connection, table: &TableSchema, index: &Index) -> Result<()> {
    let what = || format!("build index {} of {}", index.name, table.name);
    let Some(actual) = catalog::table(connection, &table.name.name).explain(what)? else {
        return Err(Error::new(ErrorKind::Schema, what()));
    };
    if let Some(missing) = index.columns.iter().find(|column| actual.column(column).is_none()) {
        return Err(Error::new(ErrorKind::Schema, format!("{}: the table has no column {missing}", what())));
    }
    if is_there(connection, &actual, index).explain(what)? {
        return Ok(());
    }
    let unique = if index.unique { "UNIQUE " } else { "" };
    let name = free_name(connection, &actual.name, &index.name).explain(what)?;
    let columns = quoted_list(index.columns.iter().map(String::as_str));
    let sql = format!("CREATE {unique}INDEX {} ON {} ({columns})", quoted(&name), quoted(&actual.name));
    connection.execute_batch(&sql).map_err(|error| failed(error, what()))
}

/// An index over the same columns in the same order, as unique as this one; for a unique one in any order.
fn is_there(connection: &Connection, actual: &catalog::ActualTable, index: &Index) -> rusqlite::Result<bool> {
    let columns: Vec<&str> = index.columns.iter().map(String::as_str).collect();
    if index.unique {
        return Ok(actual.has_key(&columns));
    }
    for (name, _, _, partial) in catalog::indexes(connection, &actual.name)? {
        let (there, _) = catalog::index_columns(connection, &name)?;
        let same = there.len() == columns.len() && there.iter().zip(&columns).all(|(a, b)| a.eq_ignore_ascii_case(b));
        if same && !partial {
            return Ok(true);
        }
    }
    Ok(actual.uniques.iter().any(|unique| unique.index.is_none() && unique.is_over(&columns)))
}

/// Indexes share one space of names with all tables of the file.
fn free_name(connection: &Connection, table: &str, index: &str) -> rusqlite::Result<String> {
    let wanted = if index.starts_with(table) { index.to_owned() } else { format!("{table}_{index}") };
    let mut statement = connection.prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE")?;
    let mut name = wanted.clone();
    for number in 2.. {
        if statement.query_row([&name], |_| Ok(())).optional()?.is_none() {
            break;
        }
        name = format!("{wanted}_{number}");
    }
    Ok(name)
}

/// SQLite takes foreign keys only when a table is created.
fn missing_foreign_keys(connection: &Connection, table: &TableSchema) -> Result<Vec<Finding>> {
    let what = || format!("look at the foreign keys of {}", table.name);
    let Some(actual) = catalog::table(connection, &table.name.name).explain(what)? else {
        return Ok(Vec::new());
    };
    let declared = |name: &String| actual.in_foreign_key.iter().any(|column| column.eq_ignore_ascii_case(name));
    let missing = table.foreign_keys.iter().filter(|key| !key.columns.iter().all(declared));
    let finding = |key: &rowferry_api::ForeignKey| {
        let subject = format!("foreign key {} of {}", key.name, table.name);
        Finding::warning(subject, "SQLite cannot add a foreign key to a table that is there: not built", None)
    };
    Ok(missing.map(finding).collect())
}
