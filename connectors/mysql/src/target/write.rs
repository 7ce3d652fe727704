//! Cells as literals of SQL or as fields of lines, by what the target's column is. Pure.
//!
//! Numbers stand as they are, so that an index over them serves; text and bytes are quoted. What the server would take for
//! something else (a date with `BC` behind it) is refused here.

use super::json::put_json;
use crate::connection::{Flavor, Server};
use crate::keys::{is_number, unhex};
use crate::kind::Kind;
use rowferry_api::{Cell, Error, ErrorKind, Result};
use std::io::Write;

/// How the cells of a column are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Digits; `t` and `f` are 1 and 0.
    Number,
    Float,
    Double,
    /// A number from `0` and `1`.
    Bits,
    Text,
    /// Without blanks at the end, which the column's collation does not count.
    Unpadded,
    /// As a document whose decimals stay exact.
    Json,
    Bytes,
    Date,
    Time,
    /// Without the offset, which is that of UTC.
    Moment,
}

/// What cells stand in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    /// A list of values in a statement.
    Literals,
    /// A line of what LOAD DATA reads: tabs between fields, a newline behind them.
    Fields,
}

impl Layout {
    fn put_null(self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self == Self::Literals { b"NULL" } else { b"\\N" });
    }

    fn put_string(self, text: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Literals => put_quoted(b"", text, out),
            Self::Fields => put_escaped(text, out),
        }
    }
}

impl Form {
    /// Whether its fields come to what its literals come to. Numbers that the server would take for characters do not, nor do
    /// bytes beside text, nor documents whose decimals are marked.
    pub(super) fn has_fields(kind: Option<&Kind>, server: Server) -> bool {
        match kind {
            Some(Kind::Json) => server.flavor == Flavor::Mariadb,
            Some(
                Kind::Int { .. }
                | Kind::Decimal { .. }
                | Kind::Float
                | Kind::Double
                | Kind::Char { .. }
                | Kind::Varchar { .. }
                | Kind::Text { .. }
                | Kind::Enum { .. }
                | Kind::Set { .. }
                | Kind::Date
                | Kind::Time { .. }
                | Kind::Datetime { .. }
                | Kind::Timestamp { .. },
            ) => true,
            _ => false,
        }
    }

    /// How cells go into a column of this kind; `None` is one that nothing is known of.
    pub(super) fn of(kind: Option<&Kind>, server: Server) -> Self {
        match kind {
            Some(Kind::Json) if server.flavor == Flavor::Mysql => Self::Json,
            Some(Kind::Int { .. } | Kind::Year | Kind::Decimal { .. }) => Self::Number,
            Some(Kind::Float) => Self::Float,
            Some(Kind::Double) => Self::Double,
            Some(Kind::Bit { .. }) => Self::Bits,
            Some(Kind::Binary { .. } | Kind::Varbinary { .. } | Kind::Blob { .. } | Kind::Geometry | Kind::Vector) => {
                Self::Bytes
            }
            Some(Kind::Date) => Self::Date,
            Some(Kind::Time { .. }) => Self::Time,
            Some(Kind::Datetime { .. } | Kind::Timestamp { .. }) => Self::Moment,
            _ => Self::Text,
        }
    }

    /// Appends a cell. An unchanged one has no form.
    pub(super) fn put(self, layout: Layout, cell: Cell<'_>, out: &mut Vec<u8>) -> Result<()> {
        let text = match cell {
            Cell::Null => {
                layout.put_null(out);
                return Ok(());
            }
            Cell::Unchanged => {
                return Err(Error::new(ErrorKind::Protocol, "a cell that is not known is to be written"));
            }
            Cell::Raw(_) if layout == Layout::Fields => {
                return Err(Error::new(ErrorKind::BadRow, "bytes do not go into a field"));
            }
            Cell::Raw(bytes) => {
                put_quoted(b"_binary", bytes, out);
                return Ok(());
            }
            Cell::Text(text) => text,
        };
        self.put_text(layout, text, out).ok_or_else(|| self.refusal(text))
    }

    /// `None` if the text is not of the form.
    fn put_text(self, layout: Layout, text: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Number => match text {
                b"t" => out.push(b'1'),
                b"f" => out.push(b'0'),
                _ if is_number(text) => out.extend_from_slice(text),
                _ => return None,
            },
            // The server reads digits as a double before it rounds them to a float: those of the double are exact.
            Self::Float => put_float(layout, f64::from(parse::<f32>(text)?), out)?,
            Self::Double => put_float(layout, parse::<f64>(text)?, out)?,
            Self::Bits => {
                let bits = u64::from_str_radix(std::str::from_utf8(text).ok()?, 2).ok()?;
                out.extend_from_slice(bits.to_string().as_bytes());
            }
            Self::Unpadded if text.ends_with(b" ") => return None,
            Self::Text | Self::Unpadded => layout.put_string(std::str::from_utf8(text).ok()?.as_bytes(), out),
            Self::Json => put_json(std::str::from_utf8(text).ok()?.as_bytes(), out)?,
            Self::Bytes => put_quoted(b"_binary", &unhex(text)?, out),
            Self::Date => layout.put_string(Some(text).filter(|text| is_date(text))?, out),
            Self::Time => layout.put_string(Some(text).filter(|text| is_time(text))?, out),
            Self::Moment => {
                let text = text.strip_suffix(b"+00").unwrap_or(text);
                let (date, time) = text.split_at_checked(10)?;
                let time = time.strip_prefix(b" ")?;
                if !is_date(date) || !is_time(time) {
                    return None;
                }
                layout.put_string(text, out);
            }
        }
        Some(())
    }

    fn refusal(self, text: &[u8]) -> Error {
        let what = match self {
            Self::Number => "number",
            Self::Float | Self::Double => "finite number",
            Self::Bits => "row of at most 64 bits",
            Self::Text => "text in UTF-8",
            Self::Unpadded => "key apart from the same one without blanks at the end",
            Self::Json => "JSON whose numbers are kept as they are",
            Self::Bytes => "string of bytes",
            Self::Date => "date from year 0 to 9999",
            Self::Time => "time",
            Self::Moment => "time from year 0 to 9999",
        };
        let mut shown = String::from_utf8_lossy(text).into_owned();
        if let Some((end, _)) = shown.char_indices().nth(100) {
            shown.truncate(end);
        }
        Error::new(ErrorKind::BadRow, format!("'{shown}' is no {what}, which is what the target's column holds"))
    }
}

