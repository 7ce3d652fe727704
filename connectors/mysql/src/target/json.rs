//! JSON as an expression that makes the same document. Pure.
//!
//! A server that reads JSON takes every number with a point for a double, and one with an exact decimal prints otherwise then:
//! `1.10` becomes `1.1`. So decimals are written as such, and the objects and arrays around them by the functions that make
//! those.

use super::write::put_quoted;
use rowferry_api::Decimal;

/// Deeper documents are none that a server takes.
const MAX_DEPTH: usize = 100;
/// DECIMAL's most digits, and those behind the point.
const MAX_DIGITS: usize = 65;
const MAX_SCALE: usize = 30;

/// A part of a document.
enum Part<'a> {
    /// What the server reads as it is meant.
    Plain(&'a [u8]),
    Decimal(&'a [u8]),
    Array(Vec<Part<'a>>),
    Object(Vec<(&'a [u8], Part<'a>)>),
}

/// Appends an expression of the document. A text that is no JSON is appended as text, for the server to refuse. `None` if a number in it
/// would be rounded.
pub(super) fn put_json(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut scanner = Scanner { text, at: 0, is_rounded: false };
    let document = scanner.value(0);
    if scanner.is_rounded {
        return None;
    }
    match document {
        Some(Part::Plain(_)) | None => put_quoted(b"", text, out),
        Some(part) => put(&part, out),
    }
    Some(())
}

fn put(part: &Part<'_>, out: &mut Vec<u8>) {
    match part {
        Part::Plain(text) => {
            out.extend_from_slice(b"CAST(");
            put_quoted(b"", text, out);
            out.extend_from_slice(b" AS JSON)");
        }
        Part::Decimal(digits) => {
            let (precision, scale) = size(digits);
            out.extend_from_slice(b"CAST(CAST('");
            out.extend_from_slice(digits);
            out.extend_from_slice(format!("' AS DECIMAL({precision},{scale})) AS JSON)").as_bytes());
        }
        Part::Array(parts) => {
            out.extend_from_slice(b"JSON_ARRAY(");
            for (place, part) in parts.iter().enumerate() {
                out.extend_from_slice(if place > 0 { b"," } else { b"" });
                put(part, out);
            }
            out.push(b')');
        }
        Part::Object(members) => {
            out.extend_from_slice(b"JSON_OBJECT(");
            for (place, (key, part)) in members.iter().enumerate() {
                out.extend_from_slice(if place > 0 { b"," } else { b"" });
                let key: String = serde_json::from_slice(key).unwrap_or_default();
                put_quoted(b"", key.as_bytes(), out);
                out.push(b',');
                put(part, out);
            }
            out.push(b')');
        }
    }
}

/// Digits in all, and those behind the point.
fn size(digits: &[u8]) -> (usize, usize) {
    let count = digits.iter().filter(|byte| byte.is_ascii_digit()).count();
    let scale = digits.iter().position(|byte| *byte == b'.').map_or(0, |point| digits.len() - point - 1);
    (count, scale)
}

/// Whether a number is printed otherwise once a server has read it.
fn is_decimal(number: &[u8]) -> bool {
    let has = |byte: &[u8]| number.iter().any(|other| byte.contains(other));
    let (precision, scale) = size(number);
    if has(b"eE") || precision > MAX_DIGITS || scale > MAX_SCALE {
        return false;
    }
    if !has(b".") {
        // Beyond 64 bits.
        return std::str::from_utf8(number)
            .is_ok_and(|text| text.parse::<i64>().is_err() && text.parse::<u64>().is_err());
    }
    let ends_in_zero = number.last() == Some(&b'0') && !number.ends_with(b".0");
    let is_small = number.strip_prefix(b"-").unwrap_or(number).starts_with(b"0.00");
    ends_in_zero || is_small || precision > 15
}

/// Whether a number that a server keeps as a double is another one then.
fn is_rounded(number: &[u8]) -> bool {
    let Some(text) = std::str::from_utf8(number).ok() else { return false };
    let Ok(double) = text.parse::<f64>() else { return false };
    Decimal::of(&format!("{double:e}")) != Decimal::of(text)
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    /// A number would be rounded.
    is_rounded: bool,
}

impl<'a> Scanner<'a> {
    fn peek(&mut self) -> Option<u8> {
        while matches!(self.text.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn value(&mut self, depth: usize) -> Option<Part<'a>> {
        if depth > MAX_DEPTH {
            return None;
        }
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'{' => {
                let mut members = Vec::new();
                self.at += 1;
                while !self.eat(b'}') {
                    if !members.is_empty() && !self.eat(b',') {
                        return None;
                    }
                    self.peek()?;
                    let key = self.string()?;
                    if !self.eat(b':') {
                        return None;
                    }
                    members.push((key, self.value(depth + 1)?));
                }
                let plain = members.iter().all(|(_, part)| matches!(part, Part::Plain(_)));
                Some(if plain { Part::Plain(&self.text[start..self.at]) } else { Part::Object(members) })
            }
            b'[' => {
                let mut parts = Vec::new();
                self.at += 1;
                while !self.eat(b']') {
                    if !parts.is_empty() && !self.eat(b',') {
                        return None;
                    }
                    parts.push(self.value(depth + 1)?);
                }
                let plain = parts.iter().all(|part| matches!(part, Part::Plain(_)));
                Some(if plain { Part::Plain(&self.text[start..self.at]) } else { Part::Array(parts) })
            }
            b'"' => self.string().map(Part::Plain),
            _ => {
                let is_part = |byte: &u8| !matches!(byte, b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r');
                let len = self.text[start..].iter().take_while(|byte| is_part(byte)).count();
                self.at += len;
                let word = &self.text[start..self.at];
                let is_number = first == b'-' || first.is_ascii_digit();
                if is_number && is_decimal(word) {
                    return Some(Part::Decimal(word));
                }
                let is_int = |text: &str| text.parse::<i64>().is_ok() || text.parse::<u64>().is_ok();
                let is_double = is_number && !std::str::from_utf8(word).is_ok_and(is_int);
                self.is_rounded |= is_double && is_rounded(word);
                (len > 0).then_some(Part::Plain(word))
            }
        }
    }

    /// With its quotes.
    fn string(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        if self.text.get(self.at) != Some(&b'"') {
            return None;
        }
        self.at += 1;
        loop {
            match self.text.get(self.at)? {
                b'\\' => self.at += 2,
                b'"' => break,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.text.get(start..self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn expression(text: &str) -> String {
        let mut out = Vec::new();
        match put_json(text.as_bytes(), &mut out) {
            Some(()) => String::from_utf8(out).unwrap(),
            None => "rounded".into(),
        }
    }

    #[test]
    fn decimals_are_written_as_such_and_the_rest_as_text() {
        assert_eq!(
            expression(r#"{"a": 1.5, "b": [1, 2.25, 1e100]}"#),
            r#"'{\"a\": 1.5, \"b\": [1, 2.25, 1e100]}'"#.replace('\\', "")
        );
        assert_eq!(expression("1.10"), "CAST(CAST('1.10' AS DECIMAL(3,2)) AS JSON)");
        assert_eq!(
            expression(r#"{"k": [0.000, "x"], "n": 1}"#),
            r#"JSON_OBJECT('k',JSON_ARRAY(CAST(CAST('0.000' AS DECIMAL(4,3)) AS JSON),CAST('"x"' AS JSON)),'n',CAST('1' AS JSON))"#
        );
        assert_eq!(
            expression("12345678901234567890123"),
            "CAST(CAST('12345678901234567890123' AS DECIMAL(23,0)) AS JSON)"
        );
        assert_eq!(expression("18446744073709551615"), "'18446744073709551615'");
        assert_eq!(expression("[1, "), "'[1, '", "no JSON: for the server to refuse");
    }

    #[test]
    fn a_number_that_would_be_rounded_is_refused() {
        for kept in ["1e100", "-1.5E-10", "100e-2", "5e-324", "0e9", "-0.0", "1.7976931348623157e308", "0.1e1"] {
            assert_ne!(expression(&format!("[{kept}]")), "rounded", "{kept}");
        }
        let long = format!("{}1", "1234567890".repeat(7));
        for rounded in
            ["1.23456789012345678901e5", "1e400", "1e-400", "9007199254740993e0", &long, &format!("0.{long}")]
        {
            assert_eq!(expression(&format!("{{\"a\": [{rounded}]}}")), "rounded", "{rounded}");
        }
        assert_ne!(expression(r#"["1e400"]"#), "rounded", "text is no number");
    }

    proptest! {
        #[test]
        fn any_text_has_an_expression(text in "[\\[\\]{}:,\"\\\\0-9.a-f ]{0,40}") {
            expression(&text);
        }
    }
}
