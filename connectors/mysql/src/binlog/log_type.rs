//! A column's type as TABLE_MAP has it: a code, and metadata bytes that say how the values are framed.

use super::reader::{CUT, Decoded, Malformed, Reader};
use crate::connection::Flavor;
use std::fmt;

/// The types that a log may hold (MySQL source documentation, "Table_map_event"; MariaDB adds the compressed ones).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogType {
    /// 1, 2, 3, 4 or 8 bytes.
    Int {
        bytes: u8,
    },
    Float,
    Double,
    Decimal {
        precision: u8,
        scale: u8,
    },
    Year,
    Bit {
        bits: u16,
    },
    Date,
    /// The forms of MySQL before 5.6.4, without fractions.
    OldTime,
    OldDatetime,
    OldTimestamp,
    Time {
        digits: u8,
    },
    Datetime {
        digits: u8,
    },
    Timestamp {
        digits: u8,
    },
    /// CHAR and BINARY, and MariaDB's types that it stores like them.
    String {
        max_bytes: u16,
    },
    Varchar {
        max_bytes: u16,
        compressed: bool,
    },
    /// BLOB and TEXT: how many bytes their length takes.
    Blob {
        length_bytes: u8,
        compressed: bool,
    },
    Geometry {
        length_bytes: u8,
    },
    Json {
        length_bytes: u8,
    },
    Vector {
        length_bytes: u8,
    },
    Enum {
        bytes: u8,
    },
    Set {
        bytes: u8,
    },
}

impl LogType {
    /// The type `code` with its metadata taken off the front of `metadata`.
    pub(super) fn read(code: u8, metadata: &mut Reader<'_>) -> Decoded<Self> {
        let int = |bytes| Ok(Self::Int { bytes });
        match code {
            1 => int(1),
            2 => int(2),
            3 => int(4),
            4 => metadata.u8().map(|_| Self::Float),
            5 => metadata.u8().map(|_| Self::Double),
            7 => Ok(Self::OldTimestamp),
            8 => int(8),
            9 => int(3),
            10 | 14 => Ok(Self::Date),
            11 => Ok(Self::OldTime),
            12 => Ok(Self::OldDatetime),
            13 => Ok(Self::Year),
            15 | 141 => Ok(Self::Varchar { max_bytes: metadata.u16()?, compressed: code == 141 }),
            16 => {
                let (bits, bytes) = (u16::from(metadata.u8()?), u16::from(metadata.u8()?));
                if bits > 7 || bytes > 8 {
                    return Err(Malformed("a BIT column has more than 64 bits"));
                }
                Ok(Self::Bit { bits: bytes * 8 + bits })
            }
            17 => digits(metadata).map(|digits| Self::Timestamp { digits }),
            18 => digits(metadata).map(|digits| Self::Datetime { digits }),
            19 => digits(metadata).map(|digits| Self::Time { digits }),
            140 | 252 => Ok(Self::Blob { length_bytes: length_bytes(metadata)?, compressed: code == 140 }),
            242 => length_bytes(metadata).map(|length_bytes| Self::Vector { length_bytes }),
            245 => length_bytes(metadata).map(|length_bytes| Self::Json { length_bytes }),
            255 => length_bytes(metadata).map(|length_bytes| Self::Geometry { length_bytes }),
            246 => {
                let (precision, scale) = (metadata.u8()?, metadata.u8()?);
                if precision > 65 || scale > precision {
                    return Err(Malformed("a DECIMAL column has more digits than 65"));
                }
                Ok(Self::Decimal { precision, scale })
            }
            254 => Self::read_string(metadata.u8()?, metadata.u8()?),
            _ => Err(Malformed("a column is of a type that is not known")),
        }
    }

    /// ENUM and SET hide behind CHAR's code. A CHAR of more than 255 bytes has two bits of its length in the first byte.
    fn read_string(first: u8, second: u8) -> Decoded<Self> {
        match first {
            247 if matches!(second, 1 | 2) => Ok(Self::Enum { bytes: second }),
            248 if matches!(second, 1..=4 | 8) => Ok(Self::Set { bytes: second }),
            247 | 248 => Err(Malformed("an ENUM or SET column has values of an unknown length")),
            _ if first | 0x30 == 254 => {
                let high = u16::from((first & 0x30) ^ 0x30) << 4;
                Ok(Self::String { max_bytes: high | u16::from(second) })
            }
            _ => Err(Malformed("a column is of a type that is not known")),
        }
    }