fn parse<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// With an exponent it is no exact decimal.
fn put_float(layout: Layout, number: f64, out: &mut Vec<u8>) -> Option<()> {
    if !number.is_finite() {
        return None;
    }
    if number == 0.0 && number.is_sign_negative() {
        // A zero whose sign is an operator loses it.
        layout.put_string(b"-0", out);
        return Some(());
    }
    // Writing into memory does not fail.
    write!(out, "{number:e}").ok()
}

/// `YYYY-MM-DD`.
fn is_date(text: &[u8]) -> bool {
    text.len() == 10
        && text.iter().enumerate().all(|(place, byte)| match place {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}

/// `[-]HH:MM:SS[.f]`, hours of two or three digits.
fn is_time(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let hours = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (whole, fraction) = text[hours..].split_at_checked(6).unwrap_or((b"", text));
    let whole = matches!(whole, [b':', a, b, b':', c, d] if [a, b, c, d].iter().all(|byte| byte.is_ascii_digit()));
    let fraction = match fraction {
        [] => true,
        [b'.', digits @ ..] => !digits.is_empty() && digits.len() <= 6 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    matches!(hours, 2 | 3) && whole && fraction
}

/// Appends text or bytes in quotes, whatever is in it.
pub(super) fn put_quoted(introducer: &[u8], text: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(introducer);
    out.push(b'\'');
    let mut rest = text;
    while let Some(at) = memchr::memchr2(b'\\', b'\'', rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[rest[at], rest[at]]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'\'');
}

/// Appends text as a field, whatever is in it.
fn put_escaped(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr::memchr3(b'\\', b'\t', b'\n', rest) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[b'\\', rest[at]]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(form: Form, cell: Cell<'_>) -> Option<String> {
        let mut out = Vec::new();
        form.put(Layout::Literals, cell, &mut out).ok()?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn cells_are_literals() {
        let cases: &[(Form, &str, Option<&str>)] = &[
            (Form::Number, "-12.50", Some("-12.50")),
            (Form::Number, "t", Some("1")),
            (Form::Number, "NaN", None),
            (Form::Number, "1 OR 1", None),
            (Form::Number, "", None),
            (Form::Float, "0.1", Some("1.0000000149011612e-1")),
            (Form::Double, "-0", Some("'-0'")),
            (Form::Double, "Infinity", None),
            (Form::Bits, "101", Some("5")),
            (Form::Text, r"it's a\b", Some(r"'it''s a\\b'")),
            (Form::Bytes, "\\x6127", Some("_binary'a'''")),
            (Form::Bytes, "\\x6", None),
            (Form::Date, "0000-00-00", Some("'0000-00-00'")),
            (Form::Date, "infinity", None),
            (Form::Date, "0044-03-15 BC", None),
            (Form::Time, "-838:59:59.5", Some("'-838:59:59.5'")),
            (Form::Time, "1 day", None),
            (Form::Moment, "2024-01-02 03:04:05.5+00", Some("'2024-01-02 03:04:05.5'")),
            (Form::Moment, "2024-01-02 03:04:05 BC", None),
            (Form::Moment, "10000-01-01 00:00:00", None),
        ];
        for (form, text, expected) in cases {
            assert_eq!(literal(*form, Cell::Text(text.as_bytes())).as_deref(), *expected, "{text}");
        }
        assert_eq!(literal(Form::Unpadded, Cell::Text(b" a")).as_deref(), Some("' a'"));
        assert_eq!(literal(Form::Unpadded, Cell::Text(b"a ")), None);
        assert_eq!(literal(Form::Text, Cell::Null).as_deref(), Some("NULL"));
        assert_eq!(literal(Form::Text, Cell::Text(b"\xff")), None);
    }

    #[test]
    fn cells_are_fields() {
        let field = |form: Form, cell| {
            let mut out = Vec::new();
            form.put(Layout::Fields, cell, &mut out).ok().map(|()| String::from_utf8(out).unwrap())
        };
        let cases: &[(Form, &str, Option<&str>)] = &[
            (Form::Number, "t", Some("1")),
            (Form::Number, "1\t2", None),
            (Form::Double, "-0", Some("-0")),
            (Form::Text, "a\tb\nc\\N 'q'\r", Some("a\\\tb\\\nc\\\\N 'q'\r")),
            (Form::Text, "", Some("")),
            (Form::Date, "0000-00-00", Some("0000-00-00")),
            (Form::Moment, "2024-01-02 03:04:05.5+00", Some("2024-01-02 03:04:05.5")),
        ];
        for (form, text, expected) in cases {
            assert_eq!(field(*form, Cell::Text(text.as_bytes())).as_deref(), *expected, "{text}");
        }
        assert_eq!(field(Form::Text, Cell::Null).as_deref(), Some("\\N"));
        assert_eq!(field(Form::Text, Cell::Raw(b"x")), None);
    }
}
