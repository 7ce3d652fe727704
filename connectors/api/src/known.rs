//! What the appliers of one target tell each other of its tables.

use crate::TableName;
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the appliers of one target tell each other of its tables.
#[derive(Debug, Default)]
pub struct KnownTables {
    filled: Mutex<HashSet<TableName>>,
    forms: AtomicU64,
}

impl KnownTables {
    /// Whether plain inserts have met rows in this table that were there already.
    pub fn is_filled(&self, table: &TableName) -> bool {
        self.filled.lock().expect("no code panics while it holds this").contains(table)
    }

    /// They have.
    pub fn fill(&self, table: &TableName) {
        self.filled.lock().expect("no code panics while it holds this").insert(table.clone());
    }

    /// Another number once an applier has made or altered a table or its indexes.
    pub fn forms(&self) -> u64 {
        self.forms.load(Ordering::Relaxed)
    }

    /// Whether what was looked up at the number `seen`, or since, may be of an older form; `seen` is the present number then.
    pub fn has_changed(&self, seen: &mut u64) -> bool {
        let forms = self.forms();
        std::mem::replace(seen, forms) != forms
    }

    /// One of them has.
    pub fn other_forms(&self) {
        self.forms.fetch_add(1, Ordering::Relaxed);
    }
}
