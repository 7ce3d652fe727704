//! Decodes the binary log: events, rows, values. Pure: bytes in, values out, no connection and no clock.
//!
//! [`Decoder`] takes whole events as they stand in a log file or come from a dump, and gives [`LogEvent`]s.
//! [`RowDecoder`] reads the rows of one table out of its [`RowsEvent`]s. Every length in the bytes is checked against the
//! bytes that are there; what does not fit is an error that names the event, or the table and column.

mod compressed;
mod decimal;
mod decoder;
mod digits;
mod event;
mod fit;
mod gtid_event;
mod header;
mod json;
mod json_diff;
mod log_type;
mod query;
mod reader;
mod rows;
mod rows_event;
mod stream;
mod table_map;
mod temporal;
#[cfg(test)]
mod tests;
mod values;

pub(crate) use compressed::PayloadEvents;
pub(crate) use decoder::Decoder;
pub(crate) use event::{AlterPhase, GtidEvent, LogEvent, QueryEvent, RowsEvent, RowsKind};
pub(crate) use gtid_event::xid as xid_text;
pub(crate) use header::Header;
pub(crate) use log_type::LogType;
pub(crate) use rows::RowDecoder;
pub(crate) use stream::raw_event;
pub(crate) use table_map::TableMap;

/// A document of binary JSON as text; `None` if it is none.
pub(crate) fn json_text(document: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    json::push_json(&mut out, document).ok().map(|()| out)
}

/// A document with differences applied, as text.
pub(crate) fn patched_json_text(document: &[u8], differences: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    json_diff::push_patched(&mut out, document, differences).ok().map(|()| out)
}
