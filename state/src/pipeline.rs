//! One pipeline's records.

use crate::keys::{number, numbered, prefix};
use crate::record::{Record, decode, encode};
use crate::{
    CheckpointRecord, DeadLetterRecord, FormRecord, FormsRecord, OriginRecord, RequestRecord, Result, SliceRecord,
    Store, TableRecord,
};

/// One pipeline's part of a store. Nothing is durable before [`Store::sync`].
#[derive(Debug, Clone)]
pub struct Pipeline {
    store: Store,
    name: String,
}

impl Pipeline {
    pub(crate) fn new(store: Store, name: &str) -> Self {
        Self { store, name: name.to_owned() }
    }

    /// Who both ends are, if it was written.
    pub fn origin(&self) -> Result<Option<OriginRecord>> {
        self.read(&prefix(&["origin", &self.name]))
    }

    /// Writes who both ends are.
    pub fn set_origin(&self, record: &OriginRecord) -> Result<()> {
        self.store.put(&prefix(&["origin", &self.name]), encode(record))
    }

    /// The checkpoint, if there is one.
    pub fn checkpoint(&self) -> Result<Option<CheckpointRecord>> {
        self.read(&prefix(&["checkpoint", &self.name]))
    }

    /// Writes the checkpoint.
    pub fn set_checkpoint(&self, record: &CheckpointRecord) -> Result<()> {
        self.store.put(&prefix(&["checkpoint", &self.name]), encode(record))
    }

    /// All tables, by name.
    pub fn tables(&self) -> Result<Vec<(String, TableRecord)>> {
        let start = prefix(&["table", &self.name]);
        let read = |(key, value): &(sled::IVec, sled::IVec)| Ok((self.store.part(key, &start)?, self.decode(value)?));
        self.store.scan(&start)?.iter().map(read).collect()
    }

    /// Writes a table and some of its slices, by their numbers: all of it or nothing, also after a crash.
    pub fn set_table(&self, name: &str, record: &TableRecord, slices: &[(u32, SliceRecord)]) -> Result<()> {
        let mut batch = sled::Batch::default();
        batch.insert(prefix(&["table", &self.name, name]), encode(record));
        for (index, slice) in slices {
            batch.insert(numbered(&["slice", &self.name, name], (*index).into()), encode(slice));
        }
        self.store.apply(batch)
    }

    /// The forms that a table had in the log, oldest first.
    pub fn forms(&self, table: &str) -> Result<Vec<FormRecord>> {
        let record: Option<FormsRecord> = self.read(&prefix(&["forms", &self.name, table]))?;
        Ok(record.map(|record| record.forms).unwrap_or_default())
    }

    /// Writes the forms that a table had in the log, in place of those that were there.
    pub fn set_forms(&self, table: &str, forms: &[FormRecord]) -> Result<()> {
        let record = FormsRecord { forms: forms.to_vec() };
        self.store.put(&prefix(&["forms", &self.name, table]), encode(&record))
    }

    /// Removes a table with its slices and forms.
    pub fn remove_table(&self, name: &str) -> Result<()> {
        let mut batch = sled::Batch::default();
        batch.remove(prefix(&["table", &self.name, name]));
        batch.remove(prefix(&["forms", &self.name, name]));
        for (key, _) in self.store.scan(&prefix(&["slice", &self.name, name]))? {
            batch.remove(key);
        }
        self.store.apply(batch)
    }

    /// A table's slices, in order.
    pub fn slices(&self, table: &str) -> Result<Vec<SliceRecord>> {
        let slices = self.store.scan(&prefix(&["slice", &self.name, table]))?;
        slices.iter().map(|(_, value)| self.decode(value)).collect()
    }

    /// Writes a table with other slices than it had: all of it or nothing, also after a crash.
    pub fn set_table_anew(&self, name: &str, record: &TableRecord, slices: &[SliceRecord]) -> Result<()> {
        let parts = ["slice", &self.name, name];
        let mut batch = sled::Batch::default();
        batch.insert(prefix(&["table", &self.name, name]), encode(record));
        for (key, _) in self.store.scan(&prefix(&parts))? {
            batch.remove(key);
        }
        for (index, slice) in slices.iter().enumerate() {
            batch.insert(numbered(&parts, index as u64), encode(slice));
        }
        self.store.apply(batch)
    }

    /// What was asked for, oldest first, each with its id.
    pub fn requests(&self) -> Result<Vec<(u64, RequestRecord)>> {
        self.numbered("request", None, usize::MAX)
    }

    /// Adds a request.
    pub fn push_request(&self, record: &RequestRecord) -> Result<()> {
        self.push("request", record)
    }

    /// Removes a request.
    pub fn remove_request(&self, id: u64) -> Result<()> {
        self.store.remove(&numbered(&["request", &self.name], id))
    }

    /// Dead letters with ids above `after`, oldest first, at most `limit`.
    pub fn dead_letters(&self, after: Option<u64>, limit: usize) -> Result<Vec<(u64, DeadLetterRecord)>> {
        self.numbered("letter", after, limit)
    }

    /// Adds a dead letter; `false` and nothing is written if there are `max` already.
    pub fn push_dead_letter(&self, record: &DeadLetterRecord, max: u64) -> Result<bool> {
        if self.dead_letter_count()? >= max {
            return Ok(false);
        }
        self.push("letter", record).map(|()| true)
    }

    /// How many dead letters there are.
    pub fn dead_letter_count(&self) -> Result<u64> {
        Ok(self.store.scan(&prefix(&["letter", &self.name]))?.len() as u64)
    }

    /// Removes a dead letter.
    pub fn remove_dead_letter(&self, id: u64) -> Result<()> {
        self.store.remove(&numbered(&["letter", &self.name], id))
    }

    fn push(&self, kind: &str, record: &impl Record) -> Result<()> {
        let parts = [kind, &self.name];
        let last = self.store.scan(&prefix(&parts))?.last().and_then(|(key, _)| number(key));
        self.store.put(&numbered(&parts, last.map_or(0, |last| last + 1)), encode(record))
    }

    fn numbered<R: Record>(&self, kind: &str, after: Option<u64>, limit: usize) -> Result<Vec<(u64, R)>> {
        let records = self.store.scan(&prefix(&[kind, &self.name]))?;
        let read = |(key, value): &(sled::IVec, sled::IVec)| {
            let id = number(key).ok_or_else(|| self.store.unreadable("a key is not one of rowferry's".into()))?;
            Ok((id, self.decode(value)?))
        };
        let is_after = |entry: &Result<(u64, R)>| match entry {
            Ok((id, _)) => after.is_none_or(|after| *id > after),
            Err(_) => true,
        };
        records.iter().map(read).filter(is_after).take(limit).collect()
    }

    fn read<R: Record>(&self, key: &[u8]) -> Result<Option<R>> {
        self.store.get(key)?.map(|value| self.decode(&value)).transpose()
    }

    fn decode<R: Record>(&self, value: &[u8]) -> Result<R> {
        decode(value).map_err(|what| self.store.unreadable(what))
    }
}
