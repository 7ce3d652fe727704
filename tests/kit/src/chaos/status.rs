//! What `rowferry status` says of tables, which is all that the workload knows of rowferry.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// How to ask.
#[derive(Debug, Clone)]
pub struct Status {
    /// The program.
    pub binary: PathBuf,
    /// Its configuration.
    pub config: PathBuf,
}

/// Tables that stream, by their names without schema, and how many rows were copied for each: one that was copied again
/// between two looks has another number.
pub(super) type Streaming = BTreeMap<String, u64>;

impl Status {
    /// Tables that are consistent; `None` if no status can be had.
    pub(super) fn look(&self) -> Option<Streaming> {
        let tables = self.tables()?;
        let streaming = tables.iter().filter(|table| table["state"] == "streaming");
        let entry = |table: &Value| {
            let name = table["name"].as_str()?.rsplit('.').next()?.to_owned();
            Some((name, table["rows_copied"].as_u64()?))
        };
        streaming.map(entry).collect()
    }

    /// Whether there are tables and all of them are consistent.
    pub(super) fn all_streaming(&self) -> bool {
        self.tables()
            .is_some_and(|tables| !tables.is_empty() && tables.iter().all(|table| table["state"] == "streaming"))
    }

    fn tables(&self) -> Option<Vec<Value>> {
        let mut command = Command::new(&self.binary);
        command.args(["status", "--json", "-c"]).arg(&self.config).stdin(Stdio::null());
        let output = command.output().unwrap_or_else(|error| panic!("start {}: {error}", self.binary.display()));
        let document: Value = serde_json::from_slice(&output.stdout).ok()?;
        document["pipelines"][0]["tables"].as_array().cloned()
    }
}
