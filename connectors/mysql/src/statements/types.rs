//! Data types as statements write them, and the native text that stands for each in a form.
//!
//! The native text has the shape of `kind.rs`: what COLUMN_TYPE says as far as values depend on it, so without display
//! widths, and `character set x [collate y]` behind character types. Labels stand in it as they are, with quotes doubled.

use super::SqlMode;
use super::charset::{Charset, CharsetSpec};
use super::cursor::Cursor;
use super::tokens::Token;
use crate::kind::Kind;

/// A data type before its character set is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ColumnType {
    /// Takes no character set: its native text.
    Plain(String),
    Char {
        chars: u64,
    },
    Varchar {
        chars: u64,
    },
    /// `tiny`, nothing, `medium` or `long`.
    Text {
        prefix: &'static str,
    },
    /// `TEXT(n)`: the smallest that holds so many characters.
    SizedText {
        chars: u64,
    },
    Labels {
        is_set: bool,
        labels: Vec<String>,
    },
    Unknown,
}

/// The most bytes of a VARCHAR; what is longer becomes a TEXT where the mode is not strict. MySQL has room for some more
/// where MariaDB takes a TEXT: there nothing is told.
const MAX_VARCHAR_BYTES: u64 = 65_532;
const FIRST_OF_NEITHER: u64 = MAX_VARCHAR_BYTES + 1;
const LAST_OF_NEITHER: u64 = 65_535;

/// Reads a type's name and what stands in parentheses behind it. `BYTE` and national types say something of the character set.
pub(super) fn read(cursor: &mut Cursor<'_>, charset: &mut CharsetSpec) -> ColumnType {
    let oracle = cursor.mode.has(SqlMode::ORACLE);
    let Some(Token::Word(word)) = cursor.next() else { return ColumnType::Unknown };
    let name = word.to_ascii_lowercase();
    if oracle {
        return ColumnType::Unknown;
    }
    match name.as_str() {
        "char" | "character" | "varchar" | "varcharacter" | "national" | "nchar" | "nvarchar" => {
            characters(&name, cursor, charset)
        }
        "long" => long(cursor),
        "tinytext" => ColumnType::Text { prefix: "tiny" },
        "mediumtext" => ColumnType::Text { prefix: "medium" },
        "longtext" => ColumnType::Text { prefix: "long" },
        "text" => match numbers(cursor).first() {
            None => ColumnType::Text { prefix: "" },
            // MySQL 8 makes a TINYTEXT of it, others do not.
            Some(0) => ColumnType::Unknown,
            Some(chars) => ColumnType::SizedText { chars: *chars },
        },
        "enum" | "set" => {
            labels(cursor).map_or(ColumnType::Unknown, |labels| ColumnType::Labels { is_set: name == "set", labels })
        }
        _ => plain(&name, cursor).map_or(ColumnType::Unknown, ColumnType::Plain),
    }
}

/// `CHAR`, `CHARACTER VARYING`, `NATIONAL CHAR VARYING`, `NCHAR VARCHAR` and the like.
fn characters(first: &str, cursor: &mut Cursor<'_>, charset: &mut CharsetSpec) -> ColumnType {
    let mut varying = first.starts_with("varchar") || first == "nvarchar";
    if matches!(first, "national" | "nchar" | "nvarchar") {
        charset.charset = Some("utf8mb3".to_owned());
    }
    if first == "national" && !cursor.starts(&["VARCHAR"]) {
        cursor.eat_any(&["CHAR", "CHARACTER"]);
    }
    varying |= cursor.eat_any(&["VARYING", "VARCHAR", "VARCHARACTER"]);
    let length = numbers(cursor).first().copied();
    match (varying, length) {
        (false, chars) => ColumnType::Char { chars: chars.unwrap_or(1) },
        (true, Some(chars)) => ColumnType::Varchar { chars },
        (true, None) => ColumnType::Unknown,
    }
}

/// `LONG`, `LONG VARCHAR`, `LONG CHAR VARYING`, `LONG VARBINARY`.
fn long(cursor: &mut Cursor<'_>) -> ColumnType {
    if cursor.eat("VARBINARY") {
        return ColumnType::Plain("mediumblob".to_owned());
    }
    // `LONG CHARACTER SET x` is no `LONG CHARACTER`.
    if !cursor.eat_all(&["CHAR", "VARYING"]) && !cursor.eat_all(&["CHARACTER", "VARYING"]) {
        cursor.eat_any(&["VARCHAR", "VARCHARACTER"]);
    }
    ColumnType::Text { prefix: "medium" }
}

