//! One pipeline's records.

use crate::keys::{number, numbered, prefix};
use crate::record::{Record, decode, encode};
use crate::{
    CheckpointRecord, DeadLetterRecord, FormRecord, FormsRecord, OriginRecord, RequestRecord, Result, SliceRecord,
    Store, TableRecord,
};

/// Kinds of keys.
const LETTER: &str = "letter";
const NEXT_LETTER: &str = "next_letter";

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

    /// Writes tables and none of their slices: all of them or none, also after a crash.
    pub fn set_tables<'a>(&self, tables: impl IntoIterator<Item = (&'a str, &'a TableRecord)>) -> Result<()> {
        let mut batch = sled::Batch::default();
        for (name, record) in tables {
            batch.insert(prefix(&["table", &self.name, name]), encode(record));
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
        let records = self.store.scan(&prefix(&["request", &self.name]))?;
        records.iter().map(|(key, value)| Ok((self.id_of(key)?, self.decode(value)?))).collect()
    }

    /// Adds a request.
    pub fn push_request(&self, record: &RequestRecord) -> Result<()> {
        self.push("request", record)
    }

    /// Removes a request.
    pub fn remove_request(&self, id: u64) -> Result<()> {
        self.store.remove(&numbered(&["request", &self.name], id))
    }

    /// Calls `visit` for each dead letter with an id above `after`, oldest first, until it says no. Holds one of them at a time.
    pub fn visit_dead_letters(
        &self,
        after: Option<u64>,
        mut visit: impl FnMut(u64, DeadLetterRecord) -> bool,
    ) -> Result<()> {
        let first = after.map_or(0, |after| after.saturating_add(1));
        for entry in self.store.scan_from(&prefix(&[LETTER, &self.name]), &numbered(&[LETTER, &self.name], first)) {
            let (key, value) = entry?;
            if !visit(self.id_of(&key)?, self.decode(&value)?) {
                break;
            }
        }
        Ok(())
    }

    /// One dead letter, if it is there.
    pub fn dead_letter(&self, id: u64) -> Result<Option<DeadLetterRecord>> {
        self.read(&numbered(&[LETTER, &self.name], id))
    }

    /// The id of the next dead letter. None is given twice.
    pub fn next_dead_letter(&self) -> Result<u64> {
        let stored = self.store.get(&prefix(&[NEXT_LETTER, &self.name]))?;
        Ok(stored.and_then(|value| Some(u64::from_be_bytes(value.as_ref().try_into().ok()?))).unwrap_or(0))
    }

    /// Writes dead letters by their ids and removes others: all of it or nothing, also after a crash.
    pub fn change_dead_letters(&self, put: &[(u64, DeadLetterRecord)], remove: &[u64]) -> Result<()> {
        let mut batch = sled::Batch::default();
        for id in remove {
            batch.remove(numbered(&[LETTER, &self.name], *id));
        }
        for (id, record) in put {
            batch.insert(numbered(&[LETTER, &self.name], *id), encode(record));
        }
        if let Some(last) = put.iter().map(|(id, _)| *id).max() {
            let next = self.next_dead_letter()?.max(last + 1);
            batch.insert(prefix(&[NEXT_LETTER, &self.name]), next.to_be_bytes().to_vec());
        }
        self.store.apply(batch)
    }

    fn push(&self, kind: &str, record: &impl Record) -> Result<()> {
        let parts = [kind, &self.name];
        let last = self.store.scan(&prefix(&parts))?.last().and_then(|(key, _)| number(key));
        self.store.put(&numbered(&parts, last.map_or(0, |last| last + 1)), encode(record))
    }

    fn id_of(&self, key: &[u8]) -> Result<u64> {
        number(key).ok_or_else(|| self.store.unreadable("a key is not one of rowferry's".into()))
    }

    fn read<R: Record>(&self, key: &[u8]) -> Result<Option<R>> {
        self.store.get(key)?.map(|value| self.decode(&value)).transpose()
    }

    fn decode<R: Record>(&self, value: &[u8]) -> Result<R> {
        decode(value).map_err(|what| self.store.unreadable(what))
    }
}
