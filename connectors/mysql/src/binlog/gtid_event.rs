//! The events that begin a transaction, in MySQL's three forms and in MariaDB's.

use super::event::{AlterPhase, GtidEvent};
use super::header::types;
use super::reader::{CUT, Decoded, Malformed, Reader, lossy};
use crate::connection::Flavor;
use crate::gtid::{Gtid, GtidSet, SourceId};

/// GTID and ANONYMOUS_GTID; 5.6 ends after the number, 5.7 after the logical clock.
pub(super) fn read_mysql(body: &[u8], code: u8) -> Decoded<GtidEvent> {
    /// Says that a logical clock follows.
    const LOGICAL_CLOCK: u8 = 2;
    let mut reader = Reader::new(body);
    let _flags = reader.u8()?;
    let uuid = reader.take(16)?.try_into().map_err(|_| CUT)?;
    let number = reader.u64()?;
    let mut commit_time_us = None;
    if !reader.is_empty() && reader.u8()? == LOGICAL_CLOCK {
        reader.take(16)?;
        if reader.remaining() >= 7 {
            // The highest bit says that the time at the first server follows.
            commit_time_us = Some(reader.uint(7)? & !(1 << 55));
        }
    }
    let source = SourceId { uuid, tag: String::new() };
    let gtid = (code == types::GTID).then_some(Gtid::Mysql { source, number });
    Ok(GtidEvent { gtid, is_standalone: false, alter: None, prepares: None, commit_time_us })
}

/// GTID_TAGGED: fields behind their numbers (MySQL source documentation, "Library: Serialization").
pub(super) fn read_tagged(body: &[u8]) -> Decoded<GtidEvent> {
    let mut reader = Reader::new(body);
    if varlen(&mut reader)? != 1 {
        return Err(Malformed("its serialization is of an unknown version"));
    }
    let size = varlen(&mut reader)?;
    let _last_needed_field = varlen(&mut reader)?;
    if size > body.len() as u64 {
        return Err(CUT);
    }
    let mut source = SourceId { uuid: [0; 16], tag: String::new() };
    let (mut number, mut commit_time_us) = (None, None);
    while !reader.is_empty() {
        match varlen(&mut reader)? {
            1 => {
                for byte in &mut source.uuid {
                    *byte = u8::try_from(varlen(&mut reader)?).map_err(|_| Malformed("its UUID is none"))?;
                }
            }
            // Signed, with the sign in the lowest bit.
            2 => number = Some(varlen(&mut reader)? >> 1),
            3 => {
                let len = usize::try_from(varlen(&mut reader)?).map_err(|_| CUT)?;
                source.tag = lossy(reader.take(len)?);
            }
            6 => commit_time_us = Some(varlen(&mut reader)?),
            0 | 4 | 5 | 7..=11 => drop(varlen(&mut reader)?),
            _ => break,
        }
    }
    let number = number.ok_or(Malformed("it has no number"))?;
    let gtid = Some(Gtid::Mysql { source, number });
    Ok(GtidEvent { gtid, is_standalone: false, alter: None, prepares: None, commit_time_us })
}

/// PREVIOUS_GTIDS: a count, then for each source its UUID and half-open intervals. From 8.3 on the count may stand one byte
/// higher, with a one in the highest byte, and a tag behind each UUID.
pub(super) fn read_previous(body: &[u8]) -> Decoded<GtidSet> {
    let mut reader = Reader::new(body);
    let head = reader.u64()?;
    let is_tagged = head >> 56 == 1;
    let sources = if is_tagged { (head << 8) >> 16 } else { head };
    let mut set = GtidSet::new(Flavor::Mysql);
    for _ in 0..sources {
        let mut source = SourceId { uuid: reader.take(16)?.try_into().map_err(|_| CUT)?, tag: String::new() };
        if is_tagged {
            let len = usize::try_from(varlen(&mut reader)?).map_err(|_| CUT)?;
            source.tag = lossy(reader.take(len)?);
        }
        for _ in 0..reader.u64()? {
            let (start, end) = (reader.u64()?, reader.u64()?);
            set.add_interval(source.clone(), start, end);
        }
    }
    Ok(set)
}

/// MariaDB's GTID: sequence, domain, flags, and what the flags announce.
pub(super) fn read_mariadb(body: &[u8], server: u32) -> Decoded<GtidEvent> {
    const STANDALONE: u8 = 1;
    const GROUP_COMMIT: u8 = 2;
    const PREPARED_XA: u8 = 64;
    const COMPLETED_XA: u8 = 128;
    let mut reader = Reader::new(body);
    let sequence = reader.u64()?;
    let domain = reader.u32()?;
    let flags = reader.u8()?;
    if flags & GROUP_COMMIT != 0 {
        reader.u64()?;
    }
    let mut prepares = None;
    if flags & (PREPARED_XA | COMPLETED_XA) != 0 {
        let format = reader.u32()?;
        let (global, branch) = (usize::from(reader.u8()?), usize::from(reader.u8()?));
        let (global, branch) = (reader.take(global)?, reader.take(branch)?);
        prepares = (flags & PREPARED_XA != 0).then(|| xid(format, global, branch));
    }
    let more_flags = if reader.is_empty() { 0 } else { reader.u8()? };
    let alter = match more_flags {
        flags if flags & 2 != 0 => Some(AlterPhase::Start),
        flags if flags & 4 != 0 => Some(AlterPhase::Commit),
        flags if flags & 8 != 0 => Some(AlterPhase::Rollback),
        _ => None,
    };
    let gtid = Some(Gtid::Mariadb { domain, server, sequence });
    Ok(GtidEvent { gtid, is_standalone: flags & STANDALONE != 0, alter, prepares, commit_time_us: None })
}

/// An XA transaction's name as statements in the log spell it, without blanks.
pub(crate) fn xid(format: u32, global: &[u8], branch: &[u8]) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("X'{}',X'{}',{format}", hex(global), hex(branch))
}

/// An integer whose first byte says in its low one bits how many bytes follow.
fn varlen(reader: &mut Reader<'_>) -> Decoded<u64> {
    let first = reader.u8()?;
    let more = first.trailing_ones() as usize;
    let high = reader.uint(more)?;
    // The first byte's own bits are the lowest ones.
    let own_bits = 7usize.saturating_sub(more);
    let low = u64::from(first).checked_shr(more as u32 + 1).unwrap_or(0);
    Ok(if own_bits == 0 { high } else { high << own_bits | low })
}
