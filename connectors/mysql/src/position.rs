//! A place in a binary log.
//!
//! `binlog.000012:4567@8a94f357-aab4-11df-86ab-c80aa9429562`, and where the server has GTIDs ` 0-1-100` or
//! ` 8a94f357-aab4-11df-86ab-c80aa9429562:1-77` behind it. Two places in one server's log are ordered by file and offset,
//! places in two servers' logs by what their GTID sets hold.
//!
//! Behind the place where the log goes on a position names the XA transactions that are prepared there, each with the place where its
//! rows begin: ` +X'6131',X'',1 binlog.000011:890@...`, and up to where others may end of which nothing is known: ` ~binlog...`.

use crate::connection::Flavor;
use crate::gtid::GtidSet;
use rowferry_api::{Error, ErrorKind, Position, Result};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;

/// Everything before it is behind us.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LogPosition {
    /// The log's file, `binlog.000012`.
    pub(crate) file: String,
    /// Bytes from the file's start.
    pub(crate) offset: u64,
    /// Who wrote it: MySQL's server_uuid, MariaDB's server_id.
    pub(crate) server: String,
    /// What was committed before it; `None` where the server has no GTIDs.
    pub(crate) gtids: Option<GtidSet>,
}

impl LogPosition {
    /// Reads where a position of a server of this flavor goes on.
    pub(crate) fn parse(flavor: Flavor, position: &Position) -> Result<Self> {
        Self::parse_place(flavor, place_of(position))
    }

    fn parse_place(flavor: Flavor, text: &str) -> Result<Self> {
        let malformed = || malformed(text);
        let (place, gtids) = match text.split_once(' ') {
            Some((place, gtids)) => (place, Some(gtids)),
            None => (text, None),
        };
        let (at, server) = place.rsplit_once('@').ok_or_else(malformed)?;
        let (file, offset) = at.rsplit_once(':').ok_or_else(malformed)?;
        Ok(Self {
            file: file.to_owned(),
            offset: offset.parse().map_err(|_| malformed())?,
            server: server.to_owned(),
            gtids: gtids.map(|gtids| GtidSet::parse(flavor, gtids)).transpose()?,
        })
    }

    /// The same order that the server writes in, where both are of one server; else by GTID set, if they have one and are
    /// not side by side.
    pub(crate) fn compare(&self, other: &Self) -> Option<Ordering> {
        if self.server == other.server && base_name(&self.file) == base_name(&other.file) {
            return Some((file_number(&self.file), self.offset).cmp(&(file_number(&other.file), other.offset)));
        }
        let (ours, theirs) = (self.gtids.as_ref()?, other.gtids.as_ref()?);
        match (ours.is_subset(theirs), theirs.is_subset(ours)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Less),
            (false, true) => Some(Ordering::Greater),
            (false, false) => None,
        }
    }
}

/// The place where a position goes on, without what stands behind it.
pub(crate) fn place_of(position: &Position) -> &str {
    let text = position.as_str();
    let end = [PREPARED, SETTLED].iter().filter_map(|mark| text.find(mark)).min();
    &text[..end.unwrap_or(text.len())]
}

/// What a position says of a transaction that is prepared there.
pub(crate) fn prepared_text(xid: &str, place: &LogPosition) -> String {
    format!("{PREPARED}{xid} {place}")
}

const PREPARED: &str = " +";
pub(crate) const SETTLED: &str = " ~";

fn malformed(text: &str) -> Error {
    Error::new(ErrorKind::Protocol, format!("read the position \"{text}\": it is no place in a binary log"))
}

/// Where the log goes on, and what from before it may still count.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ResumePoint {
    pub(crate) at: LogPosition,
    /// XA transactions that are prepared, and where in the log each begins.
    pub(crate) prepared: BTreeMap<String, LogPosition>,
    /// What was prepared before the log was followed is committed before this place, and was so before anything was copied.
    pub(crate) settled: Option<LogPosition>,
}

impl ResumePoint {
    /// Reads all of a position.
    pub(crate) fn parse(flavor: Flavor, position: &Position) -> Result<Self> {
        let at = LogPosition::parse(flavor, position)?;
        let mut rest = &position.as_str()[place_of(position).len()..];
        let settled = match rest.rsplit_once(SETTLED) {
            Some((before, place)) => {
                rest = before;
                Some(LogPosition::parse_place(flavor, place)?)
            }
            None => None,
        };
        let prepared = rest.split(PREPARED).skip(1).map(|entry| {
            let (xid, place) = entry.split_once(' ').ok_or_else(|| malformed(entry))?;
            Ok((xid.to_owned(), LogPosition::parse_place(flavor, place)?))
        });
        Ok(Self { at, prepared: prepared.collect::<Result<_>>()?, settled })
    }
}

impl ResumePoint {
    /// The oldest place in the log of `server` that is needed from here on.
    pub(crate) fn oldest_of(&self, server: &str) -> Option<&LogPosition> {
        let places = self.prepared.values().chain([&self.at]);
        places.filter(|place| place.server == server).min_by_key(|place| (file_number(&place.file), place.offset))
    }
}

