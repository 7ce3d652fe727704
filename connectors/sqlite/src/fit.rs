//! Whether a file and the tables that are there will do. Changes nothing.

use crate::error::from_sqlite;
use crate::values::Storage;
use crate::writer::{Column, columns, open_to_read};
use rowferry_api::{Error, ErrorKind, Finding, Result, TableSchema};
use rusqlite::Connection;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// Refuses a table that cannot take the rows of a form, with every difference.
pub(crate) fn refuse_unfit(connection: &Connection, path: &Path, form: &TableSchema, have: &[Column]) -> Result<()> {
    let differences = differences(connection, path, form, have)?;
    if differences.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Schema, format!("use table {} of {}: {}", form.name, path.display(), differences.join("; ")))
        .hint("Change the table to fit, set another `target` for it, or drop it: a missing table is made."))
}

fn differences(connection: &Connection, path: &Path, form: &TableSchema, have: &[Column]) -> Result<Vec<String>> {
    let mut differences = Vec::new();
    for column in &form.columns {
        let storage = Storage::of(&column.ty);
        match have.iter().find(|have| have.name.eq_ignore_ascii_case(&column.name)) {
            None => differences.push(format!("column {} {} is missing", column.name, storage.declared())),
            Some(found) if !holds(&found.declared, storage) => differences.push(format!(
                "column {} is declared {} there, which changes values of {}; {} is needed",
                column.name,
                found.declared,
                column.native,
                storage.declared()
            )),
            Some(found) if found.not_null && column.nullable && found.key_place == 0 => {
                differences.push(format!("column {} is NOT NULL there, and may be NULL at the source", column.name));
            }
            Some(_) => {}
        }
    }
    for extra in have.iter().filter(|have| have.not_null && !have.has_default && have.key_place == 0) {
        if !form.columns.iter().any(|column| column.name.eq_ignore_ascii_case(&extra.name)) {
            differences.push(format!("column {} is NOT NULL there without a default, and the source has no such column", extra.name));
        }
    }
    if !has_unique_key(connection, form, have).map_err(|error| from_sqlite(path, format!("look at table {}", form.name), error))? {
        let key: Vec<&str> = form.key_columns().map(|column| column.name.as_str()).collect();
        differences.push(format!("it has no primary key or unique index over exactly ({})", key.join(", ")));
    }
    Ok(differences)
}

/// Whether a declared type's affinity keeps what is stored (SQLite manual, "Determination Of Column Affinity").
fn holds(declared: &str, storage: Storage) -> bool {
    let declared = declared.to_ascii_uppercase();
    let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
    let (integer, text) = (has(&["INT"]), has(&["CHAR", "CLOB", "TEXT"]));
    let none = declared.is_empty() || (!integer && !text && declared.contains("BLOB"));
    let real = !integer && !text && !none && has(&["REAL", "FLOA", "DOUB"]);
    let numeric = !integer && !text && !none && !real;
    match storage {
        Storage::Bool | Storage::Integer => integer || numeric || none,
        Storage::Real => real || none,
        Storage::Text => text || none,
        Storage::Blob => true,
    }
}

fn has_unique_key(connection: &Connection, form: &TableSchema, have: &[Column]) -> rusqlite::Result<bool> {
    let key: BTreeSet<String> = form.key_columns().map(|column| column.name.to_lowercase()).collect();
    let primary: BTreeSet<String> =
        have.iter().filter(|have| have.key_place > 0).map(|have| have.name.to_lowercase()).collect();
    if primary == key {
        return Ok(true);
    }
    let mut statement = connection.prepare(
        "SELECT l.name, i.name FROM pragma_index_list(?1) l, pragma_index_info(l.name) i WHERE l.\"unique\" AND NOT l.partial",
    )?;
    let mut indexes: HashMap<String, BTreeSet<String>> = HashMap::new();
    let mut rows = statement.query([&form.name.name])?;
    while let Some(row) = rows.next()? {
        let column: Option<String> = row.get(1)?;
        indexes.entry(row.get(0)?).or_default().insert(column.unwrap_or_default().to_lowercase());
    }
    Ok(indexes.values().any(|columns| *columns == key))
}

/// Looks at the file and at the tables that are there.
pub(crate) fn check(path: &Path, tables: &[TableSchema]) -> Result<Vec<Finding>> {
    let mut findings = file(path);
    findings.extend(clashes(tables));
    for form in tables {
        let generated = form.computed.iter().map(|column| {
            let what = format!("generated column {} is not in the source's log and is not carried into SQLite", column.name);
            Finding::warning(format!("table {}", form.name), what, None)
        });
        findings.extend(generated);
    }
    if findings.iter().any(|finding| finding.severity == rowferry_api::Severity::Blocked) {
        return Ok(findings);
    }
    let Some(connection) = open_to_read(path)? else {
        findings.push(Finding::ok("target", format!("{} will be made", path.display())));
        return Ok(findings);
    };
    for form in tables.iter().filter(|form| !form.key.is_empty()) {
        let have = columns(&connection, &form.name.name).map_err(|error| from_sqlite(path, "look at the tables", error))?;
        if have.is_empty() {
            continue;
        }
        let mend = "change the table to fit, set another `target` for it, or drop it: a missing table is made";
        for what in differences(&connection, path, form, &have)? {
            findings.push(Finding::blocked(format!("table {}", form.name), format!("the target's table does not fit: {what}"), mend));
        }
    }
    findings.push(Finding::ok("target", path.display().to_string()));
    Ok(findings)
}

fn file(path: &Path) -> Vec<Finding> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !dir.is_dir() {
        let mend = format!("mkdir -p {}", dir.display());
        return vec![Finding::blocked("target", format!("the directory {} does not exist", dir.display()), mend)];
    }
    if path.is_dir() {
        return vec![Finding::blocked("target", format!("{} is a directory", path.display()), "name a file in `path`")];
    }
    let writable = match std::fs::OpenOptions::new().append(true).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map(drop),
    };
    if let Err(error) = writable {
        let mend = format!("chmod u+w {} (as the user who runs rowferry)", path.display());
        return vec![Finding::blocked("target", format!("{} cannot be written: {error}", path.display()), mend)];
    }
    match open_to_read(path) {
        Ok(_) => Vec::new(),
        Err(error) => {
            let mend = error.hint_text().unwrap_or("name another `path`").to_owned();
            vec![Finding::blocked("target", error.to_string(), mend)]
        }
    }
}

/// Names are compared without case in SQLite.
fn clashes(tables: &[TableSchema]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen: HashMap<String, &str> = HashMap::new();
    for form in tables {
        let name = &form.name.name;
        if name.to_lowercase().starts_with("rowferry_") || name.to_lowercase().starts_with("sqlite_") {
            let what = format!("the name {name} is kept for SQLite's or rowferry's own tables");
            findings.push(Finding::blocked(format!("table {name}"), what, "set another `target` for it"));
        }
        if let Some(other) = seen.insert(name.to_lowercase(), name) {
            let what = format!("{other} and {name} are one name to SQLite");
            findings.push(Finding::blocked(format!("table {name}"), what, "set another `target` for one of them"));
        }
        let mut columns: HashMap<String, &str> = HashMap::new();
        for column in &form.columns {
            if let Some(other) = columns.insert(column.name.to_lowercase(), &column.name) {
                let what = format!("columns {other} and {} are one name to SQLite", column.name);
                let mend = format!("leave one of them out: columns = [\"!{}\"]", column.name);
                findings.push(Finding::blocked(format!("table {name}"), what, mend));
            }
        }
    }
    findings
}
