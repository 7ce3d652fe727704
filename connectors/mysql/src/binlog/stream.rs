//! An event of the client library as the bytes that it came from.

use super::header::HEADER_LEN;
use bytes::Bytes;
use mysql_async::binlog::events::{BinlogEventHeader, Event};

/// The whole event: the library has taken the checksum off, and off a FORMAT_DESCRIPTION the byte before it too.
///
/// For events that came off the wire. The library also gives the events inside of a TRANSACTION_PAYLOAD, after it; those
/// have no checksum and are not for this function.
pub(crate) fn raw_event(event: &Event) -> Bytes {
    const FORMAT_DESCRIPTION: u8 = 15;
    let header: BinlogEventHeader = event.header();
    let mut raw = Vec::with_capacity(HEADER_LEN + event.data().len() + 5);
    raw.extend_from_slice(&header.timestamp().to_le_bytes());
    raw.push(header.event_type_raw());
    raw.extend_from_slice(&header.server_id().to_le_bytes());
    raw.extend_from_slice(&header.event_size().to_le_bytes());
    raw.extend_from_slice(&header.log_pos().to_le_bytes());
    raw.extend_from_slice(&header.flags_raw().to_le_bytes());
    raw.extend_from_slice(event.data());
    if header.event_type_raw() == FORMAT_DESCRIPTION
        && let Ok(Some(algorithm)) = event.footer().get_checksum_alg()
    {
        raw.push(algorithm as u8);
    }
    if let Some(checksum) = event.checksum() {
        raw.extend_from_slice(&checksum);
    }
    raw.into()
}
