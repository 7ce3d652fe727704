//! Whether a table that is there can hold what the source's table holds. Pure.

use super::catalog::{TargetTable, Unique};
use super::types::{Spare, type_in};
use crate::connection::Server;
use crate::kind::Kind;
use rowferry_api::{Column, Dialect, Error, ErrorKind, Index, Result, TableSchema, Type};

/// Refuses a table that cannot take the rows of a form, with every difference.
pub(super) fn refuse_unfit(server: Server, form: &TableSchema, have: &TargetTable) -> Result<()> {
    let differences = differences(server, form, have);
    if differences.is_empty() {
        return Ok(());
    }
    let what = format!("use table {} of the target: {}", form.name, differences.join("; "));
    Err(Error::new(ErrorKind::Schema, what).hint(
        "Change the target's table to fit, set another `target` for it, or drop it there: a missing table is made.",
    ))
}

/// What stands in the way, each as a sentence without its end; empty if the table fits.
pub(super) fn differences(server: Server, form: &TableSchema, have: &TargetTable) -> Vec<String> {
    let mut found = Vec::new();
    if !have.transactional {
        found.push(format!(
            "it is of engine {}, whose rows cannot be rolled back: ALTER TABLE {} ENGINE = InnoDB",
            have.engine, have.quoted
        ));
    }
    for column in &form.columns {
        let wanted = type_in(form, column, server, Spare::default());
        found.extend(column_difference(form, have, column, &wanted));
    }
    for column in &form.computed {
        if have.column(&column.name).is_some_and(|there| !there.generated) {
            let name = &column.name;
            found.push(format!(
                "column {name} is computed at the source, whose log does not carry it, and not computed there"
            ));
        }
    }
    let known = |name: &str| {
        form.columns.iter().chain(&form.computed).any(|column| column.name.to_lowercase() == name.to_lowercase())
    };
    for extra in have.columns.iter().filter(|extra| !known(&extra.name) && extra.not_null && !extra.has_default) {
        let name = &extra.name;
        found.push(format!("column {name} is NOT NULL there without a default, and the source has no such column"));
    }
    let key: Vec<&str> = form.key_columns().map(|column| column.name.as_str()).collect();
    if !have.uniques.iter().any(|unique| unique.is_over(&key)) {
        found.push(format!("it has no primary key or unique index over exactly ({})", key.join(", ")));
    }
    // Columns that the source does not have are filled by their own defaults.
    let is_own = |unique: &&Unique| !unique.columns.is_empty() && !unique.columns.iter().any(|(name, _)| known(name));
    for unique in have.uniques.iter().filter(|unique| !is_own(unique) && !is_kept_at_source(unique, form)) {
        found.push(format!("its unique index {} may refuse rows that the source allows", unique.name));
    }
    found
}

fn column_difference(form: &TableSchema, have: &TargetTable, column: &Column, wanted: &str) -> Option<String> {
    let name = &column.name;
    let Some(there) = have.column(name) else { return Some(format!("column {name} {wanted} is missing")) };
    if there.generated && column.generated.is_some() && form.dialect == Dialect::Mysql {
        return None;
    }
    if there.generated {
        return Some(format!("column {name} is generated there"));
    }
    if !takes(wanted, &there.native) {
        return Some(format!("column {name} is {} there, and {wanted} is needed", there.native));
    }
    let is_key = form.key_columns().any(|key| key.name == *name);
    let collation = |native: &str| native.rsplit_once(" collate ").map(|(_, name)| name.trim().to_owned());
    if let (true, Some(wanted), Some(there)) = (is_key, collation(wanted), collation(&there.native))
        && wanted.ends_with("_bin")
        && !there.ends_with("_bin")
    {
        return Some(format!(
            "key column {name} has collation {there} there, which takes keys for equal that {wanted} parts"
        ));
    }
    (there.not_null && column.nullable)
        .then(|| format!("column {name} is NOT NULL there, and may be NULL at the source"))
}