fn plain(name: &str, cursor: &mut Cursor<'_>) -> Option<String> {
    let real_as_float = cursor.mode.has(SqlMode::REAL_AS_FLOAT);
    if matches!(name, "double" | "float8") {
        cursor.eat("PRECISION");
    }
    let numbers = numbers(cursor);
    let first = numbers.first().copied();
    let int = match name {
        "tinyint" | "int1" => Some("tinyint"),
        "bool" | "boolean" => return Some("tinyint".to_owned()),
        "smallint" | "int2" => Some("smallint"),
        "mediumint" | "int3" | "middleint" => Some("mediumint"),
        "int" | "integer" | "int4" => Some("int"),
        "bigint" | "int8" => Some("bigint"),
        "serial" => return Some("bigint unsigned".to_owned()),
        _ => None,
    };
    if let Some(int) = int {
        return Some(format!("{int}{}", signs(cursor)));
    }
    Some(match name {
        "decimal" | "dec" | "numeric" | "fixed" => {
            let precision = first.filter(|precision| *precision > 0).unwrap_or(10);
            format!("decimal({precision},{}){}", numbers.get(1).copied().unwrap_or(0), signs(cursor))
        }
        // Its single number says how many bits the user asked for.
        "float" if numbers.len() == 1 && first > Some(24) => format!("double{}", signs(cursor)),
        "float" | "float4" => format!("float{}", signs(cursor)),
        "real" if real_as_float => format!("float{}", signs(cursor)),
        "real" | "double" | "float8" => format!("double{}", signs(cursor)),
        "bit" => format!("bit({})", first.unwrap_or(1).max(1)),
        "binary" => format!("binary({})", first.unwrap_or(1)),
        "varbinary" => match first? {
            bytes @ 0..=MAX_VARCHAR_BYTES => format!("varbinary({bytes})"),
            FIRST_OF_NEITHER..=LAST_OF_NEITHER => return None,
            bytes => format!("{}blob", prefix_for(bytes)),
        },
        "tinyblob" | "mediumblob" | "longblob" | "date" | "year" | "json" | "uuid" | "inet4" | "inet6" | "geometry"
        | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
        | "geometrycollection" | "geomcollection" => name.to_owned(),
        "blob" => match first {
            Some(0) => return None,
            Some(bytes) => format!("{}blob", prefix_for(bytes)),
            None => "blob".to_owned(),
        },
        // The former `TIMESTAMP(14)` is read as six digits at most.
        "time" | "datetime" | "timestamp" => match first.unwrap_or(0) {
            0 => name.to_owned(),
            digits => format!("{name}({digits})"),
        },
        "vector" => format!("vector({})", first.unwrap_or(2048)),
        _ => return None,
    })
}

/// The numbers in parentheses, if they are there.
fn numbers(cursor: &mut Cursor<'_>) -> Vec<u64> {
    let Some(mut group) = cursor.group() else { return Vec::new() };
    let mut numbers = Vec::new();
    while let Some(number) = group.number() {
        numbers.push(number);
        group.eat_symbol(',');
    }
    numbers
}

fn signs(cursor: &mut Cursor<'_>) -> &'static str {
    let (mut unsigned, mut zerofill) = (false, false);
    loop {
        if cursor.eat("UNSIGNED") {
            unsigned = true;
        } else if cursor.eat("ZEROFILL") {
            zerofill = true;
        } else if !cursor.eat("SIGNED") {
            break;
        }
    }
    match (unsigned, zerofill) {
        (_, true) => " unsigned zerofill",
        (true, false) => " unsigned",
        (false, false) => "",
    }
}

/// Labels may be written in hexadecimal, in bytes that only their character set tells: those are not read.
fn labels(cursor: &mut Cursor<'_>) -> Option<Vec<String>> {
    let mut group = cursor.group()?;
    let mut labels = Vec::new();
    while let Some(token) = group.next() {
        let Token::Text(label) = token else { return None };
        labels.push(label.clone());
        if !group.eat_symbol(',') && !group.is_at_end() {
            return None;
        }
    }
    Some(labels)
}

/// The prefix of the smallest TEXT or BLOB for so many bytes.
fn prefix_for(bytes: u64) -> &'static str {
    match bytes {
        0..=0xff => "tiny",
        0x100..=0xffff => "",
        0x1_0000..=0xff_ffff => "medium",
        _ => "long",
    }
}

