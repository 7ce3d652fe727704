//! New tables: names, columns, defaults and foreign keys in SQLite's own words.

use crate::catalog::{self, OUR_MARK, quoted, quoted_list};
use crate::error::Explain;
use crate::fit::differences;
use crate::types::Kind;
use crate::writer::Writer;
use rowferry_api::{Column, Created, Error, ErrorKind, ForeignKey, Result, TableSchema, Type};

/// Creates the table, or finds that the one that is there fits. Inside a transaction.
pub(crate) fn create(writer: &mut Writer, table: &TableSchema) -> Result<Created> {
    let name = &table.name.name;
    if table.key.is_empty() {
        return Err(Error::new(ErrorKind::Schema, format!("create {}: it has no key", table.name))
            .hint("Give the source's table a primary key, or name its key's columns in `key`."));
    }
    let what = || format!("create {}", table.name);
    let Some(actual) = catalog::table(&writer.connection, name).explain(what)? else {
        writer.connection.execute_batch(&create_text(table, name)).explain(what)?;
        return Ok(Created::New);
    };
    let found = differences(&actual, table);
    if !found.is_empty() {
        return Err(Error::new(ErrorKind::Schema, format!("use the table {name} that is there: {}", found.join("; ")))
            .hint(format!(
                "Change it, or drop it (DROP TABLE {}) so that it is created again.",
                quoted(&actual.name)
            )));
    }
    Ok(if writer.is_empty(&actual.name)? { Created::Empty } else { Created::Filled })
}

/// `CREATE TABLE` for a form, under another name where it is about to take that form's place.
pub(crate) fn create_text(table: &TableSchema, name: &str) -> String {
    let mut lines: Vec<String> = table.columns.iter().enumerate().map(|(at, column)| line(table, at, column)).collect();
    let key = quoted_list(table.key_columns().map(|column| column.name.as_str()));
    lines.push(format!("PRIMARY KEY ({key})"));
    lines.extend(table.foreign_keys.iter().map(foreign_key));
    let suffix = if is_small(table) { " WITHOUT ROWID" } else { "" };
    format!("CREATE TABLE {} ( {OUR_MARK}\n    {}\n){suffix}", quoted(name), lines.join(",\n    "))
}

fn line(table: &TableSchema, at: usize, column: &Column) -> String {
    let declared = Kind::of(&column.ty).declared();
    let blank = if declared.is_empty() { "" } else { " " };
    let not_null = if !column.nullable || table.key.contains(&at) { " NOT NULL" } else { "" };
    let default = default(column).map_or(String::new(), |literal| format!(" DEFAULT {literal}"));
    format!("{}{blank}{declared}{not_null}{default}", quoted(&column.name))
}

/// Whether the key's index should hold the rows themselves: it saves a second tree where rows are small. A single whole
/// number is the rowid, which is better still.
fn is_small(table: &TableSchema) -> bool {
    let mut key = table.key_columns();
    let is_rowid =
        matches!((key.next(), key.next()), (Some(column), None) if Kind::of(&column.ty).declared() == "INTEGER");
    let may_be_long = |ty: &Type| {
        matches!(ty, Type::Text | Type::Json | Type::Xml | Type::Bytes | Type::Bits | Type::Array(_) | Type::Other)
    };
    let outside_key = table.columns.iter().enumerate().filter(|(at, _)| !table.key.contains(at));
    let mut long = outside_key.filter(|(_, column)| may_be_long(&column.ty));
    !is_rowid && long.next().is_none()
}

fn foreign_key(key: &ForeignKey) -> String {
    format!(
        "FOREIGN KEY ({}) REFERENCES {} ({}){}",
        quoted_list(key.columns.iter().map(String::as_str)),
        quoted(&key.references.name),
        quoted_list(key.referenced_columns.iter().map(String::as_str)),
        actions(&key.actions)
    )
}

