//! JSON that the log holds as differences (`binlog_row_value_options = PARTIAL_JSON`): the document before, with the
//! differences applied, as the text that the server would print.
//!
//! A difference is: what to do (1 byte), a path, and for all but a removal a value in binary form (MySQL source,
//! `json_diff.h`). Only the containers on a path are taken apart.

use super::json::{Container, MAX_DEPTH, OVERLAP, Printer, Value, push_string};
use super::reader::{Decoded, Malformed, Reader};
use std::borrow::Cow;

const NO_SUCH_PLACE: Malformed = Malformed("a difference of a JSON document does not fit the document before it");

/// Appends the text of `before` with `differences` applied one after the other.
pub(super) fn push_patched(out: &mut Vec<u8>, before: &[u8], differences: &[u8]) -> Decoded<()> {
    let mut root = Node::Value(Value::document(before)?);
    // Each entry has bytes of its own: containers that overlap would make more of them.
    let mut entries_left = before.len() + differences.len();
    let mut reader = Reader::new(differences);
    while !reader.is_empty() {
        let operation = reader.u8()?;
        let path = Leg::path(reader.lenenc_bytes()?)?;
        let value = match operation {
            REPLACE | INSERT => Some(Node::Value(Value::document(reader.lenenc_bytes()?)?)),
            REMOVE => None,
            _ => return Err(Malformed("a difference of a JSON document is of an unknown kind")),
        };
        root.apply(operation, &path, value, &mut entries_left)?;
    }
    let mut printer = Printer::new(before.len() + differences.len());
    root.push(out, &mut printer, 0)
}

const REPLACE: u8 = 0;
const INSERT: u8 = 1;
const REMOVE: u8 = 2;

/// A part of a document: as it is stored, or taken apart.
enum Node<'a> {
    Value(Value<'a>),
    Object(Vec<(Cow<'a, [u8]>, Node<'a>)>),
    Array(Vec<Node<'a>>),
}

impl<'a> Node<'a> {
    fn apply(&mut self, operation: u8, path: &[Leg], value: Option<Node<'a>>, entries_left: &mut usize) -> Decoded<()> {
        let Some((last, way)) = path.split_last() else {
            // The whole document.
            *self = value.filter(|_| operation == REPLACE).ok_or(NO_SUCH_PLACE)?;
            return Ok(());
        };
        let mut node = self;
        for leg in way {
            node = node.child(leg, entries_left)?;
        }
        node.take_apart(entries_left)?;
        match (node, last) {
            (Node::Object(members), Leg::Member(key)) => {
                let place = members.binary_search_by(|(member, _)| order(member, key));
                match (operation, place, value) {
                    (REPLACE, Ok(at), Some(value)) => members[at].1 = value,
                    (INSERT, Err(at), Some(value)) => members.insert(at, (Cow::Owned(key.clone()), value)),
                    (REMOVE, Ok(at), None) => drop(members.remove(at)),
                    _ => return Err(NO_SUCH_PLACE),
                }
            }
            (Node::Array(entries), Leg::Entry(index)) => match (operation, value) {
                (REPLACE, Some(value)) => *entries.get_mut(*index).ok_or(NO_SUCH_PLACE)? = value,
                // Past the end it is appended.
                (INSERT, Some(value)) => entries.insert((*index).min(entries.len()), value),
                (REMOVE, None) if *index < entries.len() => drop(entries.remove(*index)),
                _ => return Err(NO_SUCH_PLACE),
            },
            _ => return Err(NO_SUCH_PLACE),
        }
        Ok(())
    }

    fn child(&mut self, leg: &Leg, entries_left: &mut usize) -> Decoded<&mut Node<'a>> {
        self.take_apart(entries_left)?;
        match (self, leg) {
            (Node::Object(members), Leg::Member(key)) => {
                let at = members.binary_search_by(|(member, _)| order(member, key)).map_err(|_| NO_SUCH_PLACE)?;
                Ok(&mut members[at].1)
            }
            (Node::Array(entries), Leg::Entry(index)) => entries.get_mut(*index).ok_or(NO_SUCH_PLACE),
            _ => Err(NO_SUCH_PLACE),
        }
    }

    fn take_apart(&mut self, entries_left: &mut usize) -> Decoded<()> {
        if let Node::Value(value) = self
            && let Some(container) = value.container()?
        {
            *entries_left = entries_left.checked_sub(container.count).ok_or(OVERLAP)?;
            *self = Self::from_container(container)?;
        }
        Ok(())
    }

    fn from_container(container: Container<'a>) -> Decoded<Self> {
        let value = |index| container.value(index).map(Node::Value);
        if container.is_object {
            let member = |index| Ok((Cow::Borrowed(container.key(index)?), value(index)?));
            (0..container.count).map(member).collect::<Decoded<_>>().map(Node::Object)
        } else {
            (0..container.count).map(value).collect::<Decoded<_>>().map(Node::Array)
        }
    }

    fn push(&self, out: &mut Vec<u8>, printer: &mut Printer, depth: usize) -> Decoded<()> {
        match self {
            Node::Value(value) => return printer.push_value(out, *value, depth),
            Node::Object(members) => {
                out.push(b'{');
                for (i, (key, value)) in members.iter().enumerate() {
                    out.extend_from_slice(if i > 0 { b", " } else { b"" });
                    push_string(out, key)?;
                    out.extend_from_slice(b": ");
                    value.push(out, printer, depth + 1)?;
                }
                out.push(b'}');
            }
            Node::Array(entries) => {
                out.push(b'[');
                for (i, value) in entries.iter().enumerate() {
                    out.extend_from_slice(if i > 0 { b", " } else { b"" });
                    value.push(out, printer, depth + 1)?;
                }
                out.push(b']');
            }
        }
        Ok(())
    }
}