impl ColumnType {
    /// A TEXT or BLOB, or what may become one.
    pub(super) fn is_long(&self) -> bool {
        match self {
            Self::Plain(native) => native.ends_with("blob"),
            Self::Text { .. } | Self::SizedText { .. } => true,
            Self::Varchar { chars } => *chars > MAX_VARCHAR_BYTES / 4,
            _ => false,
        }
    }

    /// The native text with this character set. `None` if the type or the character set is not known.
    pub(super) fn native(&self, charset: Option<&Charset>) -> Option<String> {
        let charset = match self {
            Self::Plain(native) => return Some(native.clone()),
            Self::Unknown => return None,
            _ => charset?,
        };
        let binary = charset.is_binary();
        let bytes = |chars: u64| Some(chars.saturating_mul(charset.max_bytes()?));
        let sized = |prefix: &str| if binary { format!("{prefix}blob") } else { format!("{prefix}text") };
        let native = match self {
            Self::Char { chars } if binary => format!("binary({chars})"),
            Self::Char { chars } => format!("char({chars})"),
            Self::Varchar { chars } => match bytes(*chars)? {
                0..=MAX_VARCHAR_BYTES => format!("{}({chars})", if binary { "varbinary" } else { "varchar" }),
                FIRST_OF_NEITHER..=LAST_OF_NEITHER => return None,
                bytes => sized(prefix_for(bytes)),
            },
            Self::Text { prefix } => sized(prefix),
            Self::SizedText { chars } => sized(prefix_for(bytes(*chars)?)),
            Self::Labels { is_set, labels } => {
                // The server drops trailing blanks where they carry no meaning.
                let kept = |label: &str| if binary { label.to_owned() } else { label.trim_end_matches(' ').to_owned() };
                let labels = labels.iter().map(|label| format!("'{}'", kept(label).replace('\'', "''")));
                format!("{}({})", if *is_set { "set" } else { "enum" }, labels.collect::<Vec<_>>().join(","))
            }
            Self::Plain(_) | Self::Unknown => return None,
        };
        let takes_charset = !binary || matches!(self, Self::Labels { .. });
        Some(if takes_charset { format!("{native}{}", suffix(charset)) } else { native })
    }
}

fn suffix(charset: &Charset) -> String {
    let collation = charset.collation.as_ref().map_or(String::new(), |collation| format!(" collate {collation}"));
    format!(" character set {}{collation}", charset.name)
}

/// What `CONVERT TO CHARACTER SET` makes of a column. A TEXT grows where it must hold as many characters as before.
/// `None` if that cannot be told.
pub(super) fn converted(native: &str, to: &Charset) -> Option<String> {
    let ty = match Kind::parse(native)? {
        Kind::Char { chars, .. } => ColumnType::Char { chars: chars.into() },
        Kind::Varchar { chars, .. } => ColumnType::Varchar { chars: chars.into() },
        Kind::Text { max_bytes, .. } if max_bytes > 0xff_ffff => ColumnType::Text { prefix: "long" },
        Kind::Text { max_bytes, charset } => {
            ColumnType::SizedText { chars: max_bytes / Charset::new(&charset, None).max_bytes()? }
        }
        // MySQL's catalog names no character set where labels are bytes, and those stay.
        Kind::Enum { .. } | Kind::Set { .. } if native.ends_with(')') => return Some(native.to_owned()),
        Kind::Enum { labels, charset } if charset != "binary" => labels_converted(false, labels, &charset, to)?,
        Kind::Set { labels, charset } if charset != "binary" => labels_converted(true, labels, &charset, to)?,
        _ => return Some(native.to_owned()),
    };
    ty.native(Some(to))
}

/// Servers damage labels that they convert from or to a character set without single bytes.
fn labels_converted(is_set: bool, labels: Vec<String>, from: &str, to: &Charset) -> Option<ColumnType> {
    let is_wide = |name: &str| ["ucs2", "utf16", "utf32"].iter().any(|wide| name.starts_with(wide));
    (!is_wide(from) && !is_wide(&to.name)).then_some(ColumnType::Labels { is_set, labels })
}
