//! Global transaction ids, and sets of them: where a reader stands in a log.
//!
//! MySQL numbers the transactions of each server (and tag) without order between them: a set is intervals. MariaDB numbers
//! the transactions of each domain in order: a set is the last one of each domain and holds all before it.

mod intervals;
#[cfg(test)]
mod tests;

use crate::connection::Flavor;
use intervals::Intervals;
use mysql_async::Sid;
use rowferry_api::{Error, ErrorKind, Result};
use std::collections::BTreeMap;
use std::fmt;

/// The largest number of a transaction in MySQL's form.
const MAX_NUMBER: u64 = i64::MAX as u64 - 1;
/// The longest tag (MySQL manual, "GTID Format").
const MAX_TAG_LEN: usize = 32;

/// One transaction's id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Gtid {
    Mysql { source: SourceId, number: u64 },
    Mariadb { domain: u32, server: u32, sequence: u64 },
}

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mysql { source, number } => write!(f, "{source}:{number}"),
            Self::Mariadb { domain, server, sequence } => write!(f, "{domain}-{server}-{sequence}"),
        }
    }
}

/// Who numbers transactions in MySQL: a server's UUID and, from 8.3 on, a tag (empty: none).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SourceId {
    pub(crate) uuid: [u8; 16],
    pub(crate) tag: String,
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_uuid(f, &self.uuid)?;
        if self.tag.is_empty() { Ok(()) } else { write!(f, ":{}", self.tag) }
    }
}

/// A set of transactions, of one flavour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum GtidSet {
    Mysql(BTreeMap<SourceId, Intervals>),
    /// The last server and sequence number of each domain.
    Mariadb(BTreeMap<u32, (u32, u64)>),
}

impl GtidSet {
    /// The empty set.
    pub(crate) fn new(flavor: Flavor) -> Self {
        match flavor {
            Flavor::Mysql => Self::Mysql(BTreeMap::new()),
            Flavor::Mariadb => Self::Mariadb(BTreeMap::new()),
        }
    }

    /// Reads `uuid:1-5:7:tag:1-3,uuid:...` or `0-1-100,1-2-5`; blanks and line ends may stand around commas.
    pub(crate) fn parse(flavor: Flavor, text: &str) -> Result<Self> {
        let mut set = Self::new(flavor);
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let read = match &mut set {
                Self::Mysql(sources) => read_mysql(part, sources),
                Self::Mariadb(domains) => read_mariadb(part, domains),
            };
            let bad = || Error::new(ErrorKind::Protocol, format!("\"{part}\" is not part of a {flavor} GTID set"));
            read.ok_or_else(bad)?;
        }
        Ok(set)
    }

    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Self::Mysql(sources) => sources.is_empty(),
            Self::Mariadb(domains) => domains.is_empty(),
        }
    }

    /// Adds a transaction. In MariaDB's form it becomes its domain's last one, whatever its number is: that is the order
    /// of the log. An id of the other flavour changes nothing.
    pub(crate) fn add(&mut self, gtid: &Gtid) {
        match (self, gtid) {
            (Self::Mysql(sources), Gtid::Mysql { source, number }) => match sources.get_mut(source) {
                Some(intervals) => intervals.add(*number, *number + 1),
                None => sources.entry(source.clone()).or_default().add(*number, *number + 1),
            },
            (Self::Mariadb(domains), Gtid::Mariadb { domain, server, sequence }) => {
                domains.insert(*domain, (*server, *sequence));
            }
            _ => {}
        }
    }

    /// Adds MySQL's transactions of `source` from `start` on and below `end`.
    pub(crate) fn add_interval(&mut self, source: SourceId, start: u64, end: u64) {
        if let Self::Mysql(sources) = self
            && start < end
        {
            sources.entry(source).or_default().add(start, end);
        }
    }

    #[cfg(test)]
    pub(crate) fn contains(&self, gtid: &Gtid) -> bool {
        match (self, gtid) {
            (Self::Mysql(sources), Gtid::Mysql { source, number }) => {
                sources.get(source).is_some_and(|intervals| intervals.contains(*number))
            }
            (Self::Mariadb(domains), Gtid::Mariadb { domain, sequence, .. }) => {
                domains.get(domain).is_some_and(|(_, last)| sequence <= last)
            }
            _ => false,
        }
    }

    /// Every transaction of this set is in `other`. Sets of different flavours are subsets only if empty.
    pub(crate) fn is_subset(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Mysql(sources), Self::Mysql(others)) => {
                sources.iter().all(|(source, mine)| others.get(source).is_some_and(|theirs| mine.is_subset(theirs)))
            }
            (Self::Mariadb(domains), Self::Mariadb(others)) => {
                domains.iter().all(|(domain, (_, mine))| others.get(domain).is_some_and(|(_, theirs)| mine <= theirs))
            }
            _ => self.is_empty(),
        }
    }

    /// Adds every transaction of `other`; in MariaDB's form the larger number of a domain stays.
    #[cfg(test)]
    pub(crate) fn unite(&mut self, other: &Self) {
        match (self, other) {
            (Self::Mysql(sources), Self::Mysql(others)) => {
                for (source, theirs) in others {
                    let mine = sources.entry(source.clone()).or_default();
                    theirs.iter().for_each(|(start, end)| mine.add(start, end));
                }
            }
            (Self::Mariadb(domains), Self::Mariadb(others)) => {
                for (domain, theirs) in others {
                    let mine = domains.entry(*domain).or_insert(*theirs);
                    if theirs.1 > mine.1 {
                        *mine = *theirs;
                    }
                }
            }
            _ => {}
        }
    }

    /// What a dump by GTID asks MySQL with; nothing for MariaDB, which is asked with `@slave_connect_state`.
    pub(crate) fn sids(&self) -> Vec<Sid<'static>> {
        let Self::Mysql(sources) = self else { return Vec::new() };
        // The library builds one with a tag from its text only.
        let sid = |(source, intervals): (&SourceId, &Intervals)| format!("{source}{intervals}").parse().ok();
        sources.iter().filter_map(sid).collect()
    }
}