/// The order of an object's members: shorter keys first, then by bytes.
fn order(left: &[u8], right: &[u8]) -> std::cmp::Ordering {
    left.len().cmp(&right.len()).then_with(|| left.cmp(right))
}

/// A step of a path.
enum Leg {
    Member(Vec<u8>),
    Entry(usize),
}

impl Leg {
    /// `$.name[3]."another name"`; no wildcards, which a difference never has.
    fn path(text: &[u8]) -> Decoded<Vec<Self>> {
        const BAD: Malformed = Malformed("a difference of a JSON document has a path that cannot be read");
        let mut rest = text.strip_prefix(b"$").ok_or(BAD)?;
        let mut legs = Vec::new();
        while let Some((first, after)) = rest.split_first() {
            if legs.len() >= MAX_DEPTH {
                return Err(BAD);
            }
            let end;
            match (first, after.first()) {
                (b'.', Some(b'"')) => {
                    end = quoted_len(after).ok_or(BAD)?;
                    let name: String = serde_json::from_slice(&after[..end]).map_err(|_| BAD)?;
                    legs.push(Self::Member(name.into_bytes()));
                }
                (b'.', Some(_)) => {
                    end = after.iter().position(|byte| matches!(byte, b'.' | b'[')).unwrap_or(after.len());
                    legs.push(Self::Member(after[..end].to_vec()));
                }
                (b'[', _) => {
                    let digits = memchr::memchr(b']', after).ok_or(BAD)?;
                    let index = std::str::from_utf8(&after[..digits]).ok().and_then(|index| index.parse().ok());
                    legs.push(Self::Entry(index.ok_or(BAD)?));
                    end = digits + 1;
                }
                _ => return Err(BAD),
            }
            rest = &after[end..];
        }
        Ok(legs)
    }
}

/// How long a quoted text at the front is, quotes included.
fn quoted_len(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// {"a": 1, "b": [true, "x"]}
    const BEFORE: [u8; 33] = [
        0, 2, 0, 32, 0, 18, 0, 1, 0, 19, 0, 1, 0, 5, 1, 0, 2, 20, 0, b'a', b'b', 2, 0, 12, 0, 4, 1, 0, 12, 10, 0, 1,
        b'x',
    ];

    fn difference(operation: u8, path: &str, value: &[u8]) -> Vec<u8> {
        let mut difference = vec![operation, path.len() as u8];
        difference.extend(path.as_bytes());
        if operation != REMOVE {
            difference.push(value.len() as u8);
            difference.extend(value);
        }
        difference
    }

    fn check(differences: &[Vec<u8>], expected: Option<&str>) {
        let mut out = Vec::new();
        let result = push_patched(&mut out, &BEFORE, &differences.concat());
        assert_eq!(result.ok().map(|()| String::from_utf8(out).unwrap()).as_deref(), expected);
    }

    #[test]
    fn differences_are_applied_in_order() {
        let (seven, text) = (&[5, 7, 0][..], &[12, 1, b'y'][..]);
        check(&[], Some(r#"{"a": 1, "b": [true, "x"]}"#));
        check(&[difference(REPLACE, "$.a", text)], Some(r#"{"a": "y", "b": [true, "x"]}"#));
        check(&[difference(REPLACE, "$.b[1]", seven)], Some(r#"{"a": 1, "b": [true, 7]}"#));
        check(&[difference(INSERT, "$.b[0]", seven)], Some(r#"{"a": 1, "b": [7, true, "x"]}"#));
        check(
            &[difference(INSERT, "$.aa", seven), difference(REMOVE, "$.a", &[])],
            Some(r#"{"b": [true, "x"], "aa": 7}"#),
        );
        check(&[difference(INSERT, r#"$."\"""#, seven)], Some(r#"{"\"": 7, "a": 1, "b": [true, "x"]}"#));
        check(&[difference(REMOVE, "$.b[0]", &[])], Some(r#"{"a": 1, "b": ["x"]}"#));
        check(&[difference(REPLACE, "$", seven)], Some("7"));
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let seven = &[5, 7, 0][..];
        for (operation, path) in
            [(0, "$.c"), (0, "$.a.b"), (0, "$.b[2]"), (1, "$.a"), (2, "$.b[9]"), (3, "$.a"), (0, "a"), (0, "$[")]
        {
            check(&[difference(operation, path, seven)], None);
        }
    }

    /// An array whose entries are all itself, and a way down through them.
    #[test]
    fn containers_that_overlap_are_an_error() {
        let mut document = vec![2, 200, 0, 0x5c, 2];
        document.extend([2, 0, 0].repeat(200));
        let path = format!("${}", "[0]".repeat(60));
        assert!(push_patched(&mut Vec::new(), &document, &difference(REPLACE, &path, &[5, 7, 0])).is_err());
        let path = format!("${}", "[0]".repeat(200));
        assert!(Leg::path(path.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn any_differences_are_applied_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = push_patched(&mut Vec::new(), &BEFORE, &bytes);
        }
    }
}
