//! From what the server prints to the common text of a cell.

use bytes::{BufMut, BytesMut};
use mysql_async::Value;
use mysql_async::consts::ColumnType;
use rowferry_api::{Column, Type, encode_copy_cell};

/// What a column's values need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Converter {
    /// Nothing.
    Same,
    /// Zeros in front dropped: ZEROFILL, YEAR.
    Number,
    /// `1` and `0` become `t` and `f`.
    Bool,
    /// A number of 64 bits that was one of 32.
    Single,
    /// Bytes of BIT, so many of its bits counted from the end.
    Bits(usize),
    /// `\x` and hex.
    Bytes,
    /// Trailing zeros of a fraction of a second dropped.
    Time,
    /// The same, with `+00` behind it.
    Moment,
}

impl Converter {
    /// For a column that the server hands out as `found` and that is to be read as `column`.
    pub(super) fn new(column: &Column, found: &mysql_async::Column) -> Self {
        use ColumnType as T;
        let found_type = found.column_type();
        let is_time = matches!(
            found_type,
            T::MYSQL_TYPE_TIME
                | T::MYSQL_TYPE_TIME2
                | T::MYSQL_TYPE_DATETIME
                | T::MYSQL_TYPE_DATETIME2
                | T::MYSQL_TYPE_TIMESTAMP
                | T::MYSQL_TYPE_TIMESTAMP2
        );
        match &column.ty {
            Type::Bool => Self::Bool,
            Type::Int { .. } | Type::Numeric => Self::Number,
            Type::Float { bits: 32 } => Self::Single,
            Type::Bytes => Self::Bytes,
            Type::Bits if found_type == T::MYSQL_TYPE_BIT => Self::Bits(found.column_length() as usize),
            Type::TimestampTz if is_time => Self::Moment,
            // A moment that travels as text says its zone all the same.
            Type::Text if is_time && column.native.starts_with("timestamp") => Self::Moment,
            _ if is_time => Self::Time,
            _ => Self::Same,
        }
    }

    /// Appends a cell in COPY text.
    pub(super) fn put(self, value: Option<&Value>, scratch: &mut Vec<u8>, out: &mut BytesMut) {
        let bytes: &[u8] = match value {
            None | Some(Value::NULL) => return encode_copy_cell(None, out),
            Some(Value::Bytes(bytes)) => bytes,
            // The text protocol has no others.
            Some(other) => return encode_copy_cell(Some(other.as_sql(true).as_bytes()), out),
        };
        match self {
            Self::Same => encode_copy_cell(Some(bytes), out),
            Self::Number => out.put_slice(without_zeros(bytes, scratch)),
            Self::Bool => out.put_u8(if bytes == b"0" { b'f' } else { b't' }),
            Self::Single => out.put_slice(single(bytes).as_bytes()),
            Self::Bits(bits) => put_bits(bytes, bits, out),
            Self::Bytes => put_hex(bytes, out),
            Self::Time => out.put_slice(without_fraction_zeros(bytes)),
            Self::Moment => {
                out.put_slice(without_fraction_zeros(bytes));
                out.put_slice(b"+00");
            }
        }
    }
}

/// `00042` becomes `42`, `-0.50` stays.
fn without_zeros<'a>(text: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
    let (sign, digits) = match text.split_first() {
        Some((b'-', digits)) => (true, digits),
        _ => (false, text),
    };
    let is_zero = |at: usize| digits[at] == b'0' && digits.get(at + 1).is_some_and(u8::is_ascii_digit);
    let zeros = (0..digits.len()).take_while(|&at| is_zero(at)).count();
    if zeros == 0 {
        return text;
    }
    if !sign {
        return &digits[zeros..];
    }
    scratch.clear();
    scratch.push(b'-');
    scratch.extend_from_slice(&digits[zeros..]);
    scratch
}

/// The shortest text of a number of 32 bits that the server printed as one of 64.
fn single(text: &[u8]) -> String {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
    // The value is one of 32 bits: nothing is lost.
    #[expect(clippy::cast_possible_truncation, reason = "the server widened it from 32 bits")]
    let number = number.map(|number| number as f32);
    number.map_or_else(|| String::from_utf8_lossy(text).into_owned(), |number| number.to_string())
}

fn put_bits(bytes: &[u8], bits: usize, out: &mut BytesMut) {
    for place in (0..bits).rev() {
        let byte = bytes.len().checked_sub(place / 8 + 1).map_or(0, |at| bytes[at]);
        out.put_u8(if byte >> (place % 8) & 1 == 1 { b'1' } else { b'0' });
    }
}

fn put_hex(bytes: &[u8], out: &mut BytesMut) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() * 2 + 3);
    // COPY's own escape of the backslash.
    out.put_slice(b"\\\\x");
    for byte in bytes {
        out.put_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    }
}

/// `12:00:00.500000` becomes `12:00:00.5`.
fn without_fraction_zeros(text: &[u8]) -> &[u8] {
    if !text.contains(&b'.') {
        return text;
    }
    let end = text.iter().rposition(|byte| *byte != b'0').map_or(0, |at| at + 1);
    let end = if end > 0 && text[end - 1] == b'.' { end - 1 } else { end };
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(converter: Converter, bytes: &[u8]) -> String {
        let mut out = BytesMut::new();
        converter.put(Some(&Value::Bytes(bytes.to_vec())), &mut Vec::new(), &mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn what_the_server_prints_becomes_the_common_text() {
        let cases: &[(Converter, &[u8], &str)] = &[
            (Converter::Number, b"00042", "42"),
            (Converter::Number, b"0000", "0"),
            (Converter::Number, b"-000.50", "-0.50"),
            (Converter::Number, b"0.00", "0.00"),
            (Converter::Bool, b"1", "t"),
            (Converter::Single, b"0.10000000149011612", "0.1"),
            (Converter::Single, b"-0", "-0"),
            (Converter::Bits(10), b"\x02\x05", "1000000101"),
            (Converter::Bits(9), b"\x01", "000000001"),
            (Converter::Bytes, b"\x00\xff", "\\\\x00ff"),
            (Converter::Bytes, b"", "\\\\x"),
            (Converter::Time, b"-12:00:00.500000", "-12:00:00.5"),
            (Converter::Time, b"12:00:00.000000", "12:00:00"),
            (Converter::Moment, b"2024-01-02 03:04:00", "2024-01-02 03:04:00+00"),
            (Converter::Same, b"a\tb", "a\\tb"),
        ];
        for (converter, bytes, expected) in cases {
            assert_eq!(put(*converter, bytes), *expected, "{converter:?}");
        }
        let mut out = BytesMut::new();
        Converter::Bytes.put(Some(&Value::NULL), &mut Vec::new(), &mut out);
        assert_eq!(&out[..], b"\\N");
    }
}
