//! Cuts events into header, body and checksum, and hands each body to what reads its type.

use super::compressed::Payload;
use super::event::LogEvent;
use super::header::{HEADER_LEN, Header, types};
use super::reader::{CUT, Decoded, Malformed, Reader, lossy};
use super::table_map::TableMap;
use super::{gtid_event, query, rows_event};
use crate::connection::{Flavor, MAX_PACKET_BYTES};
use crate::gtid::Gtid;
use bytes::Bytes;
use rowferry_api::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::sync::Arc;

/// Table descriptions that are kept for the next statement; more make it start anew.
const MAX_KNOWN_TABLES: usize = 1024;
/// A statement that names more tables than this is none that a server writes.
const MAX_OPEN_TABLES: usize = 16 * 1024;
const CHECKSUM_LEN: usize = 4;
/// The table id of rows that only say that a statement ends.
const NO_TABLE: u64 = 0xff_ffff;

/// Reads a log from a file's or a dump's first event on.
#[derive(Debug)]
pub(crate) struct Decoder {
    flavor: Flavor,
    max_event_bytes: u64,
    has_checksums: bool,
    /// The tables of the statement that is being read.
    open: HashMap<u64, Arc<TableMap>>,
    /// The last description of each table id with its bytes, so that one that did not change is not read again.
    known: HashMap<u64, (Box<[u8]>, Arc<TableMap>)>,
}

impl Decoder {
    /// For a log of this kind of server. The first event may be a FORMAT_DESCRIPTION or, in a dump, a made-up ROTATE.
    pub(crate) fn new(flavor: Flavor) -> Self {
        Self::with_limit(flavor, MAX_PACKET_BYTES as u64)
    }

    /// What is compressed may be inflated to events of so many bytes.
    pub(crate) fn with_limit(flavor: Flavor, max_event_bytes: u64) -> Self {
        Self { flavor, max_event_bytes, has_checksums: false, open: HashMap::new(), known: HashMap::new() }
    }

    /// Reads one whole event: header, body and, where the log has them, checksum. A checksum that is wrong, bytes that
    /// are cut short and a type that is not known and must not be skipped are errors ([`ErrorKind::Protocol`]).
    pub(crate) fn parse(&mut self, raw: &Bytes) -> Result<(Header, LogEvent)> {
        let (header, body) = split(raw)?;
        let body = match header.type_code {
            types::FORMAT_DESCRIPTION => self.begin_format(header, raw, &body),
            // Sent before the format is known, and at a file's end in the last file's format or the next one's.
            types::ROTATE if header.flags & Header::ARTIFICIAL != 0 => Ok(without_matching_checksum(raw, &body)),
            _ if self.has_checksums => checked(header, raw, &body),
            _ => Ok(body),
        };
        let body = body.map_err(|cause| self.failed(header, cause))?;
        let event = self.read(header, &body)?;
        Ok((header, event))
    }

    /// Reads one event out of a [`LogEvent::Payload`]; those have no checksum of their own.
    pub(crate) fn parse_inner(&mut self, raw: &Bytes) -> Result<(Header, LogEvent)> {
        let (header, body) = split(raw)?;
        if header.type_code == types::TRANSACTION_PAYLOAD {
            return Err(self.failed(header, Malformed("it stands inside of another one")));
        }
        let event = self.read(header, &body)?;
        Ok((header, event))
    }

    /// FORMAT_DESCRIPTION says how it and all after it are checked. Servers from 5.6.1 and MariaDB 5.3 on say it in the
    /// last byte before a checksum that is always there.
    fn begin_format(&mut self, header: Header, raw: &Bytes, body: &Bytes) -> Decoded<Bytes> {
        let version = body.get(2..52).ok_or(CUT)?;
        self.open.clear();
        self.known.clear();
        self.has_checksums = false;
        if !knows_checksums(&lossy(version)) {
            return Ok(body.clone());
        }
        let at = body.len().checked_sub(CHECKSUM_LEN + 1).ok_or(CUT)?;
        match body[at] {
            0 => {}
            1 => {
                checked(header, raw, body)?;
                self.has_checksums = true;
            }
            _ => return Err(Malformed("its checksums are of an unknown kind")),
        }
        Ok(body.slice(..at))
    }

    fn read(&mut self, header: Header, body: &Bytes) -> Result<LogEvent> {
        let event = self.read_body(header, body).map_err(|cause| self.failed(header, cause))?;
        match event {
            Some(event) => Ok(event),
            None if header.flags & Header::IGNORABLE != 0 => Ok(LogEvent::Ignored),
            None => Err(self.unknown(header)),
        }
    }

