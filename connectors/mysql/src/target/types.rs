//! What type a column has at this server. Pure.
//!
//! Native texts of MySQL and MariaDB stay as they are where the server knows them. Types of other stores become what holds
//! every value of theirs, or refuses it: a column that would change values is text instead.

use crate::connection::Server;
use crate::kind::Kind;
use rowferry_api::{Column, Dialect, TableSchema, Type};

/// What a definition has to do without, since the server refused it with more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Spare {
    /// Defaults.
    pub(super) defaults: bool,
    /// Text of a limited length beside the key: it is LONGTEXT.
    pub(super) lengths: bool,
}

/// The native text of a form's column at this server.
pub(super) fn type_in(form: &TableSchema, column: &Column, server: Server, spare: Spare) -> String {
    let is_key = form.key_columns().any(|key| key.name == column.name);
    type_here(column, form.dialect, if is_key { form.key.len() } else { 0 }, server, spare)
}

/// The column's type; `key_columns` is how many the key has that it is part of, 0 if it is part of none.
fn type_here(column: &Column, dialect: Dialect, key_columns: usize, server: Server, spare: Spare) -> String {
    match dialect {
        Dialect::Mysql => mysql_type(&column.native, server),
        _ => mapped(column, u32::try_from(key_columns).unwrap_or(u32::MAX), server, spare),
    }
}

/// Equal exactly if the bytes are, where the server has such a collation; before MySQL 8.0 blanks at the end are ignored.
fn by_bytes(server: Server) -> &'static str {
    match server {
        _ if server.is_mysql(8, 0) => "utf8mb4_0900_bin",
        _ if server.is_mariadb(10, 2) => "utf8mb4_nopad_bin",
        _ => "utf8mb4_bin",
    }
}

/// Bytes of each column that an index of that many columns takes whole.
pub(super) fn index_bytes(server: Server, columns: u32) -> u32 {
    let most = if server.is_mysql(5, 7) || server.is_mariadb(10, 2) { 3072 } else { 767 };
    most.min(3072 / columns.max(1))
}

/// Longer text beside the key is LONGTEXT: a row's limited texts share 65,535 bytes.
const LONGEST_VARCHAR: u32 = 1000;

fn mapped(column: &Column, key_columns: u32, server: Server, spare: Spare) -> String {
    let (is_key, most_bytes) = (key_columns > 0, index_bytes(server, key_columns));
    let numbers = numbers(&column.native);
    let text = |chars: Option<u32>| {
        let most = if is_key { most_bytes / 4 } else { LONGEST_VARCHAR };
        let ty = match chars.filter(|chars| *chars <= most && (is_key || !spare.lengths)) {
            Some(chars) => format!("varchar({chars})"),
            None if is_key => format!("varchar({most})"),
            None => "longtext".into(),
        };
        format!("{ty} character set utf8mb4 collate {}", by_bytes(server))
    };
    match &column.ty {
        Type::Bool => "tinyint(1)".into(),
        Type::Int { bits, unsigned } => {
            let name = match bits {
                8 => "tinyint",
                16 => "smallint",
                24 => "mediumint",
                32 => "int",
                _ => "bigint",
            };
            format!("{name}{}", if *unsigned { " unsigned" } else { "" })
        }
        Type::Float { bits: 32 } => "float".into(),
        Type::Float { .. } => "double".into(),
        Type::Numeric => match numbers.as_slice() {
            [precision @ 1..=65] => format!("decimal({precision},0)"),
            [precision @ 1..=65, scale @ 0..=30] if scale <= precision => format!("decimal({precision},{scale})"),
            _ => text(None),
        },
        Type::Text | Type::Char => text(numbers.first().and_then(|chars| u32::try_from(*chars).ok())),
        Type::Bytes if is_key => format!("varbinary({most_bytes})"),
        Type::Bytes => "longblob".into(),
        Type::Date => "date".into(),
        Type::Time => "time(6)".into(),
        Type::Timestamp | Type::TimestampTz => "datetime(6)".into(),
        Type::Uuid => "char(36) character set ascii collate ascii_bin".into(),
        Type::TimeTz
        | Type::Interval
        | Type::Json
        | Type::Xml
        | Type::Bits
        | Type::Enum
        | Type::Array(_)
        | Type::Other => text(None),
    }
}

/// The numbers in parentheses at the end of a PostgreSQL type or before its words: `numeric(10,2)`. Arrays have none.
fn numbers(native: &str) -> Vec<i64> {
    let inside = native.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(inside, _)| inside);
    inside.split(',').filter_map(|number| number.trim().parse().ok()).collect()
}

