//! Whether a column of the log can be the column that the catalog has, and how its values become text.

use super::log_type::LogType;
use crate::charset::{Charset, Charsets};
use crate::kind::Kind;
use rowferry_api::Result;
use std::sync::Arc;

/// How the bytes of a value become a cell.
#[derive(Debug, Clone)]
pub(super) enum Codec {
    Signed,
    Unsigned,
    Year,
    Decimal {
        precision: u8,
        scale: u8,
    },
    Float,
    Double,
    Bit {
        bits: u8,
    },
    Text {
        charset: Charset,
        is_padded: bool,
        is_compressed: bool,
    },
    Bytes {
        is_compressed: bool,
    },
    /// Zero bytes behind it up to this length are not in the log.
    PaddedBytes {
        len: usize,
    },
    Enum {
        labels: Arc<[String]>,
    },
    Set {
        labels: Arc<[String]>,
    },
    Date,
    OldTime,
    OldDatetime,
    OldTimestamp,
    Time,
    Datetime,
    Timestamp,
    Json,
    Uuid,
    Inet4,
    Inet6,
}

/// How values that the log has as `log` are read as `kind`; `Ok(None)` if they cannot be of it.
pub(super) fn codec(log: LogType, kind: &Kind, charsets: &Charsets) -> Result<Option<Codec>> {
    Ok(match (kind, log) {
        (Kind::Char { charset, .. } | Kind::Varchar { charset, .. } | Kind::Text { charset, .. }, _) => {
            text_codec(log, kind, charsets.get(charset)?)
        }
        _ => number_codec(log, kind).or_else(|| time_codec(log, kind)).or_else(|| bytes_codec(log, kind)),
    })
}

fn number_codec(log: LogType, kind: &Kind) -> Option<Codec> {
    match (kind, log) {
        (Kind::Int { bits, unsigned }, LogType::Int { bytes }) if bits / 8 == bytes => {
            Some(if *unsigned { Codec::Unsigned } else { Codec::Signed })
        }
        (Kind::Year, LogType::Year) => Some(Codec::Year),
        (Kind::Decimal { precision, scale }, LogType::Decimal { precision: p, scale: s })
            if (*precision, *scale) == (p, s) =>
        {
            Some(Codec::Decimal { precision: p, scale: s })
        }
        (Kind::Float, LogType::Float) => Some(Codec::Float),
        (Kind::Double, LogType::Double) => Some(Codec::Double),
        (Kind::Bit { bits }, LogType::Bit { bits: log }) if u16::from(*bits) == log => Some(Codec::Bit { bits: *bits }),
        _ => None,
    }
}

fn time_codec(log: LogType, kind: &Kind) -> Option<Codec> {
    match (kind, log) {
        (Kind::Date, LogType::Date) => Some(Codec::Date),
        (Kind::Time { digits: 0 }, LogType::OldTime) => Some(Codec::OldTime),
        (Kind::Datetime { digits: 0 }, LogType::OldDatetime) => Some(Codec::OldDatetime),
        (Kind::Timestamp { digits: 0 }, LogType::OldTimestamp) => Some(Codec::OldTimestamp),
        (Kind::Time { digits }, LogType::Time { digits: log }) if *digits == log => Some(Codec::Time),
        (Kind::Datetime { digits }, LogType::Datetime { digits: log }) if *digits == log => Some(Codec::Datetime),
        (Kind::Timestamp { digits }, LogType::Timestamp { digits: log }) if *digits == log => Some(Codec::Timestamp),
        _ => None,
    }
}

fn text_codec(log: LogType, kind: &Kind, charset: Charset) -> Option<Codec> {
    let most = |chars: u32| chars.saturating_mul(charset.max_char_bytes());
    let (is_padded, is_compressed) = match (kind, log) {
        (Kind::Char { chars, .. }, LogType::String { max_bytes }) if most(*chars) == u32::from(max_bytes) => {
            (true, false)
        }
        (Kind::Varchar { chars, .. }, LogType::Varchar { max_bytes, compressed }) => {
            (fits_varchar(most(*chars), max_bytes, compressed).then_some(false)?, compressed)
        }
        (Kind::Text { max_bytes, .. }, LogType::Blob { length_bytes, compressed }) => {
            ((blob_length_bytes(*max_bytes) == length_bytes).then_some(false)?, compressed)
        }
        _ => return None,
    };
    Some(Codec::Text { charset, is_padded, is_compressed })
}

fn bytes_codec(log: LogType, kind: &Kind) -> Option<Codec> {
    const UUID_BYTES: u16 = 16;
    match (kind, log) {
        (Kind::Binary { bytes }, LogType::String { max_bytes }) if *bytes == u32::from(max_bytes) => {
            Some(Codec::PaddedBytes { len: usize::from(max_bytes) })
        }
        (Kind::Varbinary { bytes }, LogType::Varchar { max_bytes, compressed }) => {
            fits_varchar(*bytes, max_bytes, compressed).then_some(Codec::Bytes { is_compressed: compressed })
        }
        (Kind::Blob { max_bytes }, LogType::Blob { length_bytes, compressed }) => {
            (blob_length_bytes(*max_bytes) == length_bytes).then_some(Codec::Bytes { is_compressed: compressed })
        }
        (Kind::Geometry, LogType::Geometry { .. }) | (Kind::Vector, LogType::Vector { .. }) => {
            Some(Codec::Bytes { is_compressed: false })
        }
        // MariaDB stores vectors like VARBINARY.
        (Kind::Vector, LogType::Varchar { compressed: false, .. }) => Some(Codec::Bytes { is_compressed: false }),
        (Kind::Json, LogType::Json { .. }) => Some(Codec::Json),
        // MariaDB's is LONGTEXT.
        (Kind::Json, LogType::Blob { length_bytes: 4, compressed }) => {
            let charset = Charset::Utf8 { max_char_bytes: 4 };
            Some(Codec::Text { charset, is_padded: false, is_compressed: compressed })
        }
        (Kind::Enum { labels, .. }, LogType::Enum { bytes }) if bytes == enum_bytes(labels.len()) => {
            Some(Codec::Enum { labels: labels.clone().into() })
        }
        (Kind::Set { labels, .. }, LogType::Set { bytes }) if bytes == set_bytes(labels.len()) => {
            Some(Codec::Set { labels: labels.clone().into() })
        }
        (Kind::Uuid, LogType::String { max_bytes: UUID_BYTES }) => Some(Codec::Uuid),
        (Kind::Inet4, LogType::String { max_bytes: 4 }) => Some(Codec::Inet4),
        (Kind::Inet6, LogType::String { max_bytes: UUID_BYTES }) => Some(Codec::Inet6),
        _ => None,
    }
}

/// A compressed column has a byte more, which says how it is compressed.
fn fits_varchar(most: u32, max_bytes: u16, is_compressed: bool) -> bool {
    most + u32::from(is_compressed) == u32::from(max_bytes)
}

fn blob_length_bytes(max_bytes: u64) -> u8 {
    match max_bytes {
        0..=0xff => 1,
        0x100..=0xffff => 2,
        0x1_0000..=0xff_ffff => 3,
        _ => 4,
    }
}

fn enum_bytes(labels: usize) -> u8 {
    if labels < 256 { 1 } else { 2 }
}

fn set_bytes(labels: usize) -> u8 {
    match labels.div_ceil(8) {
        0 | 1 => 1,
        2 => 2,
        3 => 3,
        4 => 4,
        _ => 8,
    }
}
