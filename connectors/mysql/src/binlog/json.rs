//! MySQL's binary JSON as the text that its SELECT prints.
//!
//! A container is: number of entries, size in bytes, then for objects the keys' offsets and lengths, then a type and an
//! offset (or a small value itself) for each entry; offsets count from the container's start. All these numbers have 2
//! bytes in small containers and 4 in large ones (MySQL source, `json_binary.h`).

use super::decimal::push_decimal;
use super::digits::{push_i64, push_u64};
use super::reader::{CUT, Decoded, Malformed, Reader, le_uint};
use super::temporal::{push_json_datetime, push_json_time, sign_extended};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::io::Write as _;

/// The deepest document that the server takes has 100 levels.
pub(super) const MAX_DEPTH: usize = 100;
pub(super) const OVERLAP: Malformed = Malformed("parts of a JSON document overlap");

/// Appends a document's text. No bytes at all are the JSON null.
pub(super) fn push_json(out: &mut Vec<u8>, document: &[u8]) -> Decoded<()> {
    let mut printer = Printer::new(document.len());
    printer.push_value(out, Value::document(document)?, 0)
}

/// A value inside of a document: its type, and its bytes with whatever follows them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value<'a> {
    kind: u8,
    data: &'a [u8],
}

impl<'a> Value<'a> {
    pub(super) fn document(document: &'a [u8]) -> Decoded<Self> {
        const NULL: Value<'static> = Value { kind: LITERAL, data: &[0] };
        Ok(document.split_first().map_or(NULL, |(kind, data)| Value { kind: *kind, data }))
    }

    /// Its entries, if it is an object or an array.
    pub(super) fn container(self) -> Decoded<Option<Container<'a>>> {
        let (is_object, is_large) = match self.kind {
            0 => (true, false),
            1 => (true, true),
            2 => (false, false),
            3 => (false, true),
            _ => return Ok(None),
        };
        let number_len = if is_large { 4 } else { 2 };
        let mut reader = Reader::new(self.data);
        let number = |reader: &mut Reader<'_>| Ok(reader.uint(number_len)? as usize);
        let (count, size) = (number(&mut reader)?, number(&mut reader)?);
        let data = self.data.get(..size).ok_or(CUT)?;
        Ok(Some(Container { data, is_object, number_len, count }))
    }
}

const LITERAL: u8 = 4;

/// An object or an array.
#[derive(Debug, Clone, Copy)]
pub(super) struct Container<'a> {
    data: &'a [u8],
    pub(super) is_object: bool,
    number_len: usize,
    pub(super) count: usize,
}

impl<'a> Container<'a> {
    pub(super) fn key(&self, index: usize) -> Decoded<&'a [u8]> {
        let mut entry = self.at(2 * self.number_len + index.checked_mul(self.number_len + 2).ok_or(CUT)?)?;
        let start = entry.uint(self.number_len)? as usize;
        let len = usize::from(entry.u16()?);
        self.at(start)?.take(len)
    }

    pub(super) fn value(&self, index: usize) -> Decoded<Value<'a>> {
        let keys = if self.is_object { self.count.checked_mul(self.number_len + 2).ok_or(CUT)? } else { 0 };
        let values = index.checked_mul(1 + self.number_len).ok_or(CUT)?;
        let mut entry = self.at(2 * self.number_len + keys + values)?;
        let kind = entry.u8()?;
        let field = entry.take(self.number_len)?;
        // Literals and 16-bit integers always stand in the entry itself, 32-bit ones if they fit.
        let data = match kind {
            LITERAL..=6 => field,
            7 | 8 if self.number_len == 4 => field,
            _ => self.data.get(le_uint(field) as usize..).ok_or(CUT)?,
        };
        Ok(Value { kind, data })
    }

    fn at(&self, offset: usize) -> Decoded<Reader<'a>> {
        self.data.get(offset..).map(Reader::new).ok_or(CUT)
    }
}

/// Prints values while what it reads is not more than a document of that size can hold: entries of a damaged document
/// may all point at the same bytes.
pub(super) struct Printer {
    bytes_left: usize,
}

impl Printer {
    pub(super) fn new(document_len: usize) -> Self {
        Self { bytes_left: document_len.max(1) }
    }

    fn spend(&mut self, bytes: usize) -> Decoded<()> {
        self.bytes_left = self.bytes_left.checked_sub(bytes).ok_or(OVERLAP)?;
        Ok(())
    }

    pub(super) fn push_value(&mut self, out: &mut Vec<u8>, value: Value<'_>, depth: usize) -> Decoded<()> {
        match value.container()? {
            Some(container) if depth < MAX_DEPTH => self.push_container(out, container, depth),
            Some(_) => Err(Malformed("a JSON document is too deep")),
            None => self.push_scalar(out, value),
        }
    }

