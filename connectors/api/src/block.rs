//! Blocks: many rows of a table on their way from one store to another, in PostgreSQL's COPY text format, or as both ends agreed.
//!
//! A row of text ends with a newline, cells are parted by tabs, NULL is `\N`, and backslash, newline, carriage return and
//! tab inside a cell are escaped (PostgreSQL manual, COPY, "Text Format").

use crate::Result;
use bytes::{BufMut, Bytes, BytesMut};
use futures_core::Stream;
use std::pin::Pin;

/// How the rows of a block are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// COPY's text format, which every store reads and writes.
    Text,
    /// COPY's binary format without what stands before the first row and after the last: one PostgreSQL server takes the bytes of another
    /// untouched, where the columns' types are the same (PostgreSQL manual, COPY, "Binary Format").
    PostgresBinary,
}

/// Whole rows, at most a few MiB of them unless one row is larger.
#[derive(Debug, Clone)]
pub struct Block {
    /// The rows.
    pub data: Bytes,
    /// How many there are.
    pub rows: u64,
    /// How they are written.
    pub encoding: Encoding,
}

impl Block {
    /// A block of whole rows of text; counts them.
    pub fn new(data: Bytes) -> Self {
        let rows = memchr::memchr_iter(b'\n', &data).count() as u64;
        Self { data, rows, encoding: Encoding::Text }
    }

    /// The rows of text, without their newlines.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest: &[u8] = &self.data;
        std::iter::from_fn(move || {
            let end = memchr::memchr(b'\n', rest)?;
            let line = &rest[..end];
            rest = &rest[end + 1..];
            Some(line)
        })
    }
}

/// Blocks of one range, in no order unless asked for. Dropping it ends the read.
pub type BlockStream<'a> = Pin<Box<dyn Stream<Item = Result<Block>> + Send + 'a>>;

/// Appends one cell's text to a row in COPY text format; `None` is NULL. Tabs between cells and the newline are
/// the caller's.
pub fn encode_copy_cell(cell: Option<&[u8]>, out: &mut BytesMut) {
    let Some(mut rest) = cell else {
        return out.put_slice(b"\\N");
    };
    out.reserve(rest.len());
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\\' | b'\n' | b'\r' | b'\t')) {
        out.put_slice(&rest[..at]);
        out.put_slice(match rest[at] {
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            _ => b"\\\\",
        });
        rest = &rest[at + 1..];
    }
    out.put_slice(rest);
}

/// Splits one line of COPY text into its cells and calls `cell` for each, in order; `None` is NULL.
/// `scratch` is reused between calls; nothing is allocated once it has grown.
pub fn decode_copy_row(line: &[u8], scratch: &mut Vec<u8>, mut cell: impl FnMut(usize, Option<&[u8]>)) {
    for (index, raw) in line.split(|&byte| byte == b'\t').enumerate() {
        if raw == b"\\N" {
            cell(index, None);
        } else if memchr::memchr(b'\\', raw).is_none() {
            cell(index, Some(raw));
        } else {
            unescape(raw, scratch);
            cell(index, Some(scratch));
        }
    }
}

fn unescape(raw: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut bytes = raw.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next() {
            Some(b'b') => 0x08,
            Some(b'f') => 0x0c,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'v') => 0x0b,
            Some(&other) => other,
            None => b'\\',
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn cells_come_back_as_they_were_encoded(cells in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..30)), 1..6)) {
            let mut line = BytesMut::new();
            for (index, cell) in cells.iter().enumerate() {
                if index > 0 {
                    line.put_u8(b'\t');
                }
                encode_copy_cell(cell.as_deref(), &mut line);
            }
            line.put_u8(b'\n');
            let block = Block::new(line.freeze());
            prop_assert_eq!(block.rows, 1);
            let mut back = Vec::new();
            let mut scratch = Vec::new();
            for line in block.lines() {
                decode_copy_row(line, &mut scratch, |_, cell| back.push(cell.map(<[u8]>::to_vec)));
            }
            prop_assert_eq!(back, cells);
        }

        #[test]
        fn any_line_decodes_without_a_panic(line in prop::collection::vec(any::<u8>(), 0..60)) {
            decode_copy_row(&line, &mut Vec::new(), |_, _| {});
        }
    }
}
