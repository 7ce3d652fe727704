//! Rows and keys: slices of a shared buffer, with no allocation a cell.
//!
//! Encoding of a row, cell after cell in column order, no header:
//! `n` NULL | `u` unchanged | `t` len:u32be bytes (the type's text) | `b` len:u32be bytes (raw bytes).
//! It is the body of pgoutput's TupleData (PostgreSQL manual, "Logical Replication Message Formats"), so a
//! row of PostgreSQL's log is a slice of what came off the socket. Other readers write it once into a shared
//! buffer with [`RowBuilder`].

use bytes::{BufMut, Bytes, BytesMut};
use std::fmt;

/// One cell. Unchanged means that the log did not carry it (a TOAST column, a minimal row image); it is never
/// written as NULL or as a default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cell<'a> {
    /// SQL NULL.
    Null,
    /// Not in the log: keeps the value that the row has.
    Unchanged,
    /// The value in the text form that [`Type`](crate::Type) names for its column's type, UTF-8.
    Text(&'a [u8]),
    /// Raw bytes of a [`Type::Bytes`](crate::Type::Bytes) column.
    Raw(&'a [u8]),
}

/// The bytes do not form a row of that many cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MalformedRow;

impl fmt::Display for MalformedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row is cut short or has an unknown kind of cell")
    }
}

impl std::error::Error for MalformedRow {}

/// A row: one cell for each of its table's columns. Cloning shares the buffer.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Row(Bytes);

impl Row {
    /// Takes `columns` cells off the front of `data`, which may be longer.
    /// A length that points past the end of `data` is an error, never an allocation.
    pub fn split_from(data: &mut Bytes, columns: usize) -> Result<Self, MalformedRow> {
        let mut rest: &[u8] = data;
        for _ in 0..columns {
            rest = split_cell(rest).ok_or(MalformedRow)?.1;
        }
        let taken = data.len() - rest.len();
        Ok(Self(data.split_to(taken)))
    }

    /// The cells in column order.
    pub fn cells(&self) -> Cells<'_> {
        Cells(&self.0)
    }

    /// The cell of column `index`, if the row has that many. Walks the row: use [`cells`](Self::cells) for all.
    pub fn cell(&self, index: usize) -> Option<Cell<'_>> {
        self.cells().nth(index)
    }

    /// The encoded bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Whether any cell is unchanged, so that the row cannot stand on its own.
    pub fn is_partial(&self) -> bool {
        self.cells().any(|cell| cell == Cell::Unchanged)
    }
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.cells().map(DebugCell)).finish()
    }
}

/// Walks cells in order. Never panics: malformed bytes end the walk.
#[derive(Debug, Clone)]
pub struct Cells<'a>(&'a [u8]);

impl<'a> Iterator for Cells<'a> {
    type Item = Cell<'a>;

    fn next(&mut self) -> Option<Cell<'a>> {
        let (cell, rest) = split_cell(self.0)?;
        self.0 = rest;
        Some(cell)
    }
}

fn split_cell(data: &[u8]) -> Option<(Cell<'_>, &[u8])> {
    let (&kind, rest) = data.split_first()?;
    match kind {
        b'n' => Some((Cell::Null, rest)),
        b'u' => Some((Cell::Unchanged, rest)),
        b't' | b'b' => {
            let (len, rest) = rest.split_first_chunk::<4>()?;
            let (value, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
            Some((if kind == b't' { Cell::Text(value) } else { Cell::Raw(value) }, rest))
        }
        _ => None,
    }
}

fn put_cell(buf: &mut BytesMut, cell: Cell<'_>) {
    let (kind, value) = match cell {
        Cell::Null => return buf.put_u8(b'n'),
        Cell::Unchanged => return buf.put_u8(b'u'),
        Cell::Text(value) => (b't', value),
        Cell::Raw(value) => (b'b', value),
    };
    buf.put_u8(kind);
    buf.put_u32(u32::try_from(value.len()).expect("no database has a cell of 4 GiB"));
    buf.put_slice(value);
}

/// Writes rows one after the other into shared buffers.
#[derive(Debug, Default)]
pub struct RowBuilder {
    buf: BytesMut,
}

impl RowBuilder {
    /// A builder with an empty buffer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the next cell of the row being built.
    pub fn push(&mut self, cell: Cell<'_>) {
        put_cell(&mut self.buf, cell);
    }

    /// Ends the row and starts the next.
    pub fn finish(&mut self) -> Row {
        let row = Row(self.buf.split().freeze());
        if self.buf.capacity() == 0 {
            self.buf.reserve(64 * 1024);
        }
        row
    }
}

/// The cells of a row's key, in the order of [`TableSchema::key`](crate::TableSchema::key), in the encoding of
/// a row. Two keys are the same row if their bytes are equal; the reverse holds for one source's log only.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key(Bytes);

impl Key {
    /// A key from its encoded bytes, as [`as_bytes`](Self::as_bytes) gave them.
    pub fn from_bytes(data: Bytes) -> Result<Self, MalformedRow> {
        let mut rest: &[u8] = &data;
        while !rest.is_empty() {
            rest = split_cell(rest).ok_or(MalformedRow)?.1;
        }
        Ok(Self(data))
    }

    /// A key from its cells.
    pub fn from_cells<'a>(cells: impl IntoIterator<Item = Cell<'a>>) -> Self {
        let mut buf = BytesMut::new();
        cells.into_iter().for_each(|cell| put_cell(&mut buf, cell));
        Self(buf.freeze())
    }

    /// The cells in key order.
    pub fn cells(&self) -> Cells<'_> {
        Cells(&self.0)
    }

    /// The encoded bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.cells().map(DebugCell)).finish()
    }
}

