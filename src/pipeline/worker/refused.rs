//! Rows of a range by their keys, where a target refuses some of them.

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use rowferry_api::{
    Block, BlockStream, Cell, Error, ErrorKind, Key, Result, Row, RowBuilder, TableSchema, decode_copy_row,
};
use std::collections::HashSet;

/// Memory that the keys of one range may take.
const MOST_KEY_BYTES: usize = 64 << 20;
/// What a key takes beside its own bytes.
const KEY_OVERHEAD_BYTES: usize = 64;

/// The keys of the rows. `refusal` is why they are needed, for a range that has too many.
pub(super) async fn keys_of(mut blocks: BlockStream<'_>, read: &TableSchema, refusal: Error) -> Result<Vec<Key>> {
    let mut keys = Vec::new();
    let mut bytes = 0;
    let mut scratch = Vec::new();
    while let Some(block) = blocks.next().await.transpose()? {
        for line in block.lines() {
            let key = key_of(line, read, &mut scratch);
            bytes += key.as_bytes().len() + KEY_OVERHEAD_BYTES;
            keys.push(key);
        }
        if bytes > MOST_KEY_BYTES {
            let what = format!(
                "find the refused rows of a part of {}: its keys take more than {MOST_KEY_BYTES} bytes",
                read.name
            );
            return Err(Error::new(ErrorKind::Schema, what).because(refusal).hint("Set a smaller `slice_rows`."));
        }
    }
    Ok(keys)
}

/// The rows but those of these keys.
pub(super) fn without<'a>(blocks: BlockStream<'a>, read: &'a TableSchema, left_out: HashSet<Key>) -> BlockStream<'a> {
    let mut scratch = Vec::new();
    let kept = move |block: Block| {
        let mut data = BytesMut::with_capacity(block.data.len());
        for line in block.lines().filter(|line| !left_out.contains(&key_of(line, read, &mut scratch))) {
            data.extend_from_slice(line);
            data.extend_from_slice(b"\n");
        }
        Block::new(data.freeze())
    };
    let mut kept = kept;
    Box::pin(blocks.map(move |block| block.map(&mut kept)))
}

/// The first row, if there is one.
pub(super) async fn first_row(mut blocks: BlockStream<'_>) -> Result<Option<Row>> {
    while let Some(block) = blocks.next().await.transpose()? {
        if let Some(line) = block.lines().next() {
            let mut builder = RowBuilder::new();
            decode_copy_row(line, &mut Vec::new(), |_, cell| builder.push(cell.map_or(Cell::Null, Cell::Text)));
            return Ok(Some(builder.finish()));
        }
    }
    Ok(None)
}

fn key_of(line: &[u8], read: &TableSchema, scratch: &mut Vec<u8>) -> Key {
    let mut cells: Vec<Option<Bytes>> = vec![None; read.key.len()];
    decode_copy_row(line, scratch, |index, cell| {
        if let Some(place) = read.key.iter().position(|&column| column == index) {
            cells[place] = cell.map(Bytes::copy_from_slice);
        }
    });
    Key::from_cells(cells.iter().map(|cell| cell.as_deref().map_or(Cell::Null, Cell::Text)))
}