/// Whether the source tells texts apart by the blanks at their ends, and the column here does not.
pub(super) fn loses_blanks(dialect: Dialect, column: &Column, there: &str) -> bool {
    const COLLATE: &str = " collate ";
    let counts = |native: &str| {
        let collation = native.rsplit_once(COLLATE).map_or("", |(_, name)| name.trim());
        collation.contains("_0900_") || collation.contains("nopad") || collation == "binary"
    };
    let is_told_apart = match dialect {
        Dialect::Mysql => counts(&column.native),
        // A char(n) of PostgreSQL's has none.
        _ => column.ty != Type::Char,
    };
    is_told_apart && there.contains(COLLATE) && !counts(there)
}

/// Whether a column of one native text holds every value of another, and gives it back as the same text.
pub(super) fn takes(wanted: &str, there: &str) -> bool {
    match (Kind::parse(wanted), Kind::parse(there)) {
        (Some(wanted), Some(there)) => wanted == there || holds(&wanted, &there),
        _ => wanted == there,
    }
}

fn holds(wanted: &Kind, there: &Kind) -> bool {
    use Kind::{
        Binary, Bit, Blob, Char, Datetime, Decimal, Double, Enum, Float, Geometry, Inet4, Inet6, Int, Json, Set, Text,
        Time, Timestamp, Uuid, Varbinary, Varchar, Vector, Year,
    };
    match (wanted, there) {
        (Int { bits: a, unsigned: false }, Int { bits: b, unsigned: false }) => b >= a,
        (Int { bits: a, unsigned: true }, Int { bits: b, unsigned: true }) => b >= a,
        (Int { bits: a, unsigned: true }, Int { bits: b, unsigned: false }) => b > a,
        (Year, Int { bits, .. }) => *bits >= 16,
        (Decimal { precision: a, scale }, Decimal { precision: b, scale: there }) => scale == there && b >= a,
        (Float, Double) | (Inet4, Inet6) => true,
        (Bit { bits: a }, Bit { bits: b }) => a == b,
        (Binary { bytes: a }, Varbinary { bytes: b }) | (Varbinary { bytes: a }, Varbinary { bytes: b }) => b >= a,
        (Binary { bytes } | Varbinary { bytes }, Blob { max_bytes }) => u64::from(*bytes) <= *max_bytes,
        (Blob { max_bytes: a }, Blob { max_bytes: b }) => b >= a,
        (Vector | Geometry, Blob { max_bytes }) => *max_bytes >= u64::from(u32::MAX),
        (Geometry, Geometry) => true,
        (Time { digits: a }, Time { digits: b })
        | (Datetime { digits: a }, Datetime { digits: b })
        | (Timestamp { digits: a }, Timestamp { digits: b } | Datetime { digits: b }) => b >= a,
        (Enum { labels: a, .. }, Enum { labels: b, .. }) => a.iter().all(|label| b.contains(label)),
        (Set { labels: a, .. }, Set { labels: b, .. }) => b.starts_with(a),
        // Blanks at the end are no part of a CHAR.
        (Char { chars: a, charset: from }, Char { chars: b, charset: into }) => b >= a && is_within(from, into),
        (Uuid, Char { chars, .. } | Varchar { chars, .. }) => *chars >= 36,
        (Inet4 | Inet6, Char { chars, .. } | Varchar { chars, .. }) => *chars >= 45,
        (Json, Text { max_bytes, charset }) => *max_bytes >= u64::from(u32::MAX) && charset == "utf8mb4",
        _ => texts(wanted, there),
    }
}

/// Text into text without a fixed length.
fn texts(wanted: &Kind, there: &Kind) -> bool {
    let (chars, bytes, from) = match wanted {
        Kind::Char { chars, charset } | Kind::Varchar { chars, charset } => {
            (u64::from(*chars), u64::from(*chars) * 4, charset)
        }
        // Of the shortest characters as many as there are bytes; each may be longer in another character set.
        Kind::Text { max_bytes, charset } => (*max_bytes, *max_bytes, charset),
        Kind::Enum { labels, charset } => {
            let longest = labels.iter().map(|label| label.len() as u64).max().unwrap_or(0);
            (longest, longest, charset)
        }
        _ => return false,
    };
    match there {
        Kind::Varchar { chars: most, charset } => chars <= u64::from(*most) && is_within(from, charset),
        Kind::Text { max_bytes, charset } => {
            (bytes <= *max_bytes || *max_bytes >= u64::from(u32::MAX)) && is_within(from, charset)
        }
        _ => false,
    }
}

