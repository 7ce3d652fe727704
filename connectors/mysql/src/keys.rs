//! Ranges and sets of keys as SQL, in the one order that all stores share, and cells as their common text.
//!
//! The order is that of the common text's bytes, but of whole numbers. Text is compared as binary: a collation would take
//! other texts for equal, and even utf8mb4_bin ignores blanks at the end. What the columns are is read from their native texts,
//! which have to be those of the server that is asked: [`localized`] puts them there for a form of another store.

use crate::connection::{quote_name, quote_text};
use crate::kind::Kind;
use rowferry_api::{Cell, Column, Dialect, Key, KeyOrder, Range, TableSchema, Type};
use std::fmt::Write;

/// The form with the native texts that the server has; a column that it does not name keeps its own.
pub(crate) fn localized(table: &TableSchema, native: impl Fn(&str) -> Option<String>) -> TableSchema {
    let mut table = TableSchema { dialect: Dialect::Mysql, ..table.clone() };
    for column in &mut table.columns {
        if let Some(native) = native(&column.name) {
            column.native = native;
        }
    }
    table
}

/// An expression for the common text of a column's cells; NULL stays NULL. Bytes come as `\x` and lower-case hex.
pub(crate) fn text_expression(column: &Column) -> String {
    let name = quote_name(&column.name);
    let Some(kind) = Kind::parse(&column.native) else { return format!("CAST({name} AS CHAR)") };
    match kind {
        Kind::Int { .. } if column.ty == Type::Bool => format!("IF({name} IS NULL, NULL, IF({name} = 0, 'f', 't'))"),
        // Adding nothing drops the zeros of ZEROFILL and of YEAR.
        Kind::Int { .. } | Kind::Year => format!("CAST({name} + 0 AS CHAR)"),
        Kind::Decimal { .. } if column.native.contains("zerofill") => format!("CAST({name} + 0 AS CHAR)"),
        Kind::Decimal { .. } => format!("CAST({name} AS CHAR)"),
        // A FLOAT prints six digits; as a double it prints those that read back to the same number. Taking nothing away keeps
        // the sign of a zero.
        Kind::Float | Kind::Double => format!("CAST({name} - 0e0 AS CHAR)"),
        Kind::Bit { bits } => format!("LPAD(BIN({name} + 0), {bits}, '0')"),
        Kind::Char { .. } | Kind::Varchar { .. } | Kind::Text { .. } | Kind::Enum { .. } | Kind::Set { .. } => {
            format!("CONVERT({name} USING utf8mb4)")
        }
        Kind::Binary { .. } | Kind::Varbinary { .. } | Kind::Blob { .. } | Kind::Geometry | Kind::Vector => {
            format!("CONCAT('\\\\x', LOWER(HEX({name})))")
        }
        Kind::Date | Kind::Json | Kind::Uuid | Kind::Inet4 | Kind::Inet6 => format!("CAST({name} AS CHAR)"),
        Kind::Time { digits } => trimmed(&name, digits),
        Kind::Datetime { digits } | Kind::Timestamp { digits } => match column.ty {
            Type::TimestampTz => moment(&name, digits),
            // A moment that travels as text says its zone all the same.
            Type::Text if matches!(kind, Kind::Timestamp { .. }) => moment(&name, digits),
            _ => trimmed(&name, digits),
        },
    }
}

fn moment(name: &str, digits: u8) -> String {
    format!("CONCAT({}, '+00')", trimmed(name, digits))
}

/// Without the zeros at the end of a fraction.
fn trimmed(name: &str, digits: u8) -> String {
    match digits {
        0 => format!("CAST({name} AS CHAR)"),
        _ => format!("TRIM(TRAILING '.' FROM TRIM(TRAILING '0' FROM CAST({name} AS CHAR)))"),
    }
}

