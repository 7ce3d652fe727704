//! What a source's readers tell each other.

use crate::visibility::Received;
use rowferry_api::{SourceTable, TableName, TableSchema};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// Shared by a source, the reader of its log and the readers of its tables.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// How far the log has been read.
    pub(crate) received: Received,
    /// The tables whose changes are asked for, with the forms and keys that they have now.
    carried: Mutex<HashMap<TableName, Arc<TableSchema>>>,
    /// Counts how often those have changed.
    changes: AtomicU64,
}

impl Shared {
    /// These are the tables whose changes are asked for.
    pub(crate) fn carry(&self, tables: &[SourceTable]) {
        let mut carried = self.lock();
        carried.clear();
        for table in tables {
            carried.insert(table.schema.name.clone(), table.schema.clone());
        }
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Another number after each change of what is carried.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// The table's form in the catalog, with the key that its changes are to carry; `None` if nobody asks for it.
    pub(crate) fn carried(&self, table: &TableName) -> Option<Arc<TableSchema>> {
        self.lock().get(table).cloned()
    }

    /// The names of all carried tables.
    pub(crate) fn names(&self) -> Vec<TableName> {
        self.lock().keys().cloned().collect()
    }

    /// The carried tables of a database.
    pub(crate) fn carried_in(&self, schema: &str) -> Vec<TableName> {
        self.lock().keys().filter(|table| table.schema == schema).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TableName, Arc<TableSchema>>> {
        self.carried.lock().expect("no code panics while it holds this")
    }
}
