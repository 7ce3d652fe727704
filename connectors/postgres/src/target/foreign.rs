//! Types and indexes for tables of other dialects. Types are spelled as `format_type` prints them, so that they can be
//! compared with those of a table that is there.

use crate::connection::{quote_name, quote_table};
use rowferry_api::{Column, Dialect, Index, TableSchema, Type};

/// A column's type here. Its numbers are kept where they mean the same at both ends.
pub(super) fn native(column: &Column, dialect: Dialect) -> String {
    let numbers = numbers(&column.native);
    let mysql = dialect == Dialect::Mysql;
    match (&column.ty, numbers.as_slice()) {
        (Type::Numeric, [precision]) if mysql => format!("numeric({precision},0)"),
        (Type::Numeric, [precision, scale]) if mysql => format!("numeric({precision},{scale})"),
        (Type::Text, [length]) if mysql && *length > 0 && has_length(&column.native) => {
            format!("character varying({length})")
        }
        (Type::Timestamp, [digits]) if mysql => format!("timestamp({digits}) without time zone"),
        (Type::TimestampTz, [digits]) if mysql => format!("timestamp({digits}) with time zone"),
        (Type::Timestamp, []) if mysql => "timestamp(0) without time zone".into(),
        (Type::TimestampTz, []) if mysql => "timestamp(0) with time zone".into(),
        (ty, _) => by_type(ty).into(),
    }
}

fn by_type(ty: &Type) -> &'static str {
    match ty {
        Type::Bool => "boolean",
        Type::Int { bits: 8 | 16, unsigned: false } | Type::Int { bits: 8, .. } => "smallint",
        Type::Int { bits: 24 | 32, unsigned: false } | Type::Int { bits: 16 | 24, .. } => "integer",
        Type::Int { bits: 64, unsigned: true } => "numeric(20,0)",
        Type::Int { .. } => "bigint",
        Type::Float { bits: 32 } => "real",
        Type::Float { .. } => "double precision",
        Type::Numeric => "numeric",
        Type::Bytes => "bytea",
        Type::Date => "date",
        Type::Time => "time without time zone",
        Type::TimeTz => "time with time zone",
        Type::Timestamp => "timestamp without time zone",
        Type::TimestampTz => "timestamp with time zone",
        Type::Interval => "interval",
        Type::Uuid => "uuid",
        Type::Json => "json",
        Type::Xml => "xml",
        Type::Bits => "bit varying",
        Type::Text | Type::Char | Type::Enum | Type::Array(_) | Type::Other => "text",
    }
}

/// The number behind these is a number of characters.
fn has_length(native: &str) -> bool {
    native.starts_with("varchar(") || native.starts_with("char(")
}

/// The numbers in a type's parentheses.
fn numbers(native: &str) -> Vec<u32> {
    let inside = native.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(inside, _)| inside);
    let numbers = inside.split(',').map(|number| number.trim().parse().ok());
    numbers.collect::<Option<Vec<_>>>().unwrap_or_default()
}

/// An index over plain columns, under a name that is its own in a schema; `None` for others.
pub(super) fn index_statement(form: &TableSchema, index: &Index) -> Option<String> {
    if index.columns.is_empty() || index.partial || !is_plain(index) {
        return None;
    }
    let columns: Vec<String> = index.columns.iter().map(|column| quote_name(column)).collect();
    let unique = if index.unique { "UNIQUE " } else { "" };
    Some(format!(
        "CREATE {unique}INDEX {} ON {} ({})",
        quote_name(&index_name(form, index)),
        quote_table(&form.name),
        columns.join(", ")
    ))
}

/// No index for searching words or places.
fn is_plain(index: &Index) -> bool {
    !["FULLTEXT", "SPATIAL", "VECTOR"].iter().any(|kind| index.definition.contains(&format!("ADD {kind} ")))
}

/// Indexes of two tables may have one name elsewhere, and may not here.
pub(super) fn index_name(form: &TableSchema, index: &Index) -> String {
    const MOST_BYTES: usize = 63;
    let mut name = format!("{}_{}", form.name.name, index.name);
    while name.len() > MOST_BYTES {
        name.pop();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use rowferry_api::Fill;

    #[test]
    fn types_of_mysql_keep_their_numbers() {
        let check = |ty: Type, native: &str, expected: &str| {
            let column = Column {
                id: 0,
                name: "c".into(),
                ty,
                native: native.into(),
                nullable: true,
                default: None,
                identity: false,
                generated: None,
                fill: Fill::Null,
            };
            assert_eq!(super::native(&column, Dialect::Mysql), expected, "{native}");
        };
        check(Type::Numeric, "decimal(65,30) unsigned", "numeric(65,30)");
        check(Type::Text, "varchar(20) character set latin1 collate latin1_bin", "character varying(20)");
        check(Type::Text, "set('a','b')", "text");
        check(Type::Text, "longtext character set utf8mb4 collate utf8mb4_bin", "text");
        check(Type::Enum, "enum('a','b')", "text");
        check(Type::Timestamp, "datetime(6)", "timestamp(6) without time zone");
        check(Type::TimestampTz, "timestamp", "timestamp(0) with time zone");
        check(Type::Int { bits: 64, unsigned: true }, "bigint(20) unsigned", "numeric(20,0)");
        check(Type::Int { bits: 32, unsigned: true }, "int(10) unsigned", "bigint");
        check(Type::Interval, "time(3)", "interval");
    }
}
