//! What a column is, read from its native text.
//!
//! The native text of a column is what `information_schema.COLUMNS.COLUMN_TYPE` says, and for character types the character
//! set and collation after it: `int(10) unsigned`, `enum('a','b') character set latin1 collate latin1_swedish_ci`. It is
//! all that decoding, reading and writing a column need. MariaDB's JSON, which its catalog calls longtext, is `json`.

use rowferry_api::Type;

/// A column's type with what its values need to be read. The number of fractional digits of seconds is `digits`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// 8, 16, 24, 32 or 64 bits.
    Int {
        bits: u8,
        unsigned: bool,
    },
    /// 0 (for 0000) or 1901 to 2155.
    Year,
    Decimal {
        precision: u8,
        scale: u8,
    },
    Float,
    Double,
    /// 1 to 64 bits.
    Bit {
        bits: u8,
    },
    /// Padded on disk, without trailing blanks where it is read.
    Char {
        chars: u32,
        charset: String,
    },
    Varchar {
        chars: u32,
        charset: String,
    },
    /// TINYTEXT to LONGTEXT: the most bytes that it holds.
    Text {
        max_bytes: u64,
        charset: String,
    },
    /// Padded with zero bytes to its length.
    Binary {
        bytes: u32,
    },
    Varbinary {
        bytes: u32,
    },
    /// TINYBLOB to LONGBLOB: the most bytes that it holds.
    Blob {
        max_bytes: u64,
    },
    /// Labels by their number, from 1 on; 0 is the empty text of a value that was refused.
    Enum {
        labels: Vec<String>,
        charset: String,
    },
    /// Labels by their bit.
    Set {
        labels: Vec<String>,
        charset: String,
    },
    Date,
    /// -838:59:59 to 838:59:59.
    Time {
        digits: u8,
    },
    Datetime {
        digits: u8,
    },
    Timestamp {
        digits: u8,
    },
    Json,
    /// SRID (u32, little-endian) and WKB.
    Geometry,
    Uuid,
    Inet4,
    Inet6,
    /// Floats of 32 bits, little-endian.
    Vector,
}

impl Kind {
    /// Reads a native text; `None` for a type that is not known.
    pub(crate) fn parse(native: &str) -> Option<Self> {
        let native = native.trim();
        let end = native.find(|char: char| !char.is_ascii_alphanumeric() && char != '_').unwrap_or(native.len());
        let (name, rest) = (native[..end].to_ascii_lowercase(), &native[end..]);
        let (inside, rest) = parenthesized(rest)?;
        let words = rest.to_ascii_lowercase();
        let unsigned = words.split_whitespace().any(|word| word == "unsigned" || word == "zerofill");
        let mut words = words.split_whitespace().skip_while(|word| *word != "set").skip(1);
        let charset = words.next().unwrap_or("utf8mb4").to_owned();
        let numbers: Vec<u32> = inside.split(',').filter_map(|number| number.trim().parse().ok()).collect();
        let number = |default: u32| numbers.first().copied().unwrap_or(default);
        let digits = || u8::try_from(number(0)).ok().filter(|digits| *digits <= 6);
        let int = |bits| Some(Self::Int { bits, unsigned });
        let binary = charset == "binary";
        match name.as_str() {
            "tinyint" | "bool" | "boolean" => int(8),
            "smallint" => int(16),
            "mediumint" => int(24),
            "int" | "integer" => int(32),
            "bigint" => int(64),
            "year" => Some(Self::Year),
            "decimal" | "numeric" | "dec" | "fixed" => {
                let scale = u8::try_from(numbers.get(1).copied().unwrap_or(0)).ok()?;
                Some(Self::Decimal { precision: u8::try_from(number(10)).ok()?, scale })
            }
            // A single number says how many bits the user asked for.
            "float" if numbers.len() == 1 && number(0) > 24 => Some(Self::Double),
            "float" => Some(Self::Float),
            "double" | "real" => Some(Self::Double),
            "bit" => Some(Self::Bit { bits: u8::try_from(number(1)).ok()? }),
            "char" if binary => Some(Self::Binary { bytes: number(1) }),
            "varchar" if binary => Some(Self::Varbinary { bytes: number(0) }),
            "char" => Some(Self::Char { chars: number(1), charset }),
            "varchar" => Some(Self::Varchar { chars: number(0), charset }),
            "binary" => Some(Self::Binary { bytes: number(1) }),
            "varbinary" => Some(Self::Varbinary { bytes: number(0) }),
            "tinytext" | "text" | "mediumtext" | "longtext" => {
                Some(Self::Text { max_bytes: most_bytes(name.strip_suffix("text")?), charset })
            }
            "tinyblob" | "blob" | "mediumblob" | "longblob" => {
                Some(Self::Blob { max_bytes: most_bytes(name.strip_suffix("blob")?) })
            }
            "enum" => Some(Self::Enum { labels: labels(inside)?, charset }),
            "set" => Some(Self::Set { labels: labels(inside)?, charset }),
            "date" => Some(Self::Date),
            "time" => Some(Self::Time { digits: digits()? }),
            "datetime" => Some(Self::Datetime { digits: digits()? }),
            "timestamp" => Some(Self::Timestamp { digits: digits()? }),
            "json" => Some(Self::Json),
            "uuid" => Some(Self::Uuid),
            "inet4" => Some(Self::Inet4),
            "inet6" => Some(Self::Inet6),
            "vector" => Some(Self::Vector),
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
            | "geomcollection" | "geometrycollection" => Some(Self::Geometry),
            _ => None,
        }
    }

