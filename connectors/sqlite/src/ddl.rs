//! Makes and alters tables. Each call is one transaction and safe to repeat.

use crate::fit;
use crate::values::{Storage, literal};
use crate::writer::{Writer, quote};
use rowferry_api::{
    Alteration, Column, Created, Dialect, Error, ErrorKind, Fill, Finding, ForeignKey, Index, Result, TableName,
    TableSchema, Type,
};

/// Makes a table with its key, or finds that the one there fits.
pub(crate) fn create(writer: &mut Writer, form: &TableSchema) -> Result<Created> {
    writer.columns.clear();
    if let Some(have) = writer.columns(&form.name)?.map(<[_]>::to_vec) {
        fit::refuse_unfit(&writer.connection, &writer.path, form, &have)?;
        let filled = writer
            .connection
            .query_row(&format!("SELECT EXISTS (SELECT 1 FROM {})", quote(&form.name.name)), [], |row| row.get(0))
            .map_err(|error| writer.failed(format!("look at table {}", form.name), error))?;
        return Ok(if filled { Created::Filled } else { Created::Empty });
    }
    writer.run(&create_table(&form.name, form))?;
    Ok(Created::New)
}

fn create_table(name: &TableName, form: &TableSchema) -> String {
    let mut parts: Vec<String> = form.columns.iter().map(|column| define(column, form)).collect();
    if rowid_key(form).is_none() {
        let key: Vec<String> = form.key_columns().map(|column| quote(&column.name)).collect();
        parts.push(format!("PRIMARY KEY ({})", key.join(", ")));
    }
    parts.extend(form.foreign_keys.iter().map(foreign_key));
    format!("CREATE TABLE {} ({})", quote(&name.name), parts.join(", "))
}

/// A single whole-number key is the row's own number in SQLite: no second index.
fn rowid_key(form: &TableSchema) -> Option<&Column> {
    let mut key = form.key_columns();
    match (key.next(), key.next()) {
        (Some(column), None) if matches!(Storage::of(&column.ty), Storage::Integer) => Some(column),
        _ => None,
    }
}

fn define(column: &Column, form: &TableSchema) -> String {
    let storage = Storage::of(&column.ty);
    let mut text = format!("{} {}", quote(&column.name), storage.declared());
    if rowid_key(form).is_some_and(|key| key.name == column.name) {
        return text + " PRIMARY KEY";
    }
    let is_key = form.key_columns().any(|key| key.name == column.name);
    if !column.nullable || is_key {
        text += " NOT NULL";
    }
    if let Some(default) = column.default.as_deref().and_then(|default| constant(default, form.dialect)) {
        text += &format!(" DEFAULT {}", literal(storage, &default));
    }
    text
}

/// The text of a default that is a plain constant: `5`, `'new'::text`, `true`.
fn constant(default: &str, dialect: Dialect) -> Option<String> {
    if dialect != Dialect::Postgres {
        return None;
    }
    if default.parse::<f64>().is_ok() {
        return Some(default.to_owned());
    }
    match default {
        "true" => return Some("t".into()),
        "false" => return Some("f".into()),
        _ => {}
    }
    let inside = default.strip_prefix('\'')?;
    let end = inside.replace("''", "\0\0").find('\'')?;
    let (text, rest) = (&inside[..end], &inside[end + 1..]);
    // What follows may be a cast to a type, and nothing else.
    let is_cast = rest.is_empty() || (rest.starts_with("::") && !rest.contains(['\'', '|', '+']));
    is_cast.then(|| text.replace("''", "'"))
}

fn foreign_key(key: &ForeignKey) -> String {
    let names = |names: &[String]| names.iter().map(|name| quote(name)).collect::<Vec<_>>().join(", ");
    let mut text = format!(
        "FOREIGN KEY ({}) REFERENCES {} ({})",
        names(&key.columns),
        quote(&key.references.name),
        names(&key.referenced_columns)
    );
    for event in ["ON UPDATE", "ON DELETE"] {
        for action in ["CASCADE", "SET NULL", "SET DEFAULT", "RESTRICT"] {
            if key.actions.contains(&format!("{event} {action}")) {
                text += &format!(" {event} {action}");
            }
        }
    }
    text + " DEFERRABLE INITIALLY DEFERRED"
}

/// Carries a change of form over.
pub(crate) fn alter(writer: &mut Writer, form: &TableSchema, alterations: &[Alteration]) -> Result<()> {
    writer.columns.clear();
    writer.run("BEGIN IMMEDIATE")?;
    let result = alterations.iter().try_for_each(|alteration| alter_one(writer, form, alteration));
    writer.columns.clear();
    match result {
        Ok(()) => writer.run("COMMIT"),
        Err(error) => {
            let _ = writer.run("ROLLBACK");
            Err(match error.kind() {
                ErrorKind::Other => Error::new(ErrorKind::Schema, error.to_string()),
                _ => error,
            })
        }
    }
}