    /// `None` for a type that is not known.
    fn read_body(&mut self, header: Header, body: &Bytes) -> Decoded<Option<LogEvent>> {
        let mut reader = Reader::new(body);
        let event = match header.type_code {
            types::QUERY => LogEvent::Query(query::read(body, None)?),
            types::QUERY_COMPRESSED => LogEvent::Query(query::read(body, Some(self.max_event_bytes))?),
            types::TABLE_MAP => LogEvent::TableMap(self.table_map(body)?),
            code if rows_event::is_rows(code) => self.rows(code, body)?,
            types::XID => self.transaction_ends(LogEvent::Xid),
            types::XA_PREPARE => self.transaction_ends(xa_prepare(&mut reader)?),
            types::GTID | types::ANONYMOUS_GTID => {
                self.transaction_begins(gtid_event::read_mysql(body, header.type_code)?)
            }
            types::GTID_TAGGED => self.transaction_begins(gtid_event::read_tagged(body)?),
            types::MARIADB_GTID => self.transaction_begins(gtid_event::read_mariadb(body, header.server_id)?),
            types::TRANSACTION_PAYLOAD => LogEvent::Payload(Payload::read(body, self.max_event_bytes)?),
            types::ROTATE => self.rotate(header, &mut reader)?,
            types::FORMAT_DESCRIPTION => {
                let version = body.get(2..52).ok_or(CUT)?;
                LogEvent::Format { server_version: lossy(version).trim_end_matches('\0').to_owned() }
            }
            types::HEARTBEAT => {
                // MariaDB puts a position of 4 GiB and beyond before the name.
                let is_beyond = self.flavor == Flavor::Mariadb && header.end_position == 0;
                let position = if is_beyond { reader.u64()? } else { u64::from(header.end_position) };
                LogEvent::Heartbeat { position, file: lossy(reader.rest()) }
            }
            types::HEARTBEAT_V2 => heartbeat(&mut reader)?,
            types::INCIDENT => {
                let number = reader.u16()?;
                let len = usize::from(reader.u8()?);
                LogEvent::Incident { number, message: lossy(reader.take(len)?) }
            }
            types::ROWS_QUERY => {
                // A length of one byte that long statements overflow; the text goes on to the end.
                reader.u8()?;
                LogEvent::RowsQuery(lossy(reader.rest()))
            }
            types::ANNOTATE_ROWS => LogEvent::RowsQuery(lossy(reader.rest())),
            types::PREVIOUS_GTIDS => LogEvent::PreviousGtids(gtid_event::read_previous(body)?),
            types::GTID_LIST => gtid_list(&mut reader)?,
            types::STOP => LogEvent::Stop,
            code => return Ok(without_content(code)),
        };
        Ok(Some(event))
    }

    fn table_map(&mut self, body: &Bytes) -> Decoded<Arc<TableMap>> {
        let table_id = Reader::new(body).uint(6)?;
        let map = match self.known.get(&table_id) {
            Some((bytes, map)) if **bytes == **body => Arc::clone(map),
            _ => {
                let map = Arc::new(TableMap::read(body, self.flavor)?);
                if self.known.len() >= MAX_KNOWN_TABLES {
                    self.known.clear();
                }
                self.known.insert(table_id, (Box::from(&**body), Arc::clone(&map)));
                map
            }
        };
        if self.open.len() >= MAX_OPEN_TABLES {
            return Err(Malformed("its statement names more tables than a server allows"));
        }
        self.open.insert(table_id, Arc::clone(&map));
        Ok(map)
    }

    fn rows(&mut self, code: u8, body: &Bytes) -> Decoded<LogEvent> {
        let table_id = rows_event::table_id(body)?;
        let Some(table) = self.open.get(&table_id) else {
            if table_id == NO_TABLE {
                self.open.clear();
                return Ok(LogEvent::Ignored);
            }
            return Err(Malformed("no TABLE_MAP of its statement has its table"));
        };
        let rows = rows_event::read(code, body, Arc::clone(table), self.max_event_bytes)?;
        if rows.ends_statement {
            self.open.clear();
        }
        Ok(LogEvent::Rows(rows))
    }

    fn transaction_begins(&mut self, event: super::event::GtidEvent) -> LogEvent {
        self.open.clear();
        LogEvent::Gtid(event)
    }

    fn transaction_ends(&mut self, event: LogEvent) -> LogEvent {
        self.open.clear();
        event
    }

    fn rotate(&mut self, header: Header, reader: &mut Reader<'_>) -> Decoded<LogEvent> {
        self.open.clear();
        let position = reader.u64()?;
        // A made-up event of a dump has neither a time nor a place.
        let is_artificial = header.flags & Header::ARTIFICIAL != 0 || header.timestamp == 0;
        Ok(LogEvent::Rotate { file: lossy(reader.rest()), position, is_artificial })
    }

    fn failed(&self, header: Header, Malformed(cause): Malformed) -> Error {
        let (flavor, name) = (self.flavor, types::name(header.type_code));
        let Header { type_code, end_position, .. } = header;
        let text =
            format!("read {flavor}'s event {name} ({type_code}) that ends at {end_position} of its file: {cause}");
        Error::new(ErrorKind::Protocol, text)
    }

