//! COPY's binary format, for the types that most columns have: a server takes it in at a fraction of the price of text.
//!
//! What is not known here, of types as of values (`infinity`, years before Christ), goes as text.
//!
//! Source: PostgreSQL manual, COPY, "Binary Format"; the types' receive functions (numeric_recv, timestamp_recv, ...).

use bytes::{BufMut, BytesMut};
use rowferry_api::Cell;
use tokio_postgres::types::Type;

/// Days from 1970 to 2000, where PostgreSQL's days start.
const EPOCH_DAYS: i64 = 10_957;
const DAY_US: i64 = 86_400_000_000;
/// Decimal digits of one digit of a numeric.
const GROUP: usize = 4;
const NEGATIVE: u16 = 0x4000;
const MAX_SCALE: usize = 0x3fff;

/// A type whose binary form is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Text,
    Bytea,
    Uuid,
    Json,
    Jsonb,
    Date,
    Time,
    Timestamp,
    TimestampTz,
}

impl Binary {
    /// By the type's name without numbers, as `format_type` spells it, and its number.
    pub(super) fn of(bare: &str, oid: u32) -> Option<Self> {
        Self::named(bare).filter(|binary| Type::from_oid(oid).is_some_and(|ty| binary.is(&ty)))
    }

    fn named(bare: &str) -> Option<Self> {
        Some(match bare {
            "boolean" => Self::Bool,
            "smallint" => Self::Int2,
            "integer" => Self::Int4,
            "bigint" => Self::Int8,
            "real" => Self::Float4,
            "double precision" => Self::Float8,
            "numeric" => Self::Numeric,
            "text" | "character varying" | "character" | "bpchar" => Self::Text,
            "bytea" => Self::Bytea,
            "uuid" => Self::Uuid,
            "json" => Self::Json,
            "jsonb" => Self::Jsonb,
            "date" => Self::Date,
            "time without time zone" => Self::Time,
            "timestamp without time zone" => Self::Timestamp,
            "timestamp with time zone" => Self::TimestampTz,
            _ => return None,
        })
    }

    /// Whether a column of this type takes the form.
    fn is(self, ty: &Type) -> bool {
        match self {
            Self::Bool => *ty == Type::BOOL,
            Self::Int2 => *ty == Type::INT2,
            Self::Int4 => *ty == Type::INT4,
            Self::Int8 => *ty == Type::INT8,
            Self::Float4 => *ty == Type::FLOAT4,
            Self::Float8 => *ty == Type::FLOAT8,
            Self::Numeric => *ty == Type::NUMERIC,
            Self::Text => [Type::TEXT, Type::VARCHAR, Type::BPCHAR].contains(ty),
            Self::Bytea => *ty == Type::BYTEA,
            Self::Uuid => *ty == Type::UUID,
            Self::Json => *ty == Type::JSON,
            Self::Jsonb => *ty == Type::JSONB,
            Self::Date => *ty == Type::DATE,
            Self::Time => *ty == Type::TIME,
            Self::Timestamp => *ty == Type::TIMESTAMP,
            Self::TimestampTz => *ty == Type::TIMESTAMPTZ,
        }
    }

    /// Appends a cell with its length. `None`, and an unknown rest in `out`, if this value goes as text only.
    pub(super) fn put(self, cell: Cell<'_>, out: &mut BytesMut) -> Option<()> {
        let text = match cell {
            Cell::Null | Cell::Unchanged => {
                out.put_i32(-1);
                return Some(());
            }
            Cell::Text(text) => text,
            Cell::Raw(bytes) if self == Self::Bytea => return slice(out, bytes),
            Cell::Raw(_) => return None,
        };
        match self {
            Self::Bool => slice(
                out,
                &[match text {
                    b"t" => 1,
                    b"f" => 0,
                    _ => return None,
                }],
            ),
            Self::Int2 => slice(out, &i16::try_from(integer(text)?).ok()?.to_be_bytes()),
            Self::Int4 => slice(out, &i32::try_from(integer(text)?).ok()?.to_be_bytes()),
            Self::Int8 => slice(out, &integer(text)?.to_be_bytes()),
            Self::Float4 => {
                let number: f32 = finite(text)?.parse().ok()?;
                slice(out, &fits(number.into(), text).then_some(number)?.to_be_bytes())
            }
            Self::Float8 => {
                let number: f64 = finite(text)?.parse().ok()?;
                slice(out, &fits(number, text).then_some(number)?.to_be_bytes())
            }
            Self::Date => slice(out, &i32::try_from(date(text)?).ok()?.to_be_bytes()),
            Self::Time => slice(out, &time(text)?.to_be_bytes()),
            Self::Timestamp => slice(out, &timestamp(text)?.to_be_bytes()),
            Self::TimestampTz => slice(out, &timestamp(text.strip_suffix(b"+00")?)?.to_be_bytes()),
            Self::Uuid => uuid(text, out),
            Self::Text | Self::Json => slice(out, text),
            Self::Jsonb => sized(out, |out| {
                out.put_u8(1);
                out.put_slice(text);
                Some(())
            }),
            Self::Bytea => sized(out, |out| unhex(text.strip_prefix(b"\\x")?, out)),
            Self::Numeric => sized(out, |out| numeric(text, out)),
        }
    }
}