impl From<LogPosition> for ResumePoint {
    fn from(at: LogPosition) -> Self {
        Self { at, prepared: BTreeMap::new(), settled: None }
    }
}

impl fmt::Display for ResumePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.at)?;
        for (xid, place) in &self.prepared {
            f.write_str(&prepared_text(xid, place))?;
        }
        match &self.settled {
            Some(place) => write!(f, "{SETTLED}{place}"),
            None => Ok(()),
        }
    }
}

impl From<&ResumePoint> for Position {
    fn from(point: &ResumePoint) -> Self {
        Self::new(point.to_string())
    }
}

/// `binlog` of `binlog.000012`.
fn base_name(file: &str) -> &str {
    file.rsplit_once('.').map_or(file, |(base, _)| base)
}

/// 12 of `binlog.000012`; a log past 999999 has more digits.
pub(crate) fn file_number(file: &str) -> u64 {
    file.rsplit_once('.').and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}@{}", self.file, self.offset, self.server)?;
        match &self.gtids {
            Some(gtids) => write!(f, " {gtids}"),
            None => Ok(()),
        }
    }
}

impl From<&LogPosition> for Position {
    fn from(position: &LogPosition) -> Self {
        Self::new(position.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(flavor: Flavor, text: &str) -> LogPosition {
        let read = LogPosition::parse(flavor, &Position::new(text)).unwrap();
        assert_eq!(read.to_string(), text);
        read
    }

    #[test]
    fn places_of_one_server_are_ordered_by_file_and_offset() {
        let at = |text| position(Flavor::Mysql, text);
        let compare = |a, b| at(a).compare(&at(b));
        assert_eq!(compare("b.000009:500@u", "b.000010:4@u"), Some(Ordering::Less));
        assert_eq!(compare("b.999999:500@u", "b.1000000:4@u"), Some(Ordering::Less));
        assert_eq!(compare("b.000009:500@u", "b.000009:4@u"), Some(Ordering::Greater));
        assert_eq!(compare("b.000009:500@u", "b.000009:4@other"), None);
    }

    #[test]
    fn places_of_two_servers_are_ordered_by_their_gtids() {
        let at = |text| position(Flavor::Mariadb, text);
        let compare = |a, b| at(a).compare(&at(b));
        assert_eq!(compare("b.000009:500@1 0-1-7", "x.000001:4@2 0-1-7"), Some(Ordering::Equal));
        assert_eq!(compare("b.000009:500@1 0-1-7", "x.000001:4@2 0-2-9"), Some(Ordering::Less));
        assert_eq!(compare("b.000009:500@1 0-1-7,1-1-5", "x.000001:4@2 0-2-9,1-1-4"), None);
    }

    #[test]
    fn a_position_names_what_is_prepared_there() {
        for (flavor, text) in [
            (
                Flavor::Mariadb,
                "b.000009:500@1 0-1-7 +X'61',X'',1 b.000008:4@1 0-1-3 +X'62',X'63',-1 b.000009:300@1 0-1-6",
            ),
            (Flavor::Mariadb, "b.000009:500@1  +X'61',X'',1 b.000008:4@1  ~b.000009:700@1 0-1-9"),
            (Flavor::Mysql, "b.000009:500@u +X'61',X'',1 b.000008:4@u"),
            (Flavor::Mysql, "b.000009:500@u ~b.000009:700@u"),
            (
                Flavor::Mysql,
                "b.000009:500@8a94f357-aab4-11df-86ab-c80aa9429562 8a94f357-aab4-11df-86ab-c80aa9429562:1-77",
            ),
        ] {
            let position = Position::new(text);
            let point = ResumePoint::parse(flavor, &position).unwrap();
            assert_eq!(point.to_string(), text);
            assert_eq!(LogPosition::parse(flavor, &position).unwrap(), point.at);
        }
        for bad in ["b.000009:500@1 +X'61',X'',1", "b.000009:500@1 +X'61',X'',1 b", "b.000009:500@1 ~b"] {
            assert!(ResumePoint::parse(Flavor::Mariadb, &Position::new(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_oldest_place_that_is_needed_is_one_of_this_server() {
        let text = "b.000009:500@1 +X'61',X'',1 b.000007:90@2 +X'62',X'',1 b.000008:300@1";
        let point = ResumePoint::parse(Flavor::Mariadb, &Position::new(text)).unwrap();
        let oldest = |server| point.oldest_of(server).map(|place| place.offset);
        assert_eq!([oldest("1"), oldest("2"), oldest("3")], [Some(300), Some(90), None]);
    }

    #[test]
    fn what_is_no_position_is_refused() {
        for bad in ["", "0/16B3748", "b.000001:x@u", "b.000001:4", "b.000001:4@u 0-1"] {
            assert!(LogPosition::parse(Flavor::Mariadb, &Position::new(bad)).is_err(), "{bad}");
        }
    }
}