    fn push_container(&mut self, out: &mut Vec<u8>, container: Container<'_>, depth: usize) -> Decoded<()> {
        out.push(if container.is_object { b'{' } else { b'[' });
        for index in 0..container.count {
            self.spend(1 + container.number_len)?;
            if index > 0 {
                out.extend_from_slice(b", ");
            }
            if container.is_object {
                let key = container.key(index)?;
                self.spend(2 + container.number_len + key.len())?;
                push_string(out, key)?;
                out.extend_from_slice(b": ");
            }
            self.push_value(out, container.value(index)?, depth + 1)?;
        }
        out.push(if container.is_object { b'}' } else { b']' });
        Ok(())
    }

    fn push_scalar(&mut self, out: &mut Vec<u8>, value: Value<'_>) -> Decoded<()> {
        let mut reader = Reader::new(value.data);
        match value.kind {
            LITERAL => {
                let text: &[u8] = match reader.u8()? {
                    0 => b"null",
                    1 => b"true",
                    2 => b"false",
                    _ => return Err(Malformed("a JSON document has an unknown literal")),
                };
                out.extend_from_slice(text);
            }
            5 => push_i64(out, sign_extended(reader.take(2)?)),
            6 => push_u64(out, reader.uint(2)?),
            7 => push_i64(out, sign_extended(reader.take(4)?)),
            8 => push_u64(out, reader.uint(4)?),
            9 => push_i64(out, sign_extended(reader.take(8)?)),
            10 => push_u64(out, reader.u64()?),
            11 => push_double(out, f64::from_bits(reader.u64()?)),
            12 => {
                let len = variable_len(&mut reader)?;
                self.spend(len)?;
                push_string(out, reader.take(len)?)?;
            }
            15 => {
                let field_type = reader.u8()?;
                let len = variable_len(&mut reader)?;
                self.spend(len)?;
                push_opaque(out, field_type, reader.take(len)?)?;
            }
            _ => return Err(Malformed("a JSON document has a value of an unknown type")),
        }
        Ok(())
    }
}

/// Seven bits a byte, lowest first; the highest bit says that more follow. At most 32 bits.
fn variable_len(reader: &mut Reader<'_>) -> Decoded<usize> {
    let mut len = 0u64;
    for shift in (0..35).step_by(7) {
        let byte = reader.u8()?;
        len |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return usize::try_from(len).map_err(|_| CUT);
        }
    }
    Err(Malformed("a JSON document has a length of over 5 bytes"))
}

/// In quotes, with the escapes that the server writes.
pub(super) fn push_string(out: &mut Vec<u8>, text: &[u8]) -> Decoded<()> {
    std::str::from_utf8(text).map_err(|_| Malformed("a JSON document has text that is not UTF-8"))?;
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte < 0x20 || matches!(byte, b'"' | b'\\')) {
        out.extend_from_slice(&rest[..at]);
        match rest[at] {
            byte @ (b'"' | b'\\') => out.extend_from_slice(&[b'\\', byte]),
            8 => out.extend_from_slice(b"\\b"),
            9 => out.extend_from_slice(b"\\t"),
            10 => out.extend_from_slice(b"\\n"),
            12 => out.extend_from_slice(b"\\f"),
            13 => out.extend_from_slice(b"\\r"),
            byte => write!(out, "\\u{byte:04x}").expect("a buffer in memory takes all"),
        }
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
    Ok(())
}

/// The shortest digits, as MySQL's `my_gcvt` sets them: without exponent from 1e-15 on and below 1e15, and above while
/// there are digits behind the point; always with a point or an exponent.
fn push_double(out: &mut Vec<u8>, value: f64) {
    const MAX_POINT: i32 = 15;
    let mut buffer = [0u8; 32];
    let mut free = &mut buffer[..];
    if !value.is_finite() || write!(free, "{:e}", value.abs()).is_err() {
        // The server stores none of these.
        return out.extend_from_slice(b"null");
    }
    let unused = free.len();
    let text = &buffer[..buffer.len() - unused];
    let at = memchr::memchr(b'e', text).unwrap_or(text.len());
    let exponent: i32 = std::str::from_utf8(text.get(at + 1..).unwrap_or_default())
        .ok()
        .and_then(|exponent| exponent.parse().ok())
        .unwrap_or_default();
    let mut digits = [0u8; 32];
    let mut count = 0;
    for digit in text[..at].iter().filter(|byte| **byte != b'.') {
        digits[count] = *digit;
        count += 1;
    }
    let digits = &digits[..count];
    if value.is_sign_negative() {
        out.push(b'-');
    }
    let (point, len) = (exponent + 1, count as i32);
    if (1 - MAX_POINT..=MAX_POINT).contains(&point) || point > 0 && len > point {
        push_fixed(out, digits, point);
    } else {
        out.push(digits[0]);
        if count > 1 {
            out.push(b'.');
            out.extend_from_slice(&digits[1..]);
        }
        out.push(b'e');
        push_i64(out, i64::from(exponent));
    }
}

