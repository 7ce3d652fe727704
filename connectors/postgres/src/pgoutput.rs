//! pgoutput's messages of protocol version 1. Pure; never panics, never allocates what a length field claims.
//!
//! Source: PostgreSQL manual, "Logical Replication Message Formats".

use crate::lsn::Lsn;
use bytes::{Buf, Bytes};
use rowferry_api::{Error, ErrorKind, Result, Row, Timestamp};

/// Microseconds from 1970 to 2000, where PostgreSQL's clock starts.
const EPOCH_US: i64 = 946_684_800_000_000;

/// PostgreSQL's microseconds since 2000 as ours.
pub(crate) fn timestamp(at: i64) -> Timestamp {
    Timestamp(at.saturating_add(EPOCH_US))
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// A transaction starts.
    Begin {
        /// Its transaction id.
        xid: u32,
    },
    /// A transaction ends.
    Commit {
        /// Where what follows starts.
        end: Lsn,
        /// By the server's clock.
        committed_at: Timestamp,
    },
    /// A table's form, before its first change and after each change of form.
    Relation(Relation),
    /// A new row.
    Insert {
        /// The table's oid.
        relation: u32,
        /// The whole row.
        new: Row,
    },
    /// A changed row.
    Update {
        /// The table's oid.
        relation: u32,
        /// Absent where the replica identity is what it was, and is not the whole row.
        old: Option<Old>,
        /// Without large values that did not change.
        new: Row,
    },
    /// A row is gone.
    Delete {
        /// The table's oid.
        relation: u32,
        /// The row that was there.
        old: Old,
    },
    /// Tables were emptied together.
    Truncate {
        /// The tables' oids.
        relations: Vec<u32>,
    },
    /// Origin, Type, Message: nothing that changes a row.
    Other,
}

/// Where the commit record of a transaction begins, of a message that begins it.
pub(crate) fn begins_at(message: &[u8]) -> Option<Lsn> {
    let at = message.strip_prefix(b"B")?.first_chunk()?;
    Some(Lsn(u64::from_be_bytes(*at)))
}

/// What the log carries of a row before its change.
#[derive(Debug, Clone, PartialEq)]
pub enum Old {
    /// The replica identity's columns; the others are NULL.
    Key(Row),
    /// The whole row (REPLICA IDENTITY FULL).
    Full(Row),
}

impl Old {
    /// The row either way.
    pub fn row(&self) -> &Row {
        match self {
            Self::Key(row) | Self::Full(row) => row,
        }
    }
}

/// A table as the log sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Relation {
    /// pg_class.oid
    pub oid: u32,
    /// Its schema; pg_catalog is sent as an empty text.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// In the order of a row's cells.
    pub columns: Vec<RelationColumn>,
}

/// A column as the log sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct RelationColumn {
    /// Part of the replica identity.
    pub is_key: bool,
    /// Its name.
    pub name: String,
    /// pg_type.oid
    pub type_oid: u32,
    /// pg_attribute.atttypmod
    pub type_mod: i32,
}

fn malformed() -> Error {
    Error::new(ErrorKind::Protocol, "decode a message of the log: it is cut short or not of pgoutput version 1")
        .hint("This is a defect of rowferry or of the server; the position is kept.")
}

/// Decodes one message. `columns` gives the number of columns of a relation that was described before; rows are slices of
/// `data`. What is cut short, too long, or of another version is [`ErrorKind::Protocol`](rowferry_api::ErrorKind::Protocol).
pub fn decode(mut data: Bytes, columns: impl Fn(u32) -> Option<usize>) -> Result<Message> {
    let tag = u8_of(&mut data)?;
    let message = match tag {
        b'B' => {
            take(&mut data, 16)?;
            Message::Begin { xid: u32_of(&mut data)? }
        }
        b'C' => {
            take(&mut data, 9)?;
            let end = Lsn(u64_of(&mut data)?);
            let at = u64_of(&mut data)?.cast_signed();
            Message::Commit { end, committed_at: timestamp(at) }
        }
        b'R' => Message::Relation(relation(&mut data)?),
        b'I' => {
            let relation = u32_of(&mut data)?;
            match u8_of(&mut data)? {
                b'N' => Message::Insert { relation, new: row(&mut data, columns(relation))? },
                _ => return Err(malformed()),
            }
        }
        b'U' => update(&mut data, &columns)?,
        b'D' => {
            let relation = u32_of(&mut data)?;
            let kind = u8_of(&mut data)?;
            Message::Delete { relation, old: old(kind, &mut data, columns(relation))?.ok_or_else(malformed)? }
        }
        b'T' => {
            let count = u32_of(&mut data)?;
            take(&mut data, 1)?;
            if data.len() / 4 < count as usize {
                return Err(malformed());
            }
            Message::Truncate { relations: (0..count).map(|_| u32_of(&mut data)).collect::<Result<_>>()? }
        }
        b'O' | b'Y' | b'M' => return Ok(Message::Other),
        other => {
            return Err(Error::new(
                ErrorKind::Protocol,
                format!("decode a message of the log: unknown type '{}'", other.escape_ascii()),
            )
            .hint("The server sends what protocol version 1 does not have; the position is kept."));
        }
    };
    if data.is_empty() { Ok(message) } else { Err(malformed()) }
}

