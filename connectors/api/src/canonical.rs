//! One text for values that are equal, so that two stores can be compared cell by cell.

use crate::{Cell, Type};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Appends the canonical form of a cell: its kind and text, with floats by their bits and bytes as raw bytes, so that
/// `1e+20` equals `1e20` and `\x00` equals the raw byte. Cells are equal exactly if these forms are.
pub fn canonical_cell(ty: &Type, cell: Cell<'_>, out: &mut Vec<u8>) {
    let text = match cell {
        Cell::Null => return out.push(b'n'),
        Cell::Unchanged => return out.push(b'u'),
        Cell::Raw(bytes) => {
            out.push(b'v');
            return put(bytes, out);
        }
        Cell::Text(text) => text,
    };
    out.push(b'v');
    match ty {
        Type::Float { bits: 32 } => match parse::<f32>(text) {
            Some(number) => put(&number.to_bits().to_be_bytes(), out),
            None => put(text, out),
        },
        Type::Float { .. } => match parse::<f64>(text) {
            Some(number) => put(&number.to_bits().to_be_bytes(), out),
            None => put(text, out),
        },
        Type::Bytes => match unhex(text) {
            Some(bytes) => put(&bytes, out),
            None => put(text, out),
        },
        _ => put(text, out),
    }
}

/// Appends the canonical form of a JSON document: members by their names, numbers by their value, strings by what they mean. `None`, and
/// an unknown rest in `out`, if it is none.
pub fn canonical_document(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    put_document(serde_json::from_slice(text).ok()?, MAX_DEPTH, out)
}

/// Deeper documents are none that a store takes.
const MAX_DEPTH: usize = 128;

fn put_document(document: &RawValue, depth: usize, out: &mut Vec<u8>) -> Option<()> {
    let depth = depth.checked_sub(1)?;
    let text = document.get();
    match text.as_bytes().first()? {
        b'{' => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(text).ok()?;
            out.push(b'{');
            for (name, member) in members {
                put(name.as_bytes(), out);
                put_document(member, depth, out)?;
            }
            out.push(b'}');
        }
        b'[' => {
            let parts: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            out.push(b'[');
            for part in parts {
                put_document(part, depth, out)?;
            }
            out.push(b']');
        }
        b'"' => {
            out.push(b'"');
            put(serde_json::from_str::<String>(text).ok()?.as_bytes(), out);
        }
        b'-' | b'0'..=b'9' => {
            let Decimal { negative, digits, exponent } = Decimal::of(text)?;
            out.push(if negative { b'-' } else { b'+' });
            put(digits.as_bytes(), out);
            out.extend_from_slice(&exponent.to_be_bytes());
        }
        _ => put(text.as_bytes(), out),
    }
    Some(())
}

/// A decimal number by its value: the digits without zeros at either end, and the power of ten before the first of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decimal {
    negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// Reads a number as JSON has it, `-1.50e3`; `None` if it is none.
    pub fn of(text: &str) -> Option<Self> {
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let unsigned = mantissa.strip_prefix('-').unwrap_or(mantissa);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let all = format!("{whole}{fraction}");
        if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let zeros = all.len() - all.trim_start_matches('0').len();
        let digits = all.trim_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Self { negative: false, digits, exponent: 0 });
        }
        let exponent: i32 = exponent.parse().ok()?;
        let exponent = i64::from(exponent) + whole.len() as i64 - zeros as i64;
        Some(Self { negative: mantissa.starts_with('-'), digits, exponent })
    }
}

fn put(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn parse<T: std::str::FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// The bytes that `\x6869` stands for.
fn unhex(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text.strip_prefix(b"\\x")?;
    let digit = |byte: u8| (byte as char).to_digit(16);
    let (pairs, odd) = digits.as_chunks::<2>();
    if !odd.is_empty() {
        return None;
    }
    pairs.iter().map(|&[high, low]| u8::try_from(digit(high)? * 16 + digit(low)?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(ty: &Type, a: Cell<'_>, b: Cell<'_>) -> bool {
        let form = |cell| {
            let mut out = Vec::new();
            canonical_cell(ty, cell, &mut out);
            out
        };
        form(a) == form(b)
    }

    fn document(text: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        canonical_document(text.as_bytes(), &mut out).map(|()| out)
    }

    #[test]
    fn equal_documents_have_one_form() {
        for (a, b) in [
            (r#"{"b": [1, 2.50], "a": "\u00e4\/"}"#, r#"{"a":"ä/","b":[1.0,2.5]}"#),
            ("[1e10, -1.5E-10, 0, -0.0]", "[10000000000.0,-0.00000000015,0.0,0]"),
            ("123456789012345678901234", "1.23456789012345678901234e23"),
        ] {
            assert!(document(a).is_some());
            assert_eq!(document(a), document(b), "{a} {b}");
        }
        for (a, b) in [
            ("123456789012345678901234", "123456789012345678901235"),
            ("[1, 23]", "[12, 3]"),
            (r#"{"a": {}}"#, r#"{"a": []}"#),
            (r#"["1"]"#, "[1]"),
            ("[-1]", "[1]"),
            ("[1]", "[10]"),
            ("null", "\"null\""),
        ] {
            assert!(document(a).is_some() && document(b).is_some());
            assert_ne!(document(a), document(b), "{a} {b}");
        }
        assert_eq!(document("[1, "), None);
        assert_eq!(document(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))), None);
    }

    #[test]
    fn equal_values_have_one_form() {
        let float = Type::Float { bits: 64 };
        assert!(same(&float, Cell::Text(b"1e+20"), Cell::Text(b"100000000000000000000")));
        assert!(!same(&float, Cell::Text(b"0"), Cell::Text(b"-0")), "the sign of zero is a bit");
        assert!(!same(&float, Cell::Text(b"NaN"), Cell::Null));
        assert!(same(&Type::Bytes, Cell::Text(b"\\x00fF"), Cell::Raw(b"\x00\xff")));
        assert!(!same(&Type::Numeric, Cell::Text(b"1.1"), Cell::Text(b"1.10")), "the scale is part of the value");
        assert!(!same(&Type::Text, Cell::Text(b""), Cell::Null));
    }
}