/// Digits with the point behind `point` of them.
fn push_fixed(out: &mut Vec<u8>, digits: &[u8], point: i32) {
    match usize::try_from(point) {
        Ok(point) if point > 0 => {
            let whole = digits.len().min(point);
            out.extend_from_slice(&digits[..whole]);
            out.extend(std::iter::repeat_n(b'0', point - whole));
            out.push(b'.');
            out.extend_from_slice(if whole < digits.len() { &digits[whole..] } else { b"0" });
        }
        _ => {
            out.extend_from_slice(b"0.");
            out.extend(std::iter::repeat_n(b'0', point.unsigned_abs() as usize));
            out.extend_from_slice(digits);
        }
    }
}

/// A value of a type that JSON does not have.
fn push_opaque(out: &mut Vec<u8>, field_type: u8, data: &[u8]) -> Decoded<()> {
    let is_packed_time = data.len() == 8;
    match field_type {
        246 => {
            let mut reader = Reader::new(data);
            let (precision, scale) = (reader.u8()?, reader.u8()?);
            if precision > 65 || scale > precision {
                return Err(Malformed("a JSON document has a decimal of over 65 digits"));
            }
            return push_decimal(out, reader.rest(), precision, scale);
        }
        11 if is_packed_time => {
            out.push(b'"');
            push_json_time(out, data);
        }
        7 | 10 | 12 if is_packed_time => {
            out.push(b'"');
            push_json_datetime(out, data, field_type == 10);
        }
        _ => {
            out.extend_from_slice(b"\"base64:type");
            push_u64(out, u64::from(field_type));
            out.push(b':');
            push_base64(out, data);
        }
    }
    out.push(b'"');
    Ok(())
}

/// The server breaks the lines, and the breaks are escaped as in any string.
fn push_base64(out: &mut Vec<u8>, data: &[u8]) {
    const LINE_BYTES: usize = 57;
    let mut line = [0u8; LINE_BYTES / 3 * 4];
    for (i, chunk) in data.chunks(LINE_BYTES).enumerate() {
        if i > 0 {
            out.extend_from_slice(b"\\n");
        }
        let len = STANDARD.encode_slice(chunk, &mut line).expect("a line has room for its bytes");
        out.extend_from_slice(&line[..len]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(document: &[u8]) -> String {
        let mut out = Vec::new();
        push_json(&mut out, document).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn double(value: f64) -> String {
        let mut out = Vec::new();
        push_double(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    /// What MySQL 9.7 prints for these.
    #[test]
    fn doubles_are_set_as_the_server_sets_them() {
        let cases = "100000000000000.0, 123456789012345.5, 1e15, 1234567890123456.5, 1e16, 0.1, 0.00001, 0.000015, \
            0.000012345678901234568, 0.0000000012345678901234566, 0.00000000000001, 0.000000000000001, \
            0.0000000000000015, 1e-16, -0.000000000000012345678901234567, 1.7976931348623157e308, 5e-324, -0.0, 100.0, \
            1e20, 123456789.0, 9.007199254740992e15, -1.2345678901234567e100, 1.2345678901234567e-100";
        for case in cases.split(", ") {
            assert_eq!(double(case.trim().parse().unwrap()), case.trim());
        }
    }

    #[test]
    fn a_small_object() {
        // {"a": 1, "b": [true, "x"]}
        let document = [
            0, 2, 0, 32, 0, 18, 0, 1, 0, 19, 0, 1, 0, 5, 1, 0, 2, 20, 0, b'a', b'b', 2, 0, 12, 0, 4, 1, 0, 12, 10, 0,
            1, b'x',
        ];
        assert_eq!(text(&document), r#"{"a": 1, "b": [true, "x"]}"#);
        assert_eq!(text(&[]), "null");
    }

    /// Large containers have numbers of 4 bytes, and 32-bit integers in their entries.
    #[test]
    fn a_large_object() {
        let number = |number: u32| number.to_le_bytes().to_vec();
        let parts: [&[u8]; 12] = [
            &[1],
            &number(2),
            &number(34),
            &number(30),
            &[1, 0],
            &number(31),
            &[1, 0],
            &[7],
            &number(u32::MAX),
            &[8],
            &number(4_000_000_000),
            b"abxx",
        ];
        assert_eq!(text(&parts.concat()), r#"{"a": -1, "b": 4000000000}"#);
    }

    #[test]
    fn strings_are_escaped() {
        assert_eq!(text(b"\x0c\x08\"\\\x01\x1f\x0a\x7f/\x09"), r#""\"\\\u0001\u001f\n/\t""#.replace('/', "\u{7f}/"));
        assert!(push_json(&mut Vec::new(), b"\x0c\x01\xff").is_err());
    }

    #[test]
    fn entries_that_share_bytes_are_an_error() {
        // An array of 200 entries that are all the array itself.
        let mut document = vec![2, 200, 0, 0x5c, 2];
        document.extend([2, 0, 0].repeat(200));
        assert!(push_json(&mut Vec::new(), &document).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_document_or_an_error(kind in 0..16u8, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let document = [&[kind], &bytes[..]].concat();
            let mut out = Vec::new();
            let _ = push_json(&mut out, &document);
            prop_assert!(out.len() <= document.len() * 40 + 64);
        }
    }
}
