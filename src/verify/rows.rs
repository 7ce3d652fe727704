//! The rows of a stream, one at a time, as a key and a hash. No allocation a cell once its buffers have grown.

use bytes::Bytes;
use futures_util::StreamExt;
use rowferry_api::{
    BlockStream, Cell, Dialect, Error, ErrorKind, Key, KeyOrder, Result, TableReader, TableSchema, Type,
    canonical_cell, canonical_document, decode_copy_row,
};
use std::cmp::Ordering;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use xxhash_rust::xxh3::xxh3_128;

/// What counts as equal although it reads otherwise, since one end does not keep it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Alike {
    /// JSON documents that mean the same.
    pub(super) documents: bool,
    /// Both zeros.
    pub(super) zeros: bool,
}

impl Alike {
    pub(super) fn of(source: &dyn TableReader, target: &dyn TableReader, form: &TableSchema) -> Self {
        let (here, there) = (source.keeps(), target.keeps());
        // Only between servers of MySQL's kind is JSON more than text at the target.
        let documents = form.dialect == Dialect::Mysql && here.json_text && !there.json_text;
        Self { documents, zeros: !there.minus_zero }
    }

    fn put(self, ty: &Type, cell: Cell<'_>, out: &mut Vec<u8>) {
        match (ty, cell) {
            (Type::Json, Cell::Text(text)) if self.documents => {
                let start = out.len();
                if canonical_document(text, out).is_none() {
                    out.truncate(start);
                    canonical_cell(ty, cell, out);
                }
            }
            (Type::Float { .. }, Cell::Text(b"-0")) if self.zeros => canonical_cell(ty, Cell::Text(b"0"), out),
            _ => canonical_cell(ty, cell, out),
        }
    }
}

/// The rows of a stream.
pub(super) struct Rows<'a> {
    blocks: BlockStream<'a>,
    /// What is left of the block at hand.
    block: Bytes,
    types: Vec<Type>,
    key_types: Vec<Type>,
    alike: Alike,
    /// For each column, its place in the key.
    key_places: Vec<Option<usize>>,
    orders: Vec<KeyOrder>,
    key: Vec<KeyCell>,
    last_key: Vec<KeyCell>,
    /// How many rows came so far.
    count: u64,
    canonical: Vec<u8>,
    scratch: Vec<u8>,
}

/// A cell of the key of the row at hand.
#[derive(Debug, Default, Clone)]
struct KeyCell {
    null: bool,
    text: Vec<u8>,
}

impl<'a> Rows<'a> {
    /// Rows whose cells stand in the order of the source's form, at whichever end they were read: both ends are compared
    /// under the source's types.
    pub(super) fn new(blocks: BlockStream<'a>, source: &TableSchema, alike: Alike) -> Self {
        let place = |index| source.key.iter().position(|&column| column == index);
        Self {
            blocks,
            block: Bytes::new(),
            alike,
            types: source.columns.iter().map(|column| column.ty.clone()).collect(),
            key_types: source.key_columns().map(|column| column.ty.clone()).collect(),
            key_places: (0..source.columns.len()).map(place).collect(),
            orders: source.key_columns().map(|column| KeyOrder::of(&column.ty)).collect(),
            key: vec![KeyCell::default(); source.key.len()],
            last_key: vec![KeyCell::default(); source.key.len()],
            count: 0,
            canonical: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Goes to the next row; `false` at the end.
    pub(super) async fn advance(&mut self) -> Result<bool> {
        while self.block.is_empty() {
            match self.blocks.next().await.transpose()? {
                Some(block) => self.block = block.data,
                None => return Ok(false),
            }
        }
        let end = memchr::memchr(b'\n', &self.block).unwrap_or(self.block.len());
        let line = self.block.split_to((end + 1).min(self.block.len()));
        self.take(line.strip_suffix(b"\n").unwrap_or(&line))?;
        Ok(true)
    }

    fn take(&mut self, line: &[u8]) -> Result<()> {
        std::mem::swap(&mut self.key, &mut self.last_key);
        self.count += 1;
        let Self { types, key_places, key, canonical, alike, .. } = self;
        canonical.clear();
        let mut cells = 0;
        decode_copy_row(line, &mut self.scratch, |index, cell| {
            cells = index + 1;
            let Some(ty) = types.get(index) else { return };
            alike.put(ty, cell.map_or(Cell::Null, Cell::Text), canonical);
            if let Some(place) = key_places[index] {
                key[place].null = cell.is_none();
                key[place].text.clear();
                key[place].text.extend_from_slice(cell.unwrap_or_default());
            }
        });
        if cells != types.len() {
            let what = format!("compare rows: a row has {cells} cells where {} were asked for", types.len());
            return Err(Error::new(ErrorKind::Protocol, what));
        }
        Ok(())
    }

    fn key_cells(&self) -> impl Iterator<Item = Cell<'_>> {
        self.key.iter().map(|cell| if cell.null { Cell::Null } else { Cell::Text(&cell.text) })
    }

    /// The row's key.
    pub(super) fn key(&self) -> Key {
        Key::from_cells(self.key_cells())
    }

    /// The row's hash.
    pub(super) fn hash(&self) -> u128 {
        xxh3_128(&self.canonical)
    }

    /// The order of both rows' keys.
    pub(super) fn compare(&self, other: &Self) -> Ordering {
        self.compare_cells(&other.key)
    }

    /// Whether the row's key comes after that of the row before.
    pub(super) fn is_in_order(&self) -> bool {
        self.count == 1 || self.compare_cells(&self.last_key) == Ordering::Greater
    }

    fn compare_cells(&self, other: &[KeyCell]) -> Ordering {
        for ((left, right), order) in self.key.iter().zip(other).zip(&self.orders) {
            let ordering = match (left.null, right.null) {
                (false, false) => order.compare(&left.text, &right.text),
                (left, right) => right.cmp(&left),
            };
            if ordering != Ordering::Equal {
                return ordering;
            }
        }
        Ordering::Equal
    }
}

/// A key that is equal for equal values, however an end writes them.
pub(super) fn key_id(source: &TableSchema, key: &Key) -> u128 {
    id_of(source.key_columns().map(|column| &column.ty), key.cells())
}

fn id_of<'a>(types: impl Iterator<Item = &'a Type>, cells: impl Iterator<Item = Cell<'a>>) -> u128 {
    let mut canonical = Vec::new();
    for (ty, cell) in types.zip(cells) {
        canonical_cell(ty, cell, &mut canonical);
    }
    xxh3_128(&canonical)
}

/// The hash of each row by the id of its key. Rows that share a key at an end equal no single row.
pub(super) async fn hashes(mut rows: Rows<'_>) -> Result<HashMap<u128, u128>> {
    let mut hashes = HashMap::new();
    while rows.advance().await? {
        match hashes.entry(id_of(rows.key_types.iter(), rows.key_cells())) {
            Entry::Vacant(place) => drop(place.insert(rows.hash())),
            Entry::Occupied(mut place) => {
                let both = place.get().wrapping_mul(31).wrapping_add(rows.hash()).wrapping_add(1);
                place.insert(both);
            }
        }
    }
    Ok(hashes)
}
