//! One text for values that are equal, so that two stores can be compared cell by cell.

use crate::{Cell, Type};

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
