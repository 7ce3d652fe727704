//! Carries changes of a table's form over, each in one transaction with all others of the call.
//!
//! What `ALTER TABLE` of SQLite can do is done so. The rest (another affinity, a NULL that may be now, a column of a
//! foreign key that goes) needs a new table in the old one's place, the way that the SQLite manual shows in "ALTER
//! TABLE", section 7. That is done for tables that rowferry made, since only their form is wholly known.

use crate::catalog::{self, ActualTable, quoted, quoted_list};
use crate::ddl::{create_text, literal};
use crate::error::Explain;
use crate::plan::Plan;
use crate::types::{Affinity, Kind};
use crate::writer::Writer;
use rowferry_api::{Alteration, Cell, Column, Error, ErrorKind, Fill, Result, TableSchema, failpoint};
use rusqlite::Connection;

/// The new table until it takes its name.
const REBUILT: &str = "rowferry_rebuilt";

/// Makes the table take rows of `after`. Repeating it changes nothing more.
pub(crate) fn alter(writer: &mut Writer, after: &TableSchema, alterations: &[Alteration]) -> Result<()> {
    // Views and triggers that name the table must not stand in the way while it is gone for a moment. Only outside of
    // a transaction is that sure to take effect.
    let legacy = |writer: &Writer, value: i32| {
        let set = writer.connection.pragma_update(None, "legacy_alter_table", value);
        set.explain(|| "set legacy_alter_table".into())
    };
    // Without a rebuild they do stand in the way: a column that a trigger uses must not go.
    let rebuilds = {
        let look = catalog::table(&writer.connection, &after.name.name);
        let actual = look.explain(|| format!("look at {}", after.name))?;
        actual.is_some_and(|actual| alterations.iter().any(|one| needs_rebuild(&actual, after, one)))
    };
    if rebuilds {
        legacy(writer, 1)?;
    }
    let result = writer.transaction(|writer| {
        in_transaction(writer, after, alterations)?;
        failpoint!("sqlite.alter");
        Ok(())
    });
    if rebuilds {
        legacy(writer, 0)?;
    }
    result?;
    failpoint!("sqlite.altered");
    Ok(())
}

fn in_transaction(writer: &mut Writer, after: &TableSchema, alterations: &[Alteration]) -> Result<()> {
    let connection = &writer.connection;
    let Some(actual) = catalog::table(connection, &after.name.name).explain(|| format!("look at {}", after.name))?
    else {
        return Err(Error::new(ErrorKind::Schema, format!("alter {}: there is no such table", after.name))
            .hint(format!("Run `rowferry resync --table {}` to create and fill it again.", after.name)));
    };
    if alterations.iter().any(|alteration| needs_rebuild(&actual, after, alteration)) {
        return rebuild(connection, &actual, after, alterations);
    }
    for alteration in alterations {
        // Looked at anew each time: a name may be dropped and added.
        let has = |name: &str| {
            let table = catalog::table(connection, &actual.name).explain(|| format!("look at {}", actual.name))?;
            Ok::<_, Error>(table.is_some_and(|table| table.column(name).is_some()))
        };
        match alteration {
            Alteration::AddColumn(column) if !has(&column.name)? => add(writer, after, &actual, column)?,
            Alteration::DropColumn(name) if has(name)? => drop_column(connection, &actual.name, name)?,
            _ => {}
        }
    }
    Ok(())
}

fn needs_rebuild(actual: &ActualTable, after: &TableSchema, alteration: &Alteration) -> bool {
    let in_key = |name: &str| after.key_columns().any(|column| column.name == name);
    match alteration {
        Alteration::ChangeType(column) => {
            actual.column(&column.name).is_some_and(|there| !there.affinity.holds(&column.ty))
        }
        // A key's column never holds NULL here.
        Alteration::DropNotNull(name) => !in_key(name) && actual.column(name).is_some_and(|there| there.not_null),
        Alteration::DropColumn(name) => actual.in_foreign_key.iter().any(|column| column.eq_ignore_ascii_case(name)),
        Alteration::AddColumn(_) | Alteration::AddComputed(_) | Alteration::EnumLabels(_) => false,
    }
}