/// What follows ORDER BY for the common order. Longer texts than the session's max_sort_length are in no order.
pub(crate) fn order_by(table: &TableSchema) -> String {
    table.key_columns().map(ordered).collect::<Vec<_>>().join(", ")
}

/// A column as it is compared and ordered.
fn ordered(column: &Column) -> String {
    let name = quote_name(&column.name);
    match (KeyOrder::of(&column.ty), Kind::parse(&column.native)) {
        (KeyOrder::Integer, Some(Kind::Int { .. } | Kind::Year)) => name,
        (KeyOrder::Integer, _) => format!("CAST({name} AS DECIMAL(65))"),
        (KeyOrder::Float { .. }, Some(Kind::Float | Kind::Double)) => name,
        (KeyOrder::Float { .. }, _) => format!("({name} + 0e0)"),
        // Hex digits are in the order of the bytes that they stand for.
        (_, Some(Kind::Binary { .. } | Kind::Varbinary { .. } | Kind::Blob { .. })) => name,
        _ => format!("CAST({} AS BINARY)", text_expression(column)),
    }
}

/// A key's cell as [`ordered`] compares it.
fn bound_literal(column: &Column, cell: Cell<'_>) -> String {
    match (KeyOrder::of(&column.ty), Kind::parse(&column.native)) {
        (KeyOrder::Integer, _) => number(cell),
        (KeyOrder::Float { single }, _) => float(cell, single),
        (_, Some(Kind::Binary { .. } | Kind::Varbinary { .. } | Kind::Blob { .. })) => hex(&bytes(cell)),
        _ => match cell {
            Cell::Text(text) => hex(text),
            // The common text of bytes.
            Cell::Raw(raw) => hex(format!("\\x{}", digits(raw)).as_bytes()),
            Cell::Null | Cell::Unchanged => "NULL".into(),
        },
    }
}

/// The condition for the rows of a range; `None` for all rows (also of a native range, which is not SQL's matter).
pub(crate) fn condition(table: &TableSchema, range: &Range) -> Option<String> {
    match range {
        Range::Whole | Range::Native(_) => None,
        Range::Keys { after, upto } => {
            let bounds = after.iter().flat_map(|key| bound(table, key, ">"));
            let bounds: Vec<String> = bounds.chain(upto.iter().flat_map(|key| bound(table, key, "<="))).collect();
            (!bounds.is_empty()).then(|| bounds.join(" AND "))
        }
        Range::Set(keys) => Some(in_set(table, keys)),
    }
}

/// The conditions for rows on one side of a key.
fn bound(table: &TableSchema, key: &Key, operator: &str) -> Vec<String> {
    let literals: Vec<String> =
        table.key_columns().zip(key.cells()).map(|(column, cell)| bound_literal(column, cell)).collect();
    let (columns, literals) = (order_by(table), literals.as_slice());
    match literals {
        [] => vec!["FALSE".into()],
        [only] => vec![format!("{columns} {operator} {only}")],
        [first, ..] => {
            let whole = format!("({columns}) {operator} ({})", literals.join(", "));
            // Servers walk no index for a row of values; for its first one they do.
            let Some(leading) = table.key_columns().next() else { return vec![whole] };
            vec![format!("{} {}= {first}", ordered(leading), &operator[..1]), whole]
        }
    }
}

fn in_set(table: &TableSchema, keys: &[Key]) -> String {
    let columns: Vec<&Column> = table.key_columns().collect();
    if keys.is_empty() || columns.is_empty() {
        return "FALSE".into();
    }
    if let [only] = columns.as_slice()
        && !needs_recheck(only)
    {
        let cells = keys.iter().map(|key| own_literal(only, key.cells().next().unwrap_or(Cell::Null)));
        return format!("{} IN ({})", quote_name(&only.name), cells.collect::<Vec<_>>().join(", "));
    }
    let equal = |(column, cell): (&&Column, Cell<'_>)| {
        let found = format!("{} = {}", quote_name(&column.name), own_literal(column, cell));
        match needs_recheck(column) {
            true => format!("{found} AND {} = {}", ordered(column), bound_literal(column, cell)),
            false => found,
        }
    };
    let one = |key: &Key| format!("({})", columns.iter().zip(key.cells()).map(equal).collect::<Vec<_>>().join(" AND "));
    format!("({})", keys.iter().map(one).collect::<Vec<_>>().join(" OR "))
}