/// A native text of one server as another takes it.
fn mysql_type(native: &str, server: Server) -> String {
    let native = match Kind::parse(native) {
        Some(Kind::Uuid) if !server.is_mariadb(10, 7) => "char(36) character set ascii collate ascii_bin".into(),
        Some(Kind::Inet6 | Kind::Inet4) if !server.is_mariadb(10, 10) => {
            "varchar(45) character set ascii collate ascii_bin".into()
        }
        Some(Kind::Vector) if !server.is_mysql(9, 0) && !server.is_mariadb(11, 7) => "longblob".into(),
        Some(Kind::Json) if !server.is_mysql(5, 8) => {
            // MariaDB's JSON is this, with a check of its form that MySQL's own text always passes.
            "longtext character set utf8mb4 collate utf8mb4_bin".into()
        }
        // MySQL's name for it since 8.0, which others do not know.
        _ if native == "geomcollection" && !server.is_mysql(8, 0) => "geometrycollection".into(),
        _ => native.to_owned(),
    };
    known_collation(&without_widths(native, server), server)
}

/// MySQL 8.0 warns of widths of whole numbers, which mean nothing to values. That of tinyint(1) tells a truth value.
fn without_widths(native: String, server: Server) -> String {
    let is_int = matches!(Kind::parse(&native), Some(Kind::Int { .. }));
    if !server.is_mysql(8, 0) || !is_int || native.starts_with("tinyint(1)") || native.contains("zerofill") {
        return native;
    }
    match (native.find('('), native.find(')')) {
        (Some(start), Some(end)) if start < end => format!("{}{}", &native[..start], &native[end + 1..]),
        _ => native,
    }
}

/// Names the nearest collation where the server lacks the one that is named.
fn known_collation(native: &str, server: Server) -> String {
    const MARK: &str = " collate ";
    // Labels of an enum may hold the words.
    let Some(at) = native.rfind(MARK).filter(|at| !native[*at..].contains('\'')) else { return native.to_owned() };
    let (before, collation) = (&native[..at], native[at + MARK.len()..].trim());
    let nearest = nearest_collation(collation, server);
    if nearest != collation {
        tracing::warn!("the target has no collation {collation}: {nearest} takes its place");
    }
    let before = match server.is_mysql(5, 5) && nearest.starts_with("utf8_") {
        // The name of older servers, which newer ones still take.
        true => before.replace("utf8mb3", "utf8"),
        false => before.to_owned(),
    };
    format!("{before}{MARK}{nearest}")
}

