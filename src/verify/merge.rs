//! Two ordered streams of rows, merged by key. Memory: a block of each, and the keys that differ.

use super::next_block;
use bytes::Bytes;
use rowferry_api::{BlockStream, Cell, Error, ErrorKind, Key, KeyOrder, Result, TableSchema, Type};
use rowferry_api::{canonical_cell, decode_copy_row};
use std::cmp::Ordering;
use xxhash_rust::xxh3::xxh3_128;

/// Keys that are kept of a table; what differs beyond is counted only.
const MAX_KEYS: usize = 100_000;

/// Keys whose rows are not the same at both ends.
#[derive(Debug, Default, Clone)]
pub struct Differences {
    /// At both ends, with other cells.
    pub differing: Vec<Key>,
    /// At the source only.
    pub missing: Vec<Key>,
    /// At the target only.
    pub extra: Vec<Key>,
    /// Rows that differ beyond those that are kept.
    pub uncounted: u64,
}

impl Differences {
    /// Nothing differs.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many rows differ.
    pub fn len(&self) -> u64 {
        (self.differing.len() + self.missing.len() + self.extra.len()) as u64 + self.uncounted
    }

    /// All keys that are kept.
    pub fn into_keys(mut self) -> Vec<Key> {
        self.differing.append(&mut self.missing);
        self.differing.append(&mut self.extra);
        self.differing
    }

    fn room(&mut self) -> bool {
        let room = self.differing.len() + self.missing.len() + self.extra.len() < MAX_KEYS;
        self.uncounted += u64::from(!room);
        room
    }
}

/// The rows of a stream, one at a time.
pub(super) struct Rows<'a> {
    blocks: BlockStream<'a>,
    /// What is left of the block at hand.
    block: Bytes,
    /// The source's types: both ends are compared under them.
    types: Vec<Type>,
    key_columns: Vec<usize>,
    key: Vec<Option<Vec<u8>>>,
    canonical: Vec<u8>,
    scratch: Vec<u8>,
}

