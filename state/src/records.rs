//! The records. Positions, ranges and schemas are text here; their owners parse them.

use crate::record::{Record, payload};
use serde::{Deserialize, Serialize};

/// Who both ends of a pipeline are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginRecord {
    /// The source's identity.
    pub source: String,
    /// The target's identity.
    pub target: String,
    /// How messages name the source.
    pub source_name: String,
    /// How messages name the target.
    pub target_name: String,
    /// The branch of its history that the source was on at the last start.
    pub branch: Option<String>,
}

/// Before branches were looked at.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct OriginRecordV1 {
    source: String,
    target: String,
    source_name: String,
    target_name: String,
}

impl From<OriginRecordV1> for OriginRecord {
    fn from(record: OriginRecordV1) -> Self {
        let OriginRecordV1 { source, target, source_name, target_name } = record;
        Self { source, target, source_name, target_name, branch: None }
    }
}

/// Where a pipeline stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointRecord {
    /// Everything up to here is in the target.
    pub position: String,
    /// When the source committed the last transaction before it (microseconds since 1970).
    pub committed_at_us: Option<i64>,
    /// When this was written (microseconds since 1970).
    pub saved_at_us: i64,
}

/// Where a table stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TableState {
    /// Nothing of it is copied yet.
    Pending,
    /// Its slices are being copied.
    Copying,
    /// Copied; the log has not passed its high yet.
    CatchingUp,
    /// In step.
    Streaming,
    /// Stopped, with a reason.
    Halted,
}

/// Where the target's table comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AtTarget {
    /// Not looked at yet.
    Unknown,
    /// About to be made: it may be there already, by us.
    Making,
    /// It was there: its indexes and foreign keys are somebody else's matter.
    Found,
    /// rowferry made it, so it builds its indexes and foreign keys too.
    Made,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRecord {
    /// Where it stands.
    pub state: TableState,
    /// Why it is halted.
    pub reason: Option<String>,
    /// The form that the target's table has taken.
    pub schema_json: String,
    /// Its name at the target.
    pub target: String,
    /// The log has to pass this before the table goes on to its next state.
    pub high: Option<String>,
    /// Rows written by slices.
    pub rows_copied: u64,
    /// Rows of the source that slices compared with the target's.
    pub rows_compared: u64,
    /// The target had rows when the table was cut: its slices write only what differs.
    pub compares: bool,
    /// Changes applied from the log.
    pub rows_applied: u64,
    /// Where the target's table comes from.
    pub at_target: AtTarget,
    /// The source's own id of the table.
    pub source_id: u64,
    /// The highest of the source's own ids of columns that it has had, also of those that do not travel.
    pub columns_seen: i32,
    /// More rows have to be read again than are kept one by one: the whole table is.
    pub again: bool,
    /// Secondary indexes are built.
    pub finished: bool,
    /// Columns that were dropped since it was last copied as a whole.
    pub dropped: Vec<String>,
    /// What the source's catalog showed of the table that the target's rows come from, as text that only its connector reads.
    pub traces: String,
}

/// Before slices were compared.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct TableRecordV1 {
    state: TableState,
    reason: Option<String>,
    schema_json: String,
    target: String,
    high: Option<String>,
    rows_copied: u64,
    rows_applied: u64,
    _dead_letters: u64,
    at_target: AtTarget,
    source_id: u64,
    columns_seen: i32,
    again: bool,
    finished: bool,
}

impl From<TableRecordV1> for TableRecord {
    fn from(record: TableRecordV1) -> Self {
        Self {
            state: record.state,
            reason: record.reason,
            schema_json: record.schema_json,
            target: record.target,
            high: record.high,
            rows_copied: record.rows_copied,
            rows_compared: 0,
            compares: false,
            rows_applied: record.rows_applied,
            at_target: record.at_target,
            source_id: record.source_id,
            columns_seen: record.columns_seen,
            again: record.again,
            finished: record.finished,
            dropped: Vec::new(),
            traces: String::new(),
        }
    }
}

/// A part of a table to copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceRecord {
    /// Which part.
    pub range_json: String,
    /// It is in the target.
    pub done: bool,
    /// The source's head after it was written, where it is kept for each slice.
    pub high: Option<String>,
    /// Rows written.
    pub rows: u64,
    /// Bytes read.
    pub bytes: u64,
}

/// Something asked for while no process ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestRecord {
    /// What is asked for.
    pub kind: String,
    /// For which table.
    pub table: Option<String>,
    /// Anything more.
    pub detail: String,
}