/// The parts of the clause that SQLite has too; `MATCH FULL`, `NOT VALID` and column lists are left out.
fn actions(clause: &str) -> String {
    let words: Vec<String> = clause.split_whitespace().map(str::to_ascii_uppercase).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut out = String::new();
    for (at, word) in words.iter().enumerate() {
        match (*word, &words[at + 1..]) {
            // A list of columns after it is PostgreSQL's own.
            ("ON", ["DELETE" | "UPDATE", "SET", "NULL" | "DEFAULT", list, ..]) if list.starts_with('(') => {}
            ("ON", [event @ ("DELETE" | "UPDATE"), action @ ("CASCADE" | "RESTRICT"), ..]) => {
                out += &format!(" ON {event} {action}");
            }
            ("ON", [event @ ("DELETE" | "UPDATE"), "SET", value @ ("NULL" | "DEFAULT"), ..]) => {
                out += &format!(" ON {event} SET {value}");
            }
            _ => {}
        }
    }
    if clause.to_ascii_uppercase().contains("INITIALLY DEFERRED") {
        out += " DEFERRABLE INITIALLY DEFERRED";
    }
    out
}

/// The default where it is plainly a constant that SQLite stores as rowferry would.
fn default(column: &Column) -> Option<String> {
    let text = constant(column.default.as_deref()?)?;
    match (Kind::of(&column.ty), &column.ty) {
        (Kind::Bool, _) => match text.to_ascii_lowercase().as_str() {
            "true" | "t" => Some("1".into()),
            "false" | "f" => Some("0".into()),
            _ => None,
        },
        (Kind::Int, _) => text.parse::<i64>().ok().map(|number| number.to_string()),
        // A number's scale, a padded length and a time's zone come from the type.
        (Kind::Text, Type::Text | Type::Enum | Type::Uuid | Type::Date) => Some(literal(&text)),
        _ => None,
    }
}

/// The value of `5`, `-5`, `true`, `'it''s'`, `'new'::status`; `None` for anything else.
fn constant(expression: &str) -> Option<String> {
    let expression = expression.trim();
    let Some(quoted) = expression.strip_prefix('\'') else {
        let plain = expression.trim_start_matches('(').trim_end_matches(')');
        let number = plain.strip_prefix('-').unwrap_or(plain).bytes().all(|byte| byte.is_ascii_digit());
        let is_constant = (number && !plain.is_empty()) || matches!(plain, "true" | "false");
        return is_constant.then(|| plain.to_owned());
    };
    let mut value = String::new();
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '\'' if chars.as_str().starts_with('\'') => {
                chars.next();
                value.push('\'');
            }
            '\'' => break,
            char => value.push(char),
        }
    }
    let cast = chars.as_str();
    let is_cast = cast.strip_prefix("::").is_some_and(|name| !name.contains("::") && !name.contains('|'));
    (cast.is_empty() || is_cast).then_some(value)
}

/// `'it''s'`.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_told_from_expressions() {
        let cases = [
            ("5", Some("5")),
            ("'-5'::integer", Some("-5")),
            ("(-5)", Some("-5")),
            ("true", Some("true")),
            ("'it''s'::text", Some("it's")),
            ("'a'::public.\"Mood\"", Some("a")),
            ("'a' || 'b'", None),
            ("'a'::text || 'b'::text", None),
            ("now()", None),
            ("''", Some("")),
            ("ARRAY[1]", None),
        ];
        for (expression, value) in cases {
            assert_eq!(constant(expression).as_deref(), value, "{expression}");
        }
    }

    #[test]
    fn actions_of_foreign_keys_are_those_that_sqlite_has() {
        let check = |clause, expected| assert_eq!(actions(clause), expected, "{clause}");
        check("", "");
        check("MATCH FULL ON UPDATE CASCADE", " ON UPDATE CASCADE");
        check("ON UPDATE SET DEFAULT ON DELETE SET NULL NOT VALID", " ON UPDATE SET DEFAULT ON DELETE SET NULL");
        check("ON DELETE SET NULL (a, b) DEFERRABLE INITIALLY DEFERRED", " DEFERRABLE INITIALLY DEFERRED");
        check("ON DELETE NO ACTION DEFERRABLE", "");
    }
}