/// Appends bytes with their length before them.
fn slice(out: &mut BytesMut, bytes: &[u8]) -> Option<()> {
    out.put_i32(i32::try_from(bytes.len()).ok()?);
    out.put_slice(bytes);
    Some(())
}

/// Appends what `put` does, with its length before it.
fn sized(out: &mut BytesMut, put: impl FnOnce(&mut BytesMut) -> Option<()>) -> Option<()> {
    let start = out.len();
    out.put_i32(0);
    put(out)?;
    let len = i32::try_from(out.len() - start - 4).ok()?;
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
    Some(())
}

fn digits(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    text.iter().try_fold(0_i64, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}

fn integer(text: &[u8]) -> Option<i64> {
    match text.strip_prefix(b"-") {
        Some(rest) => digits(rest).map(|number| -number),
        None => digits(text),
    }
    .or_else(|| std::str::from_utf8(text).ok()?.parse().ok())
}

/// A number that is neither infinite nor none.
fn finite(text: &[u8]) -> Option<&str> {
    let is_plain = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
    if text.iter().all(is_plain) { std::str::from_utf8(text).ok() } else { None }
}

/// Not what became of a number that is too large or too small.
fn fits(number: f64, text: &[u8]) -> bool {
    let digits = text.split(|byte| matches!(byte, b'e' | b'E')).next().unwrap_or_default();
    number.is_finite() && (number != 0.0 || !digits.iter().any(|byte| (b'1'..=b'9').contains(byte)))
}

/// Days since 2000 of `YYYY-MM-DD`.
fn date(text: &[u8]) -> Option<i64> {
    let [y @ .., b'-', m1, m2, b'-', d1, d2] = text else { return None };
    if y.len() != 4 {
        return None;
    }
    let (year, month, day) = (digits(y)?, digits(&[*m1, *m2])?, digits(&[*d1, *d2])?);
    if year == 0 || !(1..=12).contains(&month) || !(1..=days_of(year, month)).contains(&day) {
        return None;
    }
    // Years that start in March, so that a leap day is a year's last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    // 719,468 days lie between the first of March of year 0 and 1970.
    Some(year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468 - EPOCH_DAYS)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Microseconds since 2000 of `YYYY-MM-DD HH:MM:SS[.ffffff]`.
fn timestamp(text: &[u8]) -> Option<i64> {
    let (day, at) = text.split_at_checked(10)?;
    Some(date(day)? * DAY_US + time(at.strip_prefix(b" ")?)?)
}

/// Microseconds of `HH:MM:SS[.ffffff]`.
fn time(text: &[u8]) -> Option<i64> {
    let [h1, h2, b':', m1, m2, b':', s1, s2, fraction @ ..] = text else { return None };
    let (hour, minute, second) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?, digits(&[*s1, *s2])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let fraction_us = match fraction {
        [] => 0,
        [b'.', fraction @ ..] if fraction.len() <= 6 => {
            digits(fraction)? * 10_i64.pow(6 - u32::try_from(fraction.len()).ok()?)
        }
        _ => return None,
    };
    Some(((hour * 60 + minute) * 60 + second) * 1_000_000 + fraction_us)
}

fn unhex(text: &[u8], out: &mut BytesMut) -> Option<()> {
    let nibble = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    for [high, low] in pairs {
        out.put_u8(u8::try_from(nibble(*high)? << 4 | nibble(*low)?).ok()?);
    }
    Some(())
}

fn uuid(text: &[u8], out: &mut BytesMut) -> Option<()> {
    if text.len() != 36 || [8, 13, 18, 23].iter().any(|&place| text[place] != b'-') {
        return None;
    }
    let parts = [&text[..8], &text[9..13], &text[14..18], &text[19..23], &text[24..]];
    sized(out, |out| parts.iter().try_for_each(|part| unhex(part, out)))
}

/// Digits of base 10,000, the first of weight 10,000^weight, and the number of decimals that are shown.
fn numeric(text: &[u8], out: &mut BytesMut) -> Option<()> {
    let (sign, text) = match text.strip_prefix(b"-") {
        Some(rest) => (NEGATIVE, rest),
        None => (0, text),
    };
    let (whole, fraction) = match memchr::memchr(b'.', text) {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &[][..]),
    };
    if whole.is_empty() || fraction.len() > MAX_SCALE || !whole.iter().chain(fraction).all(u8::is_ascii_digit) {
        return None;
    }
    let start = out.len();
    out.put_u64(0);
    let group = |digits: &[u8]| digits.iter().fold(0_i16, |number, digit| number * 10 + i16::from(digit - b'0'));
    let (head, groups) = whole.split_at(whole.len() % GROUP);
    if !head.is_empty() {
        out.put_i16(group(head));
    }
    groups.chunks(GROUP).for_each(|digits| out.put_i16(group(digits)));
    let weight = i16::try_from(whole.len().div_ceil(GROUP)).ok()? - 1;
    for digits in fraction.chunks(GROUP) {
        let missing = u32::try_from(GROUP - digits.len()).ok()?;
        out.put_i16(group(digits) * 10_i16.pow(missing));
    }
    let count = i16::try_from((out.len() - start - 8) / 2).ok()?;
    let scale = i16::try_from(fraction.len()).ok()?;
    let mut head = &mut out[start..start + 8];
    head.put_i16(count);
    head.put_i16(weight);
    head.put_u16(sign);
    head.put_i16(scale);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn put(binary: Binary, text: &str) -> Option<Vec<u8>> {
        let mut out = BytesMut::new();
        binary.put(Cell::Text(text.as_bytes()), &mut out)?;
        let (len, body) = out.split_first_chunk::<4>().unwrap();
        assert_eq!(i32::from_be_bytes(*len) as usize, body.len());
        Some(body.to_vec())
    }

    fn number(binary: Binary, text: &str) -> Option<i64> {
        put(binary, text).map(|body| body.iter().fold(0, |number, byte| number << 8 | i64::from(*byte)))
    }

    #[test]
    fn days_and_moments_are_counted_from_2000() {
        assert_eq!(number(Binary::Timestamp, "2000-01-01 00:00:00"), Some(0));
        assert_eq!(number(Binary::Timestamp, "2000-01-02 00:00:00.5"), Some(DAY_US + 500_000));
        assert_eq!(number(Binary::TimestampTz, "2000-03-01 01:02:03.000004+00"), Some(60 * DAY_US + 3_723_000_004));
        assert_eq!(number(Binary::Time, "23:59:59.999999"), Some(DAY_US - 1));
        assert_eq!(put(Binary::Date, "2000-02-29").unwrap(), 59_i32.to_be_bytes());
        assert_eq!(put(Binary::Date, "1970-01-01").unwrap(), (-10_957_i32).to_be_bytes());
        assert_eq!(put(Binary::Date, "0001-01-01").unwrap(), (-730_119_i32).to_be_bytes());
        assert_eq!(put(Binary::Date, "9999-12-31").unwrap(), 2_921_939_i32.to_be_bytes());
    }

    #[test]
    fn what_is_out_of_the_way_goes_as_text() {
        for (binary, text) in [
            (Binary::Date, "infinity"),
            (Binary::Date, "0044-03-15 BC"),
            (Binary::Date, "10000-01-01"),
            (Binary::Date, "2001-02-29"),
            (Binary::Date, "0000-01-01"),
            (Binary::Timestamp, "-infinity"),
            (Binary::Timestamp, "2000-01-01 24:00:00"),
            (Binary::Timestamp, "2000-01-01 00:00:00.1234567"),
            (Binary::Timestamp, "2000-01-01 00:00:00 BC"),
            (Binary::TimestampTz, "2000-01-01 00:00:00+01"),
            (Binary::TimestampTz, "2000-01-01 00:00:00"),
            (Binary::Time, "24:00:00"),
            (Binary::Bool, "yes"),
            (Binary::Int2, "32768"),
            (Binary::Int4, "2147483648"),
            (Binary::Int8, "9223372036854775808"),
            (Binary::Int8, ""),
            (Binary::Float8, "NaN"),
            (Binary::Float8, "Infinity"),
            (Binary::Float8, "1e400"),
            (Binary::Float8, "1.5e-400"),
            (Binary::Float4, "1e39"),
            (Binary::Float4, "1e-60"),
            (Binary::Numeric, "NaN"),
            (Binary::Numeric, "Infinity"),
            (Binary::Numeric, "1e3"),
            (Binary::Numeric, ""),
            (Binary::Uuid, "00000000-0000-0000-0000-00000000000g"),
            (Binary::Uuid, "00000000000000000000000000000000"),
            (Binary::Bytea, "abc"),
            (Binary::Bytea, "\\xabc"),
        ] {
            assert_eq!(put(binary, text), None, "{binary:?} {text}");
        }
        assert_eq!(Binary::Int4.put(Cell::Raw(b"1"), &mut BytesMut::new()), None);
    }

    #[test]
    fn cells_of_bytes_and_no_cells() {
        let mut out = BytesMut::new();
        Binary::Bytea.put(Cell::Raw(b"\0\xff"), &mut out).unwrap();
        Binary::Int4.put(Cell::Null, &mut out).unwrap();
        assert_eq!(&out[..], [0, 0, 0, 2, 0, 0xff, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(put(Binary::Bytea, "\\x00Ff").unwrap(), [0, 0xff]);
        let uuid = put(Binary::Uuid, "00112233-4455-6677-8899-aabbccddeeff").unwrap();
        assert_eq!(uuid, [0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff]);
        assert_eq!(put(Binary::Jsonb, "[1]").unwrap(), b"\x01[1]");
        assert_eq!(number(Binary::Int8, "-9223372036854775808"), Some(i64::MIN));
    }

    /// A numeric's binary form as text again.
    fn numeric_text(body: &[u8]) -> String {
        let word = |place: usize| i16::from_be_bytes([body[2 * place], body[2 * place + 1]]);
        let (count, weight, sign, scale) = (word(0), i32::from(word(1)), word(2), word(3) as usize);
        assert_eq!(body.len(), 8 + 2 * count as usize);
        let digit = |weight_of: i32| {
            let place = weight - weight_of;
            if (0..i32::from(count)).contains(&place) { word(4 + place as usize) } else { 0 }
        };
        let whole: String = (0..=weight.max(0)).rev().map(|weight| format!("{:04}", digit(weight))).collect();
        let whole = whole.trim_start_matches('0');
        let fraction: String = (1..=scale.div_ceil(4) as i32).map(|weight| format!("{:04}", digit(-weight))).collect();
        let sign = if sign == 0 { "" } else { "-" };
        let point = if scale == 0 { "" } else { "." };
        format!("{sign}{}{point}{}", if whole.is_empty() { "0" } else { whole }, &fraction[..scale])
    }

    proptest! {
        #[test]
        fn numerics_keep_every_digit(text in "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,40})?") {
            prop_assert_eq!(numeric_text(&put(Binary::Numeric, &text).unwrap()), text);
        }

        #[test]
        fn days_follow_each_other(year in 1..9999_i64, month in 1..=12_i64, day in 1..=31_i64) {
            let day = day.min(days_of(year, month));
            let (mut y, mut m, mut d) = (year, month, day + 1);
            if d > days_of(y, m) { (m, d) = (m + 1, 1); }
            if m > 12 { (y, m) = (y + 1, 1); }
            let text = |y: i64, m: i64, d: i64| format!("{y:04}-{m:02}-{d:02}");
            let days = |text: String| date(text.as_bytes()).unwrap();
            prop_assert_eq!(days(text(y, m, d)), days(text(year, month, day)) + 1);
        }

        #[test]
        fn numbers_are_the_same_as_text(whole in any::<i64>(), float in any::<f64>(), small in any::<f32>()) {
            prop_assert_eq!(number(Binary::Int8, &whole.to_string()), Some(whole));
            if float.is_finite() {
                prop_assert_eq!(put(Binary::Float8, &format!("{float:e}")).unwrap(), float.to_be_bytes());
            }
            if small.is_finite() {
                prop_assert_eq!(put(Binary::Float4, &format!("{small:e}")).unwrap(), small.to_be_bytes());
            }
        }

        #[test]
        fn any_text_is_a_value_or_left_to_text(text in prop::collection::vec(any::<u8>(), 0..30)) {
            for bare in ["boolean", "smallint", "integer", "bigint", "real", "double precision", "numeric", "text", "bytea",
                         "uuid", "json", "jsonb", "date", "time without time zone", "timestamp without time zone", "timestamp with time zone"] {
                let _ = Binary::named(bare).unwrap().put(Cell::Text(&text), &mut BytesMut::new());
            }
        }
    }
}