impl<'a> Rows<'a> {
    /// The rows of `form`, under the types of `types`, whose columns stand in the same order.
    pub(super) fn new(blocks: BlockStream<'a>, types: &TableSchema, form: &TableSchema) -> Self {
        Self {
            blocks,
            block: Bytes::new(),
            types: types.columns.iter().map(|column| column.ty.clone()).collect(),
            key_columns: form.key.clone(),
            key: vec![None; form.key.len()],
            canonical: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Goes to the next row; `false` at the end.
    pub(super) async fn advance(&mut self) -> Result<bool> {
        while self.block.is_empty() {
            match next_block(&mut self.blocks).await? {
                Some(block) => self.block = block.data,
                None => return Ok(false),
            }
        }
        let end = self.block.iter().position(|&byte| byte == b'\n').unwrap_or(self.block.len() - 1);
        let line = self.block.split_to(end + 1);
        let (types, key_columns, key, canonical) = (&self.types, &self.key_columns, &mut self.key, &mut self.canonical);
        canonical.clear();
        let mut cells = 0;
        decode_copy_row(line.trim_suffix_newline(), &mut self.scratch, |index, cell| {
            cells = index + 1;
            let ty = types.get(index).unwrap_or(&Type::Other);
            canonical_cell(ty, cell.map_or(Cell::Null, Cell::Text), canonical);
            for (place, _) in key_columns.iter().enumerate().filter(|(_, column)| **column == index) {
                key[place] = cell.map(<[u8]>::to_vec);
            }
        });
        if cells != self.types.len() {
            return Err(Error::new(
                ErrorKind::Protocol,
                format!("compare rows: a row has {cells} cells where {} were asked for", self.types.len()),
            ));
        }
        Ok(true)
    }

    /// The row's key.
    pub(super) fn key(&self) -> Key {
        Key::from_cells(self.key.iter().map(|cell| cell.as_deref().map_or(Cell::Null, Cell::Text)))
    }

    /// The row's hash.
    pub(super) fn hash(&self) -> u128 {
        xxh3_128(&self.canonical)
    }
}

trait TrimNewline {
    fn trim_suffix_newline(&self) -> &[u8];
}

impl TrimNewline for Bytes {
    fn trim_suffix_newline(&self) -> &[u8] {
        self.strip_suffix(b"\n").unwrap_or(self)
    }
}

/// Merges both streams and notes what differs; returns how many rows each had.
pub(super) async fn merge(
    mut left: Rows<'_>,
    mut right: Rows<'_>,
    form: &TableSchema,
    differences: &mut Differences,
) -> Result<(u64, u64)> {
    let orders: Vec<KeyOrder> = form.key_columns().map(|column| KeyOrder::of(&column.ty)).collect();
    let (mut left_rows, mut right_rows) = (0, 0);
    let (mut has_left, mut has_right) = (left.advance().await?, right.advance().await?);
    while has_left || has_right {
        let order = match (has_left, has_right) {
            (true, true) => compare(&left.key, &right.key, &orders),
            (true, false) => Ordering::Less,
            _ => Ordering::Greater,
        };
        match order {
            Ordering::Less if differences.room() => differences.missing.push(left.key()),
            Ordering::Greater if differences.room() => differences.extra.push(right.key()),
            Ordering::Equal if left.hash() != right.hash() && differences.room() => {
                differences.differing.push(left.key());
            }
            _ => {}
        }
        if order != Ordering::Greater {
            left_rows += 1;
            has_left = left.advance().await?;
        }
        if order != Ordering::Less {
            right_rows += 1;
            has_right = right.advance().await?;
        }
    }
    Ok((left_rows, right_rows))
}

fn compare(left: &[Option<Vec<u8>>], right: &[Option<Vec<u8>>], orders: &[KeyOrder]) -> Ordering {
    for ((left, right), order) in left.iter().zip(right).zip(orders) {
        let ordering = match (left, right) {
            (Some(left), Some(right)) => order.compare(left, right),
            (left, right) => left.is_some().cmp(&right.is_some()),
        };
        if ordering != Ordering::Equal {
            return ordering;
        }
    }
    Ordering::Equal
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rowferry_api::{Block, Column, Dialect, Fill, TableName};
    use std::collections::BTreeMap;

    fn form() -> TableSchema {
        let column = |name: &str, ty| Column {
            id: 0,
            name: name.into(),
            ty,
            native: String::new(),
            nullable: true,
            default: None,
            identity: false,
            generated: None,
            fill: Fill::Null,
        };
        TableSchema {
            name: TableName::new("public", "t"),
            dialect: Dialect::Postgres,
            columns: vec![column("id", Type::Int { bits: 64, unsigned: false }), column("v", Type::Text)],
            computed: Vec::new(),
            key: vec![0],
            indexes: Vec::new(),
            foreign_keys: Vec::new(),
            types: Vec::new(),
        }
    }

    fn stream(rows: &BTreeMap<i64, String>, per_block: usize) -> BlockStream<'static> {
        let lines: Vec<String> = rows.iter().map(|(id, value)| format!("{id}\t{value}\n")).collect();
        let blocks: Vec<Result<Block>> =
            lines.chunks(per_block).map(|lines| Ok(Block::new(Bytes::from(lines.concat())))).collect();
        Box::pin(futures_util::stream::iter(blocks))
    }

    proptest! {
        #[test]
        fn what_differs_is_what_a_map_says(
            left in prop::collection::btree_map(-20i64..20, "[ab]{0,1}", 0..20),
            right in prop::collection::btree_map(-20i64..20, "[ab]{0,1}", 0..20),
            per_block in 1..5usize,
        ) {
            let form = form();
            let mut differences = Differences::default();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (left_rows, right_rows) = runtime.block_on(merge(
                Rows::new(stream(&left, per_block), &form, &form),
                Rows::new(stream(&right, per_block), &form, &form),
                &form,
                &mut differences,
            )).unwrap();
            let keys = |ids: Vec<&i64>| ids.into_iter().map(|id| Key::from_cells([Cell::Text(id.to_string().as_bytes())])).collect::<Vec<_>>();
            prop_assert_eq!((left_rows, right_rows), (left.len() as u64, right.len() as u64));
            prop_assert_eq!(differences.missing, keys(left.keys().filter(|id| !right.contains_key(id)).collect()));
            prop_assert_eq!(differences.extra, keys(right.keys().filter(|id| !left.contains_key(id)).collect()));
            prop_assert_eq!(differences.differing, keys(left.iter().filter(|(id, value)| right.get(id).is_some_and(|other| other != *value)).map(|(id, _)| id).collect()));
        }
    }
}