/// As the servers print sets, on one line.
impl fmt::Display for GtidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mysql(sources) => {
                let mut uuid = None;
                for (source, intervals) in sources {
                    if uuid == Some(source.uuid) {
                        // Tags come after what has none, behind the same UUID.
                        write!(f, ":{}", source.tag)?;
                    } else {
                        f.write_str(if uuid.is_some() { "," } else { "" })?;
                        write!(f, "{source}")?;
                    }
                    uuid = Some(source.uuid);
                    write!(f, "{intervals}")?;
                }
            }
            Self::Mariadb(domains) => {
                for (i, (domain, (server, sequence))) in domains.iter().enumerate() {
                    f.write_str(if i > 0 { "," } else { "" })?;
                    write!(f, "{domain}-{server}-{sequence}")?;
                }
            }
        }
        Ok(())
    }
}

/// `uuid:1-5:7:tag:1-3`.
fn read_mysql(part: &str, sources: &mut BTreeMap<SourceId, Intervals>) -> Option<()> {
    let mut fields = part.split(':').map(str::trim);
    let mut source = SourceId { uuid: read_uuid(fields.next()?)?, tag: String::new() };
    for field in fields {
        if field.starts_with(|char: char| char.is_ascii_digit()) {
            let (start, end) = field.split_once('-').unwrap_or((field, field));
            let (start, end): (u64, u64) = (start.trim().parse().ok()?, end.trim().parse().ok()?);
            if start == 0 || end > MAX_NUMBER {
                return None;
            }
            // An interval that ends before it starts is empty to the server too.
            if start <= end {
                sources.entry(source.clone()).or_default().add(start, end + 1);
            }
        } else {
            source.tag = read_tag(field)?;
        }
    }
    Some(())
}

/// `domain-server-sequence`.
fn read_mariadb(part: &str, domains: &mut BTreeMap<u32, (u32, u64)>) -> Option<()> {
    let mut fields = part.splitn(3, '-');
    let domain = fields.next()?.parse().ok()?;
    let (server, sequence) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    let last = domains.entry(domain).or_insert((server, sequence));
    // gtid_binlog_state names the last one of each server of a domain.
    if sequence > last.1 {
        *last = (server, sequence);
    }
    Some(())
}

/// Tags are compared in lower case.
fn read_tag(text: &str) -> Option<String> {
    let tag = text.to_ascii_lowercase();
    let starts = tag.starts_with(|char: char| char.is_ascii_lowercase() || char == '_');
    let fits = tag.chars().all(|char| char.is_ascii_lowercase() || char.is_ascii_digit() || char == '_');
    (starts && fits && tag.len() <= MAX_TAG_LEN).then_some(tag)
}

fn read_uuid(text: &str) -> Option<[u8; 16]> {
    let mut digits = text.bytes().filter(|byte| *byte != b'-').map(|byte| char::from(byte).to_digit(16));
    let mut uuid = [0; 16];
    for byte in &mut uuid {
        *byte = u8::try_from(digits.next()?? << 4 | digits.next()??).ok()?;
    }
    digits.next().is_none().then_some(uuid)
}

fn write_uuid(f: &mut fmt::Formatter<'_>, uuid: &[u8; 16]) -> fmt::Result {
    for (i, byte) in uuid.iter().enumerate() {
        f.write_str(if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" })?;
        write!(f, "{byte:02x}")?;
    }
    Ok(())
}