fn update(data: &mut Bytes, columns: &impl Fn(u32) -> Option<usize>) -> Result<Message> {
    let relation = u32_of(data)?;
    let count = columns(relation);
    let mut kind = u8_of(data)?;
    let before = old(kind, data, count)?;
    if before.is_some() {
        kind = u8_of(data)?;
    }
    match kind {
        b'N' => Ok(Message::Update { relation, old: before, new: row(data, count)? }),
        _ => Err(malformed()),
    }
}

fn old(kind: u8, data: &mut Bytes, columns: Option<usize>) -> Result<Option<Old>> {
    match kind {
        b'K' => Ok(Some(Old::Key(row(data, columns)?))),
        b'O' => Ok(Some(Old::Full(row(data, columns)?))),
        _ => Ok(None),
    }
}

fn row(data: &mut Bytes, columns: Option<usize>) -> Result<Row> {
    let expected = columns.ok_or_else(|| {
        Error::new(ErrorKind::Protocol, "decode a message of the log: a row comes before its table's description")
    })?;
    if usize::from(u16_of(data)?) != expected {
        return Err(malformed());
    }
    Row::split_from(data, expected).map_err(|_| malformed())
}

fn relation(data: &mut Bytes) -> Result<Relation> {
    let oid = u32_of(data)?;
    let schema = text_of(data)?;
    let name = text_of(data)?;
    take(data, 1)?;
    let count = u16_of(data)?;
    let columns = (0..count).map(|_| column(data)).collect::<Result<_>>()?;
    let schema = if schema.is_empty() { "pg_catalog".to_owned() } else { schema };
    Ok(Relation { oid, schema, name, columns })
}

fn column(data: &mut Bytes) -> Result<RelationColumn> {
    let is_key = u8_of(data)? & 1 == 1;
    let name = text_of(data)?;
    Ok(RelationColumn { is_key, name, type_oid: u32_of(data)?, type_mod: u32_of(data)?.cast_signed() })
}

fn take(data: &mut Bytes, len: usize) -> Result<Bytes> {
    if data.len() < len { Err(malformed()) } else { Ok(data.split_to(len)) }
}

fn u8_of(data: &mut Bytes) -> Result<u8> {
    Ok(take(data, 1)?.get_u8())
}

fn u16_of(data: &mut Bytes) -> Result<u16> {
    Ok(take(data, 2)?.get_u16())
}

fn u32_of(data: &mut Bytes) -> Result<u32> {
    Ok(take(data, 4)?.get_u32())
}

fn u64_of(data: &mut Bytes) -> Result<u64> {
    Ok(take(data, 8)?.get_u64())
}

