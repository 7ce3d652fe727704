//! The head of the events that carry rows: table, flags, and which columns the images have.

use super::compressed;
use super::event::{RowsEvent, RowsKind};
use super::header::types;
use super::reader::{Decoded, Malformed, Reader, slice_of};
use super::table_map::TableMap;
use bytes::Bytes;
use std::sync::Arc;

pub(super) fn is_rows(code: u8) -> bool {
    form(code).is_some()
}

pub(super) fn table_id(body: &[u8]) -> Decoded<u64> {
    Reader::new(body).uint(6)
}

/// Reads the head; the rows stay as they are, or are inflated to `max_bytes` at most.
pub(super) fn read(code: u8, body: &Bytes, table: Arc<TableMap>, max_bytes: u64) -> Decoded<RowsEvent> {
    const ENDS_STATEMENT: u16 = 1;
    let Form { kind, has_extra, is_compressed } = form(code).ok_or(Malformed("it carries no rows"))?;
    let mut reader = Reader::new(body);
    reader.uint(6)?;
    let flags = reader.u16()?;
    if has_extra {
        // The length counts itself.
        let len = usize::from(reader.u16()?);
        reader.take(len.checked_sub(2).ok_or(Malformed("its extra data is shorter than its length"))?)?;
    }
    let columns = reader.lenenc_len()?;
    if columns != table.columns.len() {
        return Err(Malformed("it has not as many columns as its TABLE_MAP"));
    }
    let mut bitmap = |is_there: bool| -> Decoded<Bytes> {
        if is_there { Ok(slice_of(body, reader.take(columns.div_ceil(8))?)) } else { Ok(Bytes::new()) }
    };
    let before = bitmap(kind != RowsKind::Insert)?;
    let after = bitmap(kind != RowsKind::Delete)?;
    let data = reader.rest();
    let data = if is_compressed { compressed::mariadb(data, max_bytes)?.into() } else { slice_of(body, data) };
    let is_partial = code == types::PARTIAL_UPDATE_ROWS;
    Ok(RowsEvent { kind, table, ends_statement: flags & ENDS_STATEMENT != 0, is_partial, before, after, data })
}

struct Form {
    kind: RowsKind,
    /// Version 2: extra data with a length follow the flags.
    has_extra: bool,
    is_compressed: bool,
}

fn form(code: u8) -> Option<Form> {
    let (kind, has_extra, is_compressed) = match code {
        types::WRITE_ROWS_V1 => (RowsKind::Insert, false, false),
        types::UPDATE_ROWS_V1 => (RowsKind::Update, false, false),
        types::DELETE_ROWS_V1 => (RowsKind::Delete, false, false),
        types::WRITE_ROWS => (RowsKind::Insert, true, false),
        types::UPDATE_ROWS | types::PARTIAL_UPDATE_ROWS => (RowsKind::Update, true, false),
        types::DELETE_ROWS => (RowsKind::Delete, true, false),
        types::WRITE_ROWS_COMPRESSED_V1 => (RowsKind::Insert, false, true),
        types::UPDATE_ROWS_COMPRESSED_V1 => (RowsKind::Update, false, true),
        types::DELETE_ROWS_COMPRESSED_V1 => (RowsKind::Delete, false, true),
        types::WRITE_ROWS_COMPRESSED => (RowsKind::Insert, true, true),
        types::UPDATE_ROWS_COMPRESSED => (RowsKind::Update, true, true),
        types::DELETE_ROWS_COMPRESSED => (RowsKind::Delete, true, true),
        _ => return None,
    };
    Some(Form { kind, has_extra, is_compressed })
}