/// Whether a column's own `=` takes different texts for equal.
fn needs_recheck(column: &Column) -> bool {
    matches!(Kind::parse(&column.native), Some(Kind::Char { .. } | Kind::Varchar { .. } | Kind::Text { .. }))
}

/// A literal of the column's own type, so that its index serves.
fn own_literal(column: &Column, cell: Cell<'_>) -> String {
    let text = match cell {
        Cell::Text(text) => String::from_utf8_lossy(text),
        Cell::Raw(raw) => return hex(raw),
        Cell::Null | Cell::Unchanged => return "NULL".into(),
    };
    match Kind::parse(&column.native) {
        Some(Kind::Int { .. }) if column.ty == Type::Bool => if text == "t" { "1" } else { "0" }.into(),
        Some(Kind::Int { .. } | Kind::Year | Kind::Decimal { .. }) => number(cell),
        Some(Kind::Bit { .. }) => u64::from_str_radix(&text, 2).map_or_else(|_| "NULL".into(), |bits| bits.to_string()),
        Some(kind @ (Kind::Float | Kind::Double)) => float(cell, kind == Kind::Float),
        Some(Kind::Binary { .. } | Kind::Varbinary { .. } | Kind::Blob { .. }) => hex(&bytes(cell)),
        Some(Kind::Datetime { .. } | Kind::Timestamp { .. }) => quote_text(text.strip_suffix("+00").unwrap_or(&text)),
        _ => quote_text(&text),
    }
}

/// A FLOAT is compared as the double that it is.
fn float(cell: Cell<'_>, single: bool) -> String {
    let Cell::Text(text) = cell else { return "NULL".into() };
    let text = String::from_utf8_lossy(text);
    let float = if single { text.parse::<f32>().map(f64::from) } else { text.parse() };
    float.map_or_else(|_| "NULL".into(), |float| format!("{float:e}"))
}

/// Digits as they are; anything else is compared as text, and is no row's key.
fn number(cell: Cell<'_>) -> String {
    match cell {
        Cell::Text(text) if is_number(text) => String::from_utf8_lossy(text).into_owned(),
        Cell::Text(text) => quote_text(&String::from_utf8_lossy(text)),
        Cell::Null | Cell::Unchanged | Cell::Raw(_) => "NULL".into(),
    }
}

/// A decimal number without an exponent: it stands in SQL as it is.
pub(crate) fn is_number(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let points = digits.iter().filter(|byte| **byte == b'.').count();
    let all = digits.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    all && points <= 1
        && digits.first().is_some_and(u8::is_ascii_digit)
        && digits.last().is_some_and(u8::is_ascii_digit)
}

/// The bytes of a cell: raw, or as `\x` and hex digits.
pub(crate) fn bytes(cell: Cell<'_>) -> Vec<u8> {
    match cell {
        Cell::Raw(raw) => raw.to_vec(),
        Cell::Text(text) => unhex(text).unwrap_or_else(|| text.to_vec()),
        Cell::Null | Cell::Unchanged => Vec::new(),
    }
}

/// The bytes that `\x6869` stands for.
pub(crate) fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let (pairs, odd) = text.strip_prefix(b"\\x")?.as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |&[high, low]: &[u8; 2]| u8::try_from(digit(high)? * 16 + digit(low)?).ok();
    if odd.is_empty() { pairs.iter().map(pair).collect() } else { None }
}

fn hex(bytes: &[u8]) -> String {
    format!("x'{}'", digits(bytes))
}

fn digits(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