fn text_of(data: &mut Bytes) -> Result<String> {
    let end = memchr::memchr(0, data).ok_or_else(malformed)?;
    let text = take(data, end)?;
    take(data, 1)?;
    String::from_utf8(text.to_vec()).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::{BufMut, BytesMut};
    use proptest::prelude::*;
    use rowferry_api::{Cell, RowBuilder};

    fn encode(message: &Message) -> Bytes {
        let mut out = BytesMut::new();
        let put_row = |out: &mut BytesMut, row: &Row| {
            out.put_u16(row.cells().count() as u16);
            out.put_slice(row.as_bytes());
        };
        match message {
            Message::Begin { xid } => {
                out.put_u8(b'B');
                out.put_slice(&[0; 16]);
                out.put_u32(*xid);
            }
            Message::Commit { end, committed_at } => {
                out.put_u8(b'C');
                out.put_slice(&[0; 9]);
                out.put_u64(end.0);
                out.put_i64(committed_at.0 - EPOCH_US);
            }
            Message::Relation(relation) => {
                out.put_u8(b'R');
                out.put_u32(relation.oid);
                out.put_slice(relation.schema.as_bytes());
                out.put_u8(0);
                out.put_slice(relation.name.as_bytes());
                out.put_slice(&[0, b'd']);
                out.put_u16(relation.columns.len() as u16);
                for column in &relation.columns {
                    out.put_u8(column.is_key.into());
                    out.put_slice(column.name.as_bytes());
                    out.put_u8(0);
                    out.put_u32(column.type_oid);
                    out.put_i32(column.type_mod);
                }
            }
            Message::Insert { relation, new } => {
                out.put_u8(b'I');
                out.put_u32(*relation);
                out.put_u8(b'N');
                put_row(&mut out, new);
            }
            Message::Update { relation, old, new } => {
                out.put_u8(b'U');
                out.put_u32(*relation);
                if let Some(old) = old {
                    out.put_u8(if matches!(old, Old::Key(_)) { b'K' } else { b'O' });
                    put_row(&mut out, old.row());
                }
                out.put_u8(b'N');
                put_row(&mut out, new);
            }
            Message::Delete { relation, old } => {
                out.put_u8(b'D');
                out.put_u32(*relation);
                out.put_u8(if matches!(old, Old::Key(_)) { b'K' } else { b'O' });
                put_row(&mut out, old.row());
            }
            Message::Truncate { relations } => {
                out.put_u8(b'T');
                out.put_u32(relations.len() as u32);
                out.put_u8(0);
                relations.iter().for_each(|oid| out.put_u32(*oid));
            }
            Message::Other => out.put_slice(b"O"),
        }
        out.freeze()
    }

    fn row() -> impl Strategy<Value = Row> {
        prop::collection::vec(prop::option::of(prop::option::of("[a-z]{0,10}")), 2..3).prop_map(|cells| {
            let mut builder = RowBuilder::new();
            for cell in &cells {
                builder.push(match cell {
                    None => Cell::Null,
                    Some(None) => Cell::Unchanged,
                    Some(Some(text)) => Cell::Text(text.as_bytes()),
                });
            }
            builder.finish()
        })
    }

    fn old() -> impl Strategy<Value = Old> {
        (any::<bool>(), row()).prop_map(|(full, row)| if full { Old::Full(row) } else { Old::Key(row) })
    }

    fn message() -> impl Strategy<Value = Message> {
        let column = (any::<bool>(), "[^\\x00]{0,8}", any::<u32>(), any::<i32>())
            .prop_map(|(is_key, name, type_oid, type_mod)| RelationColumn { is_key, name, type_oid, type_mod });
        let relation = (any::<u32>(), "[a-z]{1,5}", "[^\\x00]{0,8}", prop::collection::vec(column, 0..4))
            .prop_map(|(oid, schema, name, columns)| Message::Relation(Relation { oid, schema, name, columns }));
        prop_oneof![
            any::<u32>().prop_map(|xid| Message::Begin { xid }),
            (any::<u64>(), any::<i32>())
                .prop_map(|(end, at)| Message::Commit { end: Lsn(end), committed_at: Timestamp(at.into()) }),
            relation,
            (any::<u32>(), row()).prop_map(|(relation, new)| Message::Insert { relation, new }),
            (any::<u32>(), prop::option::of(old()), row()).prop_map(|(relation, old, new)| Message::Update {
                relation,
                old,
                new
            }),
            (any::<u32>(), old()).prop_map(|(relation, old)| Message::Delete { relation, old }),
            prop::collection::vec(any::<u32>(), 0..5).prop_map(|relations| Message::Truncate { relations }),
        ]
    }

    proptest! {
        #[test]
        fn messages_come_back(message in message()) {
            prop_assert_eq!(decode(encode(&message), |_| Some(2)).unwrap(), message);
        }

        #[test]
        fn a_message_that_is_cut_short_is_an_error(message in message(), cut in 1..50usize) {
            let bytes = encode(&message);
            let kept = bytes.len().saturating_sub(cut);
            prop_assert!(decode(bytes.slice(..kept), |_| Some(2)).is_err());
        }

        #[test]
        fn any_bytes_are_a_message_or_an_error(tag in prop::sample::select(b"BCRIUDTOYMX".to_vec()), bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut data = vec![tag];
            data.extend(bytes);
            let _ = decode(Bytes::from(data), |_| Some(2));
        }
    }

    #[test]
    fn a_count_that_the_bytes_cannot_hold_is_an_error() {
        let data = Bytes::from_static(b"T\xff\xff\xff\xff\x00\x00\x00\x00\x01");
        assert!(decode(data, |_| None).is_err());
    }
}