/// A row that the target refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterRecord {
    /// The table at the source.
    pub table: String,
    /// The position that its batch reached; none where the row was read from the table.
    pub position: Option<String>,
    /// When it was refused (microseconds since 1970).
    pub at_us: i64,
    /// Why.
    pub reason: String,
    /// Encoded keys of the rows that have to come right before the letter is settled. None: it is about the whole table.
    pub keys: Vec<Vec<u8>>,
    /// insert, update, delete, truncate or copy.
    pub op: String,
    /// Encoded row; none where there is no row or it is too large to be kept.
    pub row: Vec<u8>,
    /// The form that the row follows.
    pub schema_json: String,
    /// Its rows are being read again: it is settled once the table is in step.
    pub queued: bool,
}

/// As the first version wrote it.
#[derive(Debug, Serialize, Deserialize)]
struct DeadLetterV1 {
    table: String,
    position: Option<String>,
    at_us: i64,
    reason: String,
    key: Vec<u8>,
    op: String,
    row: Vec<u8>,
    schema_json: String,
}

impl From<DeadLetterV1> for DeadLetterRecord {
    fn from(old: DeadLetterV1) -> Self {
        let DeadLetterV1 { table, position, at_us, reason, key, op, row, schema_json } = old;
        let keys = if key.is_empty() { Vec::new() } else { vec![key] };
        Self { table, position, at_us, reason, keys, op, row, schema_json, queued: false }
    }
}

/// A form that a table had in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormRecord {
    /// It holds behind this position; from the beginning on if there is none.
    pub after: Option<String>,
    /// The form.
    pub schema_json: String,
}

/// The forms that a table had in the log, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormsRecord {
    /// At least the one that holds at the checkpoint.
    pub forms: Vec<FormRecord>,
}

impl Record for CheckpointRecord {}
impl Record for SliceRecord {}
impl Record for RequestRecord {}
impl Record for FormsRecord {}

impl Record for OriginRecord {
    const VERSION: u16 = 2;

    fn read_older(version: u16, bytes: &[u8]) -> Option<Self> {
        if version == 1 { payload::<OriginRecordV1>(bytes).map(Self::from) } else { None }
    }
}

/// An empty list or text, as bincode writes it.
const EMPTY: [u8; 8] = [0; 8];

impl Record for TableRecord {
    const VERSION: u16 = 4;

    fn read_older(version: u16, bytes: &[u8]) -> Option<Self> {
        match version {
            1 => payload::<TableRecordV1>(bytes).map(Self::from),
            // The dropped columns and then the traces were added at the end: they are empty.
            2 => payload(&[bytes, &EMPTY, &EMPTY].concat()),
            3 => payload(&[bytes, &EMPTY].concat()),
            _ => None,
        }
    }
}

impl Record for DeadLetterRecord {
    const VERSION: u16 = 2;

    fn read_older(version: u16, bytes: &[u8]) -> Option<Self> {
        if version == 1 { payload::<DeadLetterV1>(bytes).map(Self::from) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{decode, payload_of, sealed};

    #[test]
    fn a_dead_letter_of_version_1_is_still_read() {
        let old = DeadLetterV1 {
            table: "public.t".into(),
            position: Some("0/1".into()),
            at_us: 7,
            reason: "refused".into(),
            key: vec![1],
            op: "insert".into(),
            row: vec![2, 3],
            schema_json: "{}".into(),
        };
        let read: DeadLetterRecord = decode(&sealed(1, &bincode::serialize(&old).unwrap())).unwrap();
        assert_eq!((&read, read.keys.as_slice(), read.queued), (&old.into(), &[vec![1]][..], false));
    }

    #[test]
    fn records_of_older_versions_are_still_read() {
        let text = |text: &str| text.to_owned();
        let origin =
            OriginRecordV1 { source: text("s"), target: text("t"), source_name: text("S"), target_name: text("T") };
        let read: OriginRecord = decode(&sealed(1, &bincode::serialize(&origin).unwrap())).unwrap();
        assert_eq!((read.source.as_str(), read.target_name.as_str(), read.branch), ("s", "T", None));
        let table = TableRecordV1 {
            state: TableState::Streaming,
            reason: None,
            schema_json: text("{}"),
            target: text("public.t"),
            high: Some(text("0/1")),
            rows_copied: 5,
            rows_applied: 6,
            _dead_letters: 7,
            at_target: AtTarget::Made,
            source_id: 8,
            columns_seen: 9,
            again: true,
            finished: true,
        };
        let read: TableRecord = decode(&sealed(1, &bincode::serialize(&table).unwrap())).unwrap();
        assert_eq!((read.rows_copied, read.rows_compared, read.compares, read.rows_applied), (5, 0, false, 6));
        assert_eq!((read.source_id, read.columns_seen, read.again, read.finished), (8, 9, true, true));
        // Versions 2 and 3 are today's without what stands at its end.
        let today = payload_of(&read);
        for (version, lacks) in [(2, 2 * EMPTY.len()), (3, EMPTY.len())] {
            let before = sealed(version, &today[..today.len() - lacks]);
            assert_eq!(decode::<TableRecord>(&before).unwrap(), read);
        }
    }
}