fn add(writer: &Writer, after: &TableSchema, actual: &ActualTable, column: &Column) -> Result<()> {
    let connection = &writer.connection;
    let table = actual.name.as_str();
    let what = || format!("add column {} to {table}", column.name);
    let kind = Kind::of(&column.ty);
    let literal = fill_literal(kind, &column.fill);
    let not_null = match (&literal, column.nullable) {
        (Some(literal), false) => format!(" NOT NULL DEFAULT {literal}"),
        (Some(literal), true) => format!(" DEFAULT {literal}"),
        (None, true) => String::new(),
        (None, false) => {
            tracing::warn!(
                table,
                column = column.name,
                "added without NOT NULL: SQLite cannot say what older rows hold"
            );
            String::new()
        }
    };
    // A STRICT table wants a type in every column.
    let declared = if actual.strict && kind.declared().is_empty() { "ANY" } else { kind.declared() };
    let sql = format!("ALTER TABLE {} ADD COLUMN {} {declared}{not_null}", quoted(table), quoted(&column.name));
    connection.execute_batch(&sql).explain(what)?;
    // A float as SQL text could read back as its neighbour: it is bound instead.
    if let (Fill::Value(value), None) = (&column.fill, literal) {
        let plan = Plan::new(connection, after)?;
        let at = after.column_index(&column.name).ok_or_else(|| Error::new(ErrorKind::Schema, what()))?;
        let sql = format!("UPDATE {} SET {} = ?{}", quoted(table), quoted(&column.name), at + 1);
        let mut statement = connection.prepare(&sql).explain(what)?;
        plan.bind_cell(&mut statement, at, Cell::Text(value.as_bytes()), &mut Vec::new())?;
        statement.raw_execute().explain(what)?;
    }
    Ok(())
}

/// What older rows hold, as SQL text of exactly that value; `None` for NULL and for what has to be bound.
fn fill_literal(kind: Kind, fill: &Fill) -> Option<String> {
    let Fill::Value(text) = fill else { return None };
    match kind {
        Kind::Bool => match text.as_str() {
            "t" => Some("1".into()),
            "f" => Some("0".into()),
            _ => None,
        },
        Kind::Int => text.parse::<i64>().ok().map(|number| number.to_string()),
        Kind::Text => Some(literal(text)),
        Kind::Bytes => text.strip_prefix("\\x").map(|digits| format!("x'{digits}'")),
        Kind::Unsigned | Kind::Float { .. } => None,
    }
}

fn drop_column(connection: &Connection, table: &str, column: &str) -> Result<()> {
    let what = || format!("drop column {column} of {table}");
    for (index, _, origin, partial) in catalog::indexes(connection, table).explain(what)? {
        let (columns, _) = catalog::index_columns(connection, &index).explain(what)?;
        let uses_it = columns.iter().any(|name| name.eq_ignore_ascii_case(column));
        // Indexes of somebody else over expressions or some rows are left to fail below, by their name.
        if origin == "c" && uses_it && !partial {
            connection.execute_batch(&format!("DROP INDEX {}", quoted(&index))).explain(what)?;
        }
    }
    let dropped = connection.execute_batch(&format!("ALTER TABLE {} DROP COLUMN {}", quoted(table), quoted(column)));
    dropped.explain(what).map_err(|error| {
        let hint = format!(
            "Drop what uses the column at the target (views, triggers, indexes, constraints) and start again; or drop the \
             table and run `rowferry resync --table {table}`."
        );
        Error::new(ErrorKind::Schema, what()).because(error).hint(hint)
    })
}