    /// The character set that its values are stored in.
    pub(crate) fn charset(&self) -> Option<&str> {
        match self {
            Self::Char { charset, .. } | Self::Varchar { charset, .. } | Self::Text { charset, .. } => Some(charset),
            _ => None,
        }
    }

    /// What its cells' text means to all stores.
    pub(crate) fn ty(&self) -> Type {
        match self {
            Self::Int { bits, unsigned } => Type::Int { bits: *bits, unsigned: *unsigned },
            Self::Year => Type::Int { bits: 16, unsigned: true },
            Self::Decimal { .. } => Type::Numeric,
            Self::Float => Type::Float { bits: 32 },
            Self::Double => Type::Float { bits: 64 },
            Self::Bit { .. } => Type::Bits,
            Self::Enum { .. } => Type::Enum,
            Self::Char { .. }
            | Self::Varchar { .. }
            | Self::Text { .. }
            | Self::Set { .. }
            | Self::Inet4
            | Self::Inet6 => Type::Text,
            Self::Binary { .. } | Self::Varbinary { .. } | Self::Blob { .. } | Self::Geometry | Self::Vector => {
                Type::Bytes
            }
            Self::Date => Type::Date,
            // Beyond a day, and negative.
            Self::Time { .. } => Type::Interval,
            Self::Datetime { .. } => Type::Timestamp,
            Self::Timestamp { .. } => Type::TimestampTz,
            Self::Json => Type::Json,
            Self::Uuid => Type::Uuid,
        }
    }
}

/// What stands in parentheses at the front, and the rest. Quoted text may hold any of them.
fn parenthesized(text: &str) -> Option<(&str, &str)> {
    let Some(inside) = text.trim_start().strip_prefix('(') else { return Some(("", text)) };
    let mut quoted = false;
    // A doubled quote leaves and enters again.
    let end = inside.char_indices().find(|(_, char)| {
        quoted ^= *char == '\'';
        !quoted && *char == ')'
    });
    end.map(|(end, _)| (&inside[..end], &inside[end + 1..]))
}

fn most_bytes(prefix: &str) -> u64 {
    match prefix {
        "tiny" => 255,
        "medium" => (1 << 24) - 1,
        "long" => (1 << 32) - 1,
        _ => (1 << 16) - 1,
    }
}

/// `'a','it''s'`.
fn labels(text: &str) -> Option<Vec<String>> {
    let mut labels = Vec::new();
    let mut rest = text.trim();
    loop {
        rest = rest.strip_prefix('\'')?;
        let mut label = String::new();
        loop {
            let end = rest.find('\'')?;
            label.push_str(&rest[..end]);
            rest = &rest[end + 1..];
            match rest.strip_prefix('\'') {
                Some(after) => {
                    label.push('\'');
                    rest = after;
                }
                None => break,
            }
        }
        labels.push(label);
        rest = rest.trim_start();
        match rest.strip_prefix(',') {
            Some(after) => rest = after.trim_start(),
            None => return rest.is_empty().then_some(labels),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_texts_are_read() {
        let latin1 = || "latin1".to_owned();
        let cases = [
            ("int(10) unsigned", Some(Kind::Int { bits: 32, unsigned: true })),
            ("mediumint", Some(Kind::Int { bits: 24, unsigned: false })),
            ("int(5) unsigned zerofill", Some(Kind::Int { bits: 32, unsigned: true })),
            ("decimal(65,30)", Some(Kind::Decimal { precision: 65, scale: 30 })),
            ("double(7,3)", Some(Kind::Double)),
            ("float(7,3)", Some(Kind::Float)),
            ("datetime(6)", Some(Kind::Datetime { digits: 6 })),
            ("timestamp", Some(Kind::Timestamp { digits: 0 })),
            (
                "varchar(20) character set latin1 collate latin1_swedish_ci",
                Some(Kind::Varchar { chars: 20, charset: latin1() }),
            ),
            (
                "tinytext character set latin1 collate latin1_bin",
                Some(Kind::Text { max_bytes: 255, charset: latin1() }),
            ),
            ("char(3) character set binary", Some(Kind::Binary { bytes: 3 })),
            (
                "enum('a,b','it''s)','') character set latin1 collate latin1_bin",
                Some(Kind::Enum { labels: vec!["a,b".into(), "it's)".into(), String::new()], charset: latin1() }),
            ),
            ("set('x')", Some(Kind::Set { labels: vec!["x".into()], charset: "utf8mb4".into() })),
            ("multipolygon", Some(Kind::Geometry)),
            ("uuid", Some(Kind::Uuid)),
            ("something", None),
            ("enum('a", None),
            ("time(9)", None),
        ];
        for (native, expected) in cases {
            assert_eq!(Kind::parse(native), expected, "{native}");
        }
    }
}