    fn unknown(&self, header: Header) -> Error {
        self.failed(header, Malformed("events of this type are not known, and it may hold changes"))
            .hint("use a version of rowferry that knows this version of the server")
    }
}

/// The header, and what is behind it.
fn split(raw: &Bytes) -> Result<(Header, Bytes)> {
    let mut reader = Reader::new(raw);
    let header = Header::read(&mut reader);
    match header {
        Ok(header) if header.size as usize == raw.len() => Ok((header, raw.slice(HEADER_LEN..))),
        _ => {
            let text = format!("read an event of the log: {} bytes are not what its header announces", raw.len());
            Err(Error::new(ErrorKind::Protocol, text))
        }
    }
}

/// The body without its checksum, which must be right.
fn checked(header: Header, raw: &Bytes, body: &Bytes) -> Decoded<Bytes> {
    let at = body.len().checked_sub(CHECKSUM_LEN).ok_or(CUT)?;
    if checksum(header, raw) == Some(Reader::new(&body[at..]).u32()?) {
        Ok(body.slice(..at))
    } else {
        Err(Malformed("its checksum is wrong"))
    }
}

/// The body without its last four bytes if they are its checksum.
fn without_matching_checksum(raw: &Bytes, body: &Bytes) -> Bytes {
    match Header::read(&mut Reader::new(raw)).and_then(|header| checked(header, raw, body)) {
        Ok(body) => body,
        Err(_) => body.clone(),
    }
}

/// CRC-32 of all before the checksum. The mark of a file that is being written is set after it was taken.
fn checksum(header: Header, raw: &Bytes) -> Option<u32> {
    const FLAGS_AT: usize = HEADER_LEN - 2;
    let end = raw.len().checked_sub(CHECKSUM_LEN).filter(|end| *end >= HEADER_LEN)?;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&raw[..FLAGS_AT]);
    let flags = match header.type_code {
        types::FORMAT_DESCRIPTION => header.flags & !Header::IN_USE,
        _ => header.flags,
    };
    hasher.update(&flags.to_le_bytes());
    hasher.update(&raw[HEADER_LEN..end]);
    Some(hasher.finalize())
}

/// MySQL from 5.6.1 on, MariaDB from 5.3 on.
fn knows_checksums(version: &str) -> bool {
    let mut numbers = version.split(|char: char| !char.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    let version_of = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let first = if version.to_ascii_lowercase().contains("mariadb") { (5, 3, 0) } else { (5, 6, 1) };
    version_of >= first
}

/// Types whose content does not matter to a reader of rows, and those that say that changes come without rows.
fn without_content(code: u8) -> Option<LogEvent> {
    match code {
        types::INTVAR | types::RAND | types::USER_VAR => Some(LogEvent::StatementValue),
        types::LOAD
        | types::CREATE_FILE
        | types::APPEND_BLOCK
        | types::EXEC_LOAD
        | types::DELETE_FILE
        | types::NEW_LOAD
        | types::BEGIN_LOAD_QUERY
        | types::EXECUTE_LOAD_QUERY => Some(LogEvent::StatementLoad),
        // The server decrypts what it sends; a file that is read as it is has no readable event after this one.
        types::TRANSACTION_CONTEXT
        | types::VIEW_CHANGE
        | types::BINLOG_CHECKPOINT
        | types::START_ENCRYPTION
        | types::IGNORABLE => Some(LogEvent::Ignored),
        _ => None,
    }
}

/// Whether it is committed too, the id's format, the lengths of its two parts, and those.
fn xa_prepare(reader: &mut Reader<'_>) -> Decoded<LogEvent> {
    let one_phase = reader.u8()? != 0;
    let format = reader.u32()?;
    let (global, branch) = (reader.u32()? as usize, reader.u32()? as usize);
    let (global, branch) = (reader.take(global)?, reader.take(branch)?);
    Ok(LogEvent::XaPrepare { xid: gtid_event::xid(format, global, branch), one_phase })
}

/// Fields of the form type, length, value, as they pass 4 GiB.
fn heartbeat(reader: &mut Reader<'_>) -> Decoded<LogEvent> {
    let (mut file, mut position) = (String::new(), 0);
    while !reader.is_empty() {
        let field = reader.lenenc()?;
        if field == 0 {
            break;
        }
        let value = reader.lenenc_bytes()?;
        match field {
            1 => file = lossy(value),
            2 => position = Reader::new(value).lenenc()?,
            _ => {}
        }
    }
    Ok(LogEvent::Heartbeat { file, position })
}

/// A count in 28 bits with flags above, then domain, server and sequence of each.
fn gtid_list(reader: &mut Reader<'_>) -> Decoded<LogEvent> {
    let count = reader.u32()? & 0x0fff_ffff;
    let mut list = Vec::new();
    for _ in 0..count {
        let (domain, server) = (reader.u32()?, reader.u32()?);
        list.push(Gtid::Mariadb { domain, server, sequence: reader.u64()? });
    }
    Ok(LogEvent::GtidList(list))
}