/// `(7, 'north')`: how a message names a row.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(")?;
        for (i, cell) in self.cells().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            fmt::Debug::fmt(&DebugCell(cell), f)?;
        }
        f.write_str(")")
    }
}

/// Takes keys out of rows: a slice of the row where the key's cells stand together, else a copy into a buffer
/// that many keys share.
#[derive(Debug)]
pub struct KeyEncoder {
    columns: Vec<usize>,
    /// The key's cells stand next to each other in the row, in key order.
    adjacent: bool,
    arena: BytesMut,
}

impl KeyEncoder {
    /// For keys over these columns (indexes into the row, in key order).
    pub fn new(columns: &[usize]) -> Self {
        let adjacent = columns.windows(2).all(|pair| pair[1] == pair[0] + 1);
        Self { columns: columns.to_vec(), adjacent, arena: BytesMut::new() }
    }

    /// The key of `row`; `None` if the row lacks a cell of it or a cell is unchanged.
    pub fn key(&mut self, row: &Row) -> Option<Key> {
        if self.columns.is_empty() {
            return None;
        }
        if self.adjacent { self.slice(row) } else { self.copy(row) }
    }

    fn slice(&self, row: &Row) -> Option<Key> {
        let first = *self.columns.first()?;
        let data: &[u8] = &row.0;
        let mut rest = data;
        for _ in 0..first {
            rest = split_cell(rest)?.1;
        }
        let start = data.len() - rest.len();
        for _ in 0..self.columns.len() {
            let (cell, after) = split_cell(rest)?;
            if cell == Cell::Unchanged {
                return None;
            }
            rest = after;
        }
        Some(Key(row.0.slice(start..data.len() - rest.len())))
    }

    fn copy(&mut self, row: &Row) -> Option<Key> {
        for &column in &self.columns {
            match row.cell(column) {
                None | Some(Cell::Unchanged) => {
                    self.arena.clear();
                    return None;
                }
                Some(cell) => put_cell(&mut self.arena, cell),
            }
        }
        let key = Key(self.arena.split().freeze());
        if self.arena.capacity() == 0 {
            self.arena.reserve(16 * 1024);
        }
        Some(key)
    }
}

struct DebugCell<'a>(Cell<'a>);

impl fmt::Debug for DebugCell<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Cell::Null => f.write_str("NULL"),
            Cell::Unchanged => f.write_str("unchanged"),
            Cell::Text(value) => write!(f, "'{}'", String::from_utf8_lossy(value)),
            Cell::Raw(value) => {
                f.write_str("0x")?;
                value.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone, PartialEq)]
    enum Owned {
        Null,
        Unchanged,
        Text(Vec<u8>),
        Raw(Vec<u8>),
    }

    impl Owned {
        fn cell(&self) -> Cell<'_> {
            match self {
                Self::Null => Cell::Null,
                Self::Unchanged => Cell::Unchanged,
                Self::Text(value) => Cell::Text(value),
                Self::Raw(value) => Cell::Raw(value),
            }
        }
    }

    fn cell() -> impl Strategy<Value = Owned> {
        prop_oneof![
            Just(Owned::Null),
            Just(Owned::Unchanged),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(Owned::Text),
            prop::collection::vec(any::<u8>(), 0..40).prop_map(Owned::Raw),
        ]
    }

    proptest! {
        #[test]
        fn cells_come_back_as_they_were_pushed(rows in prop::collection::vec(prop::collection::vec(cell(), 0..8), 0..20)) {
            let mut builder = RowBuilder::new();
            let built: Vec<Row> = rows.iter().map(|cells| {
                cells.iter().for_each(|cell| builder.push(cell.cell()));
                builder.finish()
            }).collect();
            for (cells, row) in rows.iter().zip(&built) {
                prop_assert!(row.cells().eq(cells.iter().map(Owned::cell)));
                let mut again = row.as_bytes().clone();
                prop_assert_eq!(&Row::split_from(&mut again, cells.len()).unwrap(), row);
                prop_assert!(again.is_empty());
            }
        }

        #[test]
        fn any_bytes_are_a_row_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..100), columns in 0..10usize) {
            let mut data = Bytes::from(bytes);
            if let Ok(row) = Row::split_from(&mut data, columns) {
                prop_assert_eq!(row.cells().count(), columns);
            }
        }

        #[test]
        fn a_key_is_the_cells_of_its_columns(cells in prop::collection::vec(cell(), 1..6), columns in prop::collection::vec(0..7usize, 1..4)) {
            let mut builder = RowBuilder::new();
            cells.iter().for_each(|cell| builder.push(cell.cell()));
            let row = builder.finish();
            let key = KeyEncoder::new(&columns).key(&row);
            let expected: Option<Vec<Cell<'_>>> = columns
                .iter()
                .map(|&column| cells.get(column).map(Owned::cell).filter(|cell| *cell != Cell::Unchanged))
                .collect();
            prop_assert_eq!(key.as_ref().map(|key| key.cells().collect::<Vec<_>>()), expected.clone());
            if let Some(cells) = expected {
                prop_assert_eq!(key, Some(Key::from_cells(cells)));
            }
        }
    }

    #[test]
    fn a_length_beyond_the_data_is_an_error() {
        let mut data = Bytes::from_static(b"t\xff\xff\xff\xffabc");
        assert_eq!(Row::split_from(&mut data, 1), Err(MalformedRow));
    }
}