fn alter_one(writer: &mut Writer, form: &TableSchema, alteration: &Alteration) -> Result<()> {
    let table = quote(&form.name.name);
    writer.columns.clear();
    let have = writer.columns(&form.name)?.map(<[_]>::to_vec).ok_or_else(|| {
        Error::new(ErrorKind::Schema, format!("alter table {}: it is not there", form.name))
            .hint("It was dropped: `rowferry resync` makes it again.")
    })?;
    let find = |name: &str| have.iter().find(|have| have.name.eq_ignore_ascii_case(name));
    match alteration {
        Alteration::AddColumn(column) if find(&column.name).is_none() => {
            writer.run(&format!("ALTER TABLE {table} ADD COLUMN {}", added(column)))
        }
        Alteration::DropColumn(name) if find(name).is_some() => {
            for index in indexes_over(writer, form, name)? {
                writer.run(&format!("DROP INDEX {}", quote(&index)))?;
            }
            writer.run(&format!("ALTER TABLE {table} DROP COLUMN {}", quote(name)))
        }
        Alteration::ChangeType(column) => {
            let wanted = Storage::of(&column.ty).declared();
            match find(&column.name) {
                Some(found) if !found.declared.eq_ignore_ascii_case(wanted) => rebuild(writer, form, &have),
                _ => Ok(()),
            }
        }
        Alteration::DropNotNull(name) if find(name).is_some_and(|have| have.not_null) => rebuild(writer, form, &have),
        _ => Ok(()),
    }
}

/// Rows that are there take the fill; without one NOT NULL could not hold for them.
fn added(column: &Column) -> String {
    let storage = Storage::of(&column.ty);
    let text = format!("{} {}", quote(&column.name), storage.declared());
    match &column.fill {
        Fill::Value(fill) => {
            let not_null = if column.nullable { "" } else { " NOT NULL" };
            format!("{text}{not_null} DEFAULT {}", literal(storage, fill))
        }
        _ => text,
    }
}

fn indexes_over(writer: &Writer, form: &TableSchema, column: &str) -> Result<Vec<String>> {
    let read = || {
        let mut statement = writer.connection.prepare(
            "SELECT DISTINCT l.name FROM pragma_index_list(?1) l, pragma_index_info(l.name) i WHERE i.name = ?2 AND l.origin = 'c'",
        )?;
        statement.query_map([&form.name.name, column], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()
    };
    read().map_err(|error| writer.failed(format!("look at the indexes of table {}", form.name), error))
}

/// SQLite changes neither a column's type nor its NOT NULL: the table is made anew in its new form and takes the old
/// one's place (SQLite manual, "ALTER TABLE", "Making Other Kinds Of Table Schema Changes").
fn rebuild(writer: &Writer, form: &TableSchema, have: &[crate::writer::Column]) -> Result<()> {
    let known = |name: &str| form.columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
    if let Some(extra) = have.iter().find(|have| !known(&have.name)) {
        let what = format!("alter table {}: its own column {} would be lost", form.name, extra.name);
        return Err(Error::new(ErrorKind::Schema, what).hint("Change the table by hand, then run `rowferry resync` for it."));
    }
    let read = || {
        let mut statement = writer
            .connection
            .prepare("SELECT sql FROM sqlite_master WHERE type IN ('index', 'trigger') AND tbl_name = ?1 AND sql IS NOT NULL")?;
        statement.query_map([&form.name.name], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()
    };
    let indexes = read().map_err(|error| writer.failed(format!("look at the indexes of table {}", form.name), error))?;
    let anew = TableName::new("", format!("rowferry_new_{}", form.name.name));
    let kept: Vec<&Column> =
        form.columns.iter().filter(|column| have.iter().any(|have| have.name.eq_ignore_ascii_case(&column.name))).collect();
    let names = kept.iter().map(|column| quote(&column.name)).collect::<Vec<_>>().join(", ");
    let values = kept.iter().map(|column| converted(column, have)).collect::<Vec<_>>().join(", ");
    let (old, new) = (quote(&form.name.name), quote(&anew.name));
    writer.run(&format!(
        "DROP TABLE IF EXISTS {new}; {}; INSERT INTO {new} ({names}) SELECT {values} FROM {old}; DROP TABLE {old}; \
         PRAGMA legacy_alter_table = ON; ALTER TABLE {new} RENAME TO {old}; PRAGMA legacy_alter_table = OFF;",
        create_table(&anew, form)
    ))?;
    indexes.iter().try_for_each(|index| writer.run(index))
}

/// A stored value under a column's new type; whole numbers become their digits where text is stored now.
fn converted(column: &Column, have: &[crate::writer::Column]) -> String {
    let name = quote(&column.name);
    let was = have.iter().find(|have| have.name.eq_ignore_ascii_case(&column.name)).map(|have| have.declared.as_str());
    match (Storage::of(&column.ty), was) {
        (Storage::Text, Some("INTEGER")) if column.ty != Type::Bool => format!("CAST({name} AS TEXT)"),
        _ => name,
    }
}

/// Builds secondary indexes and unique constraints.
pub(crate) fn finish(writer: &mut Writer, form: &TableSchema) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for index in &form.indexes {
        let Some(statement) = index_statement(form, index) else {
            let what = format!("index {} is not one over plain columns, which is all that is carried over", index.name);
            findings.push(Finding::warning(format!("table {}", form.name), what, None));
            continue;
        };
        if let Err(error) = writer.run(&statement) {
            findings.push(Finding::warning(format!("table {}", form.name), error.to_string(), Some(statement)));
        }
    }
    Ok(findings)
}

fn index_statement(form: &TableSchema, index: &Index) -> Option<String> {
    let plain = index.definition.contains("USING btree") || index.constraint.as_deref().is_some_and(|clause| clause.starts_with("UNIQUE"));
    if index.columns.is_empty() || index.partial || !plain || index.columns.iter().any(|column| form.column_index(column).is_none()) {
        return None;
    }
    let unique = if index.unique { "UNIQUE " } else { "" };
    let columns = index.columns.iter().map(|column| quote(column)).collect::<Vec<_>>().join(", ");
    // Names of indexes are the whole file's in SQLite.
    let name = quote(&format!("{}_{}", form.name.name, index.name));
    Some(format!("CREATE {unique}INDEX IF NOT EXISTS {name} ON {} ({columns})", quote(&form.name.name)))
}