fn nearest_collation(collation: &str, server: Server) -> String {
    let knows_0900 = server.is_mysql(8, 0);
    let knows_uca1400 = server.is_mariadb(10, 10);
    let charset = collation.split('_').next().unwrap_or("utf8mb4");
    // What the source tells apart the target has to tell apart too, or a row takes another one's place: blanks at the end count,
    // and beyond the basic plane no letter equals another.
    if collation.contains("_0900_") && !knows_0900 {
        let strength = collation.split("_0900_").nth(1).unwrap_or_default();
        return match strength {
            "bin" => by_bytes(server).into(),
            _ if knows_uca1400 => format!("utf8mb4_uca1400_nopad_{}", strength.trim_end_matches("_ks")),
            "ai_ci" if server.is_mariadb(10, 2) => "utf8mb4_unicode_520_nopad_ci".into(),
            "ai_ci" => "utf8mb4_unicode_520_ci".into(),
            _ => by_bytes(server).into(),
        };
    }
    if collation.contains("uca1400") && !knows_uca1400 {
        let sensitive = collation.contains("_as_cs") || collation.ends_with("_cs");
        return match (charset, sensitive, knows_0900) {
            ("utf8mb4", true, true) => "utf8mb4_0900_as_cs".into(),
            ("utf8mb4", false, true) => "utf8mb4_0900_ai_ci".into(),
            // MariaDB prints the name without its character set.
            ("uca1400", _, true) => "utf8mb4_0900_ai_ci".into(),
            ("uca1400", _, false) => "utf8mb4_unicode_ci".into(),
            (charset, true, _) => format!("{charset}_bin"),
            (charset, false, _) => format!("{charset}_unicode_ci"),
        };
    }
    if collation.contains("_nopad_") && !server.is_mariadb(10, 2) {
        return match collation {
            "utf8mb4_unicode_nopad_ci" | "utf8mb4_unicode_520_nopad_ci" if knows_0900 => "utf8mb4_0900_ai_ci".into(),
            _ if charset == "utf8mb4" => by_bytes(server).into(),
            other => other.replace("_nopad_", "_"),
        };
    }
    // MySQL 8.0.30 and MariaDB 10.6 print the longer name; older servers know the shorter only.
    let old = !server.is_mysql(8, 0) && !server.is_mariadb(10, 6);
    match collation.strip_prefix("utf8mb3_") {
        Some(rest) if old => format!("utf8_{rest}"),
        _ => collation.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Flavor;
    use rowferry_api::Fill;

    const OLD: Server = Server { flavor: Flavor::Mysql, version: (5, 6, 24) };
    const NEW: Server = Server { flavor: Flavor::Mysql, version: (9, 7, 0) };
    const OLDER: Server = Server { flavor: Flavor::Mariadb, version: (10, 5, 28) };
    const MARIADB: Server = Server { flavor: Flavor::Mariadb, version: (10, 11, 14) };

    fn column(ty: Type, native: &str) -> Column {
        Column {
            id: 0,
            name: "c".into(),
            ty,
            native: native.into(),
            nullable: true,
            default: None,
            identity: false,
            generated: None,
            fill: Fill::Null,
        }
    }

    #[test]
    fn types_of_postgres_become_what_holds_their_values() {
        let here = |ty, native: &str, is_key: bool| {
            type_here(&column(ty, native), Dialect::Postgres, usize::from(is_key), NEW, Spare::default())
        };
        assert_eq!(here(Type::Numeric, "numeric(12,2)", false), "decimal(12,2)");
        assert_eq!(
            here(Type::Numeric, "numeric(2,5)", false),
            "longtext character set utf8mb4 collate utf8mb4_0900_bin"
        );
        assert_eq!(here(Type::Text, "text", true), "varchar(768) character set utf8mb4 collate utf8mb4_0900_bin");
        assert_eq!(
            here(Type::Text, "character varying(20)", false),
            "varchar(20) character set utf8mb4 collate utf8mb4_0900_bin"
        );
        assert_eq!(here(Type::Bytes, "bytea", true), "varbinary(3072)");
        assert_eq!(here(Type::Int { bits: 32, unsigned: true }, "oid", false), "int unsigned");
        let old = type_here(&column(Type::Text, "text"), Dialect::Postgres, 1, OLD, Spare::default());
        assert_eq!(old, "varchar(191) character set utf8mb4 collate utf8mb4_bin");
    }

    #[test]
    fn what_a_server_does_not_know_becomes_the_nearest() {
        let cases = [
            (MARIADB, "varchar(9) character set utf8mb4 collate utf8mb4_0900_ai_ci", "utf8mb4_uca1400_nopad_ai_ci"),
            (
                MARIADB,
                "varchar(9) character set utf8mb4 collate utf8mb4_ja_0900_as_cs_ks",
                "utf8mb4_uca1400_nopad_as_cs",
            ),
            (MARIADB, "varchar(9) character set utf8mb4 collate utf8mb4_0900_bin", "utf8mb4_nopad_bin"),
            (OLDER, "varchar(9) character set utf8mb4 collate utf8mb4_0900_ai_ci", "utf8mb4_unicode_520_nopad_ci"),
            (OLDER, "varchar(9) character set utf8mb4 collate utf8mb4_0900_as_ci", "utf8mb4_nopad_bin"),
            (OLD, "varchar(9) character set utf8mb4 collate utf8mb4_0900_ai_ci", "utf8mb4_unicode_520_ci"),
            (NEW, "varchar(9) character set utf8mb4 collate utf8mb4_general_nopad_ci", "utf8mb4_0900_bin"),
            (NEW, "varchar(9) character set utf8mb4 collate utf8mb4_unicode_nopad_ci", "utf8mb4_0900_ai_ci"),
            (NEW, "varchar(9) character set utf8mb4 collate utf8mb4_uca1400_ai_ci", "utf8mb4_0900_ai_ci"),
            (OLD, "varchar(9) character set utf8mb4 collate utf8mb4_uca1400_ai_ci", "utf8mb4_unicode_ci"),
            (NEW, "varchar(9) character set utf8mb4 collate utf8mb4_nopad_bin", "utf8mb4_0900_bin"),
            (NEW, "varchar(9) character set latin1 collate latin1_swedish_ci", "latin1_swedish_ci"),
        ];
        for (server, native, expected) in cases {
            let here = mysql_type(native, server);
            assert_eq!(here.rsplit(' ').next(), Some(expected), "{native} at {server}");
        }
        assert_eq!(mysql_type("int(11) unsigned", NEW), "int unsigned");
        assert_eq!(mysql_type("int(11)", OLD), "int(11)");
        assert_eq!(mysql_type("geomcollection", MARIADB), "geometrycollection");
        assert_eq!(mysql_type("geomcollection", NEW), "geomcollection");
        assert_eq!(mysql_type("uuid", NEW), "char(36) character set ascii collate ascii_bin");
        assert_eq!(
            mysql_type("varchar(3) character set utf8mb3 collate utf8mb3_general_ci", OLD),
            "varchar(3) character set utf8 collate utf8_general_ci"
        );
    }
}
