//! Ranges and sets of keys as SQL, in the one order that all stores share.
//!
//! Literals are left without a type, so that the server takes each for the type of its column.

use crate::connection::{quote_name, quote_text};
use rowferry_api::{Cell, Column, Key, KeyOrder, Range, TableSchema, Type};

/// A key column as it is ordered and compared: natively where that is the common order, else by its text's bytes.
fn ordered(column: &Column) -> String {
    let name = quote_name(&column.name);
    match (KeyOrder::of(&column.ty), &column.ty) {
        // The bytes of their text sort as the values do.
        (KeyOrder::Integer, _) | (_, Type::Uuid | Type::Bytes) => name,
        (_, Type::Text) if column.native != "name" && !column.native.contains("citext") => format!("{name} COLLATE \"C\""),
        _ => format!("{name}::text COLLATE \"C\""),
    }
}

/// Whether the key's own index gives the common order.
pub(crate) fn is_indexed(table: &TableSchema, c_collation: bool) -> bool {
    !table.key.is_empty()
        && table.key_columns().all(|column| match column.ty {
            Type::Int { .. } | Type::Uuid | Type::Bytes => true,
            Type::Text => c_collation && !column.native.contains("citext"),
            _ => false,
        })
}

/// `ORDER BY` list.
pub(crate) fn order_by(table: &TableSchema) -> String {
    table.key_columns().map(ordered).collect::<Vec<_>>().join(", ")
}

/// The condition for the rows of a range of keys or a set; `None` for all rows.
pub(crate) fn condition(table: &TableSchema, range: &Range) -> Option<String> {
    match range {
        Range::Whole | Range::Native(_) => None,
        Range::Keys { after, upto } => {
            let columns = format!("({})", order_by(table));
            let bound = |key: &Key, op: &str| format!("{columns} {op} ({})", literals(key));
            let bounds: Vec<String> =
                after.iter().map(|key| bound(key, ">")).chain(upto.iter().map(|key| bound(key, "<="))).collect();
            (!bounds.is_empty()).then(|| bounds.join(" AND "))
        }
        Range::Set(keys) => Some(in_set(table, keys)),
    }
}

fn in_set(table: &TableSchema, keys: &[Key]) -> String {
    let names: Vec<String> = table.key_columns().map(|column| quote_name(&column.name)).collect();
    if keys.is_empty() {
        return "false".into();
    }
    if let [name] = names.as_slice() {
        return format!("{name} = ANY ({})", quote_text(&array(keys.iter().filter_map(|key| key.cells().next()))));
    }
    let one = |key: &Key| {
        let pairs = names.iter().zip(key.cells()).map(|(name, cell)| format!("{name} = {}", literal(cell)));
        format!("({})", pairs.collect::<Vec<_>>().join(" AND "))
    };
    format!("({})", keys.iter().map(one).collect::<Vec<_>>().join(" OR "))
}

fn literals(key: &Key) -> String {
    key.cells().map(literal).collect::<Vec<_>>().join(", ")
}

fn literal(cell: Cell<'_>) -> String {
    match text(cell) {
        Some(text) => quote_text(&text),
        None => "NULL".into(),
    }
}

fn text(cell: Cell<'_>) -> Option<String> {
    match cell {
        Cell::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
        Cell::Raw(bytes) => {
            Some(bytes.iter().fold(String::from("\\x"), |text, byte| text + &format!("{byte:02x}")))
        }
        Cell::Null | Cell::Unchanged => None,
    }
}

/// An array's text.
pub(crate) fn array<'a>(cells: impl Iterator<Item = Cell<'a>>) -> String {
    let element = |cell| match text(cell) {
        Some(text) => format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")),
        None => "NULL".into(),
    };
    format!("{{{}}}", cells.map(element).collect::<Vec<_>>().join(","))
}