fn rebuild(
    connection: &Connection,
    actual: &ActualTable,
    after: &TableSchema,
    alterations: &[Alteration],
) -> Result<()> {
    let dropped = |name: &str| {
        alterations.iter().any(|one| matches!(one, Alteration::DropColumn(gone) if gone.eq_ignore_ascii_case(name)))
    };
    refuse_rebuild(actual, after, &dropped)?;
    let table = &actual.name;
    let what = || format!("rebuild {table}");
    // The rest is read before the table goes; what needs a column that goes too is left out.
    let others = texts_of_others(connection, actual, after).explain(what)?;
    connection.execute_batch(&create_text(&with_room(actual, after, &dropped), REBUILT)).explain(what)?;
    let mut columns = Vec::new();
    let mut values = Vec::new();
    let mut fills = Vec::new();
    for (at, column) in after.columns.iter().enumerate() {
        match actual.column(&column.name).filter(|there| !dropped(&there.name)) {
            Some(there) => values.push(converted(&there.name, there.affinity, &column.ty, table)?),
            None => {
                let Fill::Value(fill) = &column.fill else { continue };
                values.push(format!("?{}", at + 1));
                fills.push((at, fill));
            }
        }
        columns.push(column.name.as_str());
    }
    let sql =
        format!("INSERT INTO {REBUILT} ({}) SELECT {} FROM {}", quoted_list(columns), values.join(", "), quoted(table));
    {
        let mut form = after.clone();
        form.name.name = REBUILT.into();
        let plan = Plan::new(connection, &form)?;
        let mut statement = connection.prepare(&sql).explain(what)?;
        for (at, fill) in fills {
            plan.bind_cell(&mut statement, at, Cell::Text(fill.as_bytes()), &mut Vec::new())?;
        }
        statement.raw_execute().explain(what)?;
    }
    let swap = format!("DROP TABLE {0}; ALTER TABLE {REBUILT} RENAME TO {0}; {others}", quoted(table));
    connection.execute_batch(&swap).explain(what)
}

/// The form with NULL allowed where rows that are there may hold it.
fn with_room(actual: &ActualTable, after: &TableSchema, dropped: &dyn Fn(&str) -> bool) -> TableSchema {
    let mut form = after.clone();
    for column in &mut form.columns {
        column.nullable |= match actual.column(&column.name).filter(|there| !dropped(&there.name)) {
            Some(there) => !there.not_null,
            None => !matches!(column.fill, Fill::Value(_)),
        };
    }
    form
}

fn refuse_rebuild(actual: &ActualTable, after: &TableSchema, dropped: &dyn Fn(&str) -> bool) -> Result<()> {
    let table = &actual.name;
    let unknown = actual.columns.iter().find(|column| {
        !dropped(&column.name) && !after.columns.iter().any(|known| known.name.eq_ignore_ascii_case(&column.name))
    });
    let why = match unknown {
        _ if !actual.ours => "rowferry did not make it, so it may hold more than its columns say".to_owned(),
        Some(column) => format!("it has a column {} that the source does not have", column.name),
        None => return Ok(()),
    };
    Err(Error::new(ErrorKind::Schema, format!("rebuild {table} with other column types: {why}"))
        .hint(format!("Change the table by hand, or drop it, and run `rowferry resync --table {table}`.")))
}

/// A stored value as the new type stores it. Only whole numbers become something else without the source's help.
fn converted(name: &str, before: Affinity, ty: &rowferry_api::Type, table: &str) -> Result<String> {
    let name = quoted(name);
    match (before, Kind::of(ty)) {
        (before, _) if before.holds(ty) => Ok(name),
        (Affinity::Integer, Kind::Text) => Ok(format!("CAST({name} AS TEXT)")),
        (Affinity::Integer, Kind::Unsigned) => Ok(name),
        (Affinity::Integer, Kind::Float { .. }) => Ok(format!("CAST({name} AS REAL)")),
        _ => Err(Error::new(
            ErrorKind::Schema,
            format!("rebuild {table}: what column {name} stores cannot be converted"),
        )
        .hint(format!("Drop the table at the target and run `rowferry resync --table {table}`."))),
    }
}

/// `CREATE` texts of the table's indexes and triggers, without the indexes over columns that go.
fn texts_of_others(connection: &Connection, actual: &ActualTable, after: &TableSchema) -> rusqlite::Result<String> {
    let sql = "SELECT type, name, sql FROM sqlite_schema WHERE tbl_name = ?1 AND type IN ('index', 'trigger') \
        AND sql IS NOT NULL ORDER BY type, rowid";
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([&actual.name])?;
    let mut texts = String::new();
    while let Some(row) = rows.next()? {
        let (kind, name, sql): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let stays = |column: &String| after.columns.iter().any(|known| known.name.eq_ignore_ascii_case(column));
        if kind == "trigger" || catalog::index_columns(connection, &name)?.0.iter().all(stays) {
            texts += &format!("{sql};\n");
        }
    }
    Ok(texts)
}