/// Whether a character set has all characters of another.
fn is_within(from: &str, into: &str) -> bool {
    let plain = |name: &str| if name == "utf8" { "utf8mb3".to_owned() } else { name.to_owned() };
    let (from, into) = (plain(from), plain(into));
    from == into || from == "ascii" || into == "utf8mb4" || (from == "latin1" && into == "utf8mb3")
}

/// Whether the source keeps at least what a unique index of the target asks for. Of expressions only their being there can
/// be compared.
fn is_kept_at_source(unique: &Unique, form: &TableSchema) -> bool {
    let has = |name: &String| unique.columns.iter().any(|(column, _)| column.to_lowercase() == name.to_lowercase());
    let whole = unique.columns.iter().all(|(_, prefix)| prefix.is_none());
    let key: Vec<String> = form.key_columns().map(|column| column.name.clone()).collect();
    if whole && !key.is_empty() && key.iter().all(has) {
        return true;
    }
    let keeps = |index: &&Index| {
        let deferrable = index.constraint.as_ref().is_some_and(|clause| clause.contains(" DEFERRABLE"));
        let columns = match index.columns.is_empty() {
            true => unique.columns.is_empty(),
            false => index.columns.iter().all(has) && whole,
        };
        // Over the beginnings of columns or over expressions it is the source's own index, if that has the name.
        let is_own = form.dialect == Dialect::Mysql && index.name == unique.name;
        index.unique && !deferrable && (is_own || (!index.partial && columns))
    };
    form.indexes.iter().any(|index| keeps(&index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_at_the_end_count_where_they_do_at_the_source() {
        let column = |native: &str, ty| Column {
            id: 0,
            name: "k".into(),
            native: native.into(),
            ty,
            nullable: false,
            default: None,
            identity: false,
            generated: None,
            fill: rowferry_api::Fill::Null,
        };
        let loses = |dialect, native: &str, ty, collation: &str| {
            loses_blanks(dialect, &column(native, ty), &format!("varchar(9) character set utf8mb4 collate {collation}"))
        };
        assert!(loses(Dialect::Postgres, "text", Type::Text, "utf8mb4_bin"));
        assert!(!loses(Dialect::Postgres, "text", Type::Text, "utf8mb4_0900_bin"));
        assert!(!loses(Dialect::Postgres, "character(3)", Type::Char, "utf8mb4_bin"));
        let (pads, counts) = ("varchar(9) collate utf8mb4_general_ci", "varchar(9) collate utf8mb4_0900_ai_ci");
        assert!(!loses(Dialect::Mysql, pads, Type::Text, "utf8mb4_bin"));
        assert!(loses(Dialect::Mysql, counts, Type::Text, "utf8mb4_unicode_520_ci"));
        assert!(!loses(Dialect::Mysql, counts, Type::Text, "utf8mb4_uca1400_nopad_ai_ci"));
    }

    #[test]
    fn a_wider_column_takes_the_values() {
        let cases = [
            ("int", "bigint(20)", true),
            ("int unsigned", "int(11)", false),
            ("int(10) unsigned", "bigint", true),
            ("decimal(10,2)", "decimal(12,2)", true),
            ("decimal(10,2)", "decimal(12,3)", false),
            (
                "varchar(9) character set latin1 collate latin1_bin",
                "varchar(9) character set utf8mb4 collate utf8mb4_bin",
                true,
            ),
            (
                "varchar(9) character set utf8mb4 collate utf8mb4_bin",
                "varchar(9) character set latin1 collate latin1_bin",
                false,
            ),
            ("varchar(9) character set utf8mb4 collate x", "char(9) character set utf8mb4 collate x", false),
            ("varchar(9)", "text", true),
            ("varchar(20000)", "text", false),
            ("longtext", "json", false),
            ("json", "longtext", true),
            ("timestamp(3)", "datetime(6)", true),
            ("datetime", "timestamp", false),
            ("enum('a')", "enum('b','a')", true),
            ("set('a')", "set('b','a')", false),
            ("binary(3)", "binary(4)", false),
            ("uuid", "char(36)", true),
            ("hologram", "hologram", true),
        ];
        for (wanted, there, expected) in cases {
            assert_eq!(takes(wanted, there), expected, "{wanted} into {there}");
        }
    }
}