    /// Takes a value off the front of `reader`, without the length before it.
    #[inline]
    pub(super) fn split_value<'a>(self, reader: &mut Reader<'a>) -> Decoded<&'a [u8]> {
        match self.frame() {
            Frame::Fixed(len) => reader.take(len),
            Frame::Length(bytes) => {
                let len = reader.uint(bytes)?;
                reader.take(usize::try_from(len).map_err(|_| CUT)?)
            }
        }
    }

    #[inline]
    fn frame(self) -> Frame {
        let prefixed = |max_bytes: u16| Frame::Length(if max_bytes < 256 { 1 } else { 2 });
        match self {
            Self::Int { bytes } | Self::Enum { bytes } | Self::Set { bytes } => Frame::Fixed(usize::from(bytes)),
            Self::Float | Self::OldTimestamp => Frame::Fixed(4),
            Self::Double | Self::OldDatetime => Frame::Fixed(8),
            Self::Decimal { precision, scale } => Frame::Fixed(super::decimal::binary_len(precision, scale)),
            Self::Year => Frame::Fixed(1),
            Self::Bit { bits } => Frame::Fixed(usize::from(bits.div_ceil(8))),
            Self::Date | Self::OldTime => Frame::Fixed(3),
            Self::Time { digits } => Frame::Fixed(3 + usize::from(digits.div_ceil(2))),
            Self::Datetime { digits } => Frame::Fixed(5 + usize::from(digits.div_ceil(2))),
            Self::Timestamp { digits } => Frame::Fixed(4 + usize::from(digits.div_ceil(2))),
            Self::String { max_bytes } | Self::Varchar { max_bytes, .. } => prefixed(max_bytes),
            Self::Blob { length_bytes, .. }
            | Self::Geometry { length_bytes }
            | Self::Json { length_bytes }
            | Self::Vector { length_bytes } => Frame::Length(usize::from(length_bytes)),
        }
    }

    /// Among the columns that the signedness field of the metadata counts.
    pub(super) fn has_sign(self) -> bool {
        matches!(self, Self::Int { .. } | Self::Float | Self::Double | Self::Decimal { .. } | Self::Year)
    }

    /// Among the columns that the character set fields of the metadata count. MariaDB counts geometries.
    pub(super) fn has_charset(self, flavor: Flavor) -> bool {
        match self {
            Self::String { .. } | Self::Varchar { .. } | Self::Blob { .. } | Self::Vector { .. } => true,
            Self::Geometry { .. } => flavor == Flavor::Mariadb,
            _ => false,
        }
    }
}

enum Frame {
    Fixed(usize),
    /// The value's length stands before it in so many bytes.
    Length(usize),
}

fn digits(metadata: &mut Reader<'_>) -> Decoded<u8> {
    let digits = metadata.u8()?;
    if digits <= 6 { Ok(digits) } else { Err(Malformed("a column has more than 6 digits of a second's fraction")) }
}

fn length_bytes(metadata: &mut Reader<'_>) -> Decoded<u8> {
    let bytes = metadata.u8()?;
    if matches!(bytes, 1..=4) { Ok(bytes) } else { Err(Malformed("a column's values have lengths of over 4 bytes")) }
}

/// For messages: the type as its native name would be.
impl fmt::Display for LogType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int { bytes } => write!(f, "an integer of {bytes} bytes"),
            Self::Float => f.write_str("float"),
            Self::Double => f.write_str("double"),
            Self::Decimal { precision, scale } => write!(f, "decimal({precision},{scale})"),
            Self::Year => f.write_str("year"),
            Self::Bit { bits } => write!(f, "bit({bits})"),
            Self::Date => f.write_str("date"),
            Self::OldTime => f.write_str("time in the form of MySQL 5.5"),
            Self::OldDatetime => f.write_str("datetime in the form of MySQL 5.5"),
            Self::OldTimestamp => f.write_str("timestamp in the form of MySQL 5.5"),
            Self::Time { digits } => write!(f, "time({digits})"),
            Self::Datetime { digits } => write!(f, "datetime({digits})"),
            Self::Timestamp { digits } => write!(f, "timestamp({digits})"),
            Self::String { max_bytes } => write!(f, "char or binary of {max_bytes} bytes"),
            Self::Varchar { max_bytes, compressed } => {
                write!(f, "varchar or varbinary of {max_bytes} bytes{}", if *compressed { ", compressed" } else { "" })
            }
            Self::Blob { length_bytes, compressed } => {
                let compressed = if *compressed { ", compressed" } else { "" };
                write!(f, "text or blob with a length of {length_bytes} bytes{compressed}")
            }
            Self::Geometry { .. } => f.write_str("geometry"),
            Self::Json { .. } => f.write_str("json in binary form"),
            Self::Vector { .. } => f.write_str("vector"),
            Self::Enum { bytes } => write!(f, "enum of {bytes} bytes"),
            Self::Set { bytes } => write!(f, "set of {bytes} bytes"),
        }
    }
}
