//! The two servers of a benchmark, with what an operator would set: nothing that gives up durability.

use crate::measure::{self, Cpu};
use rowferry_testkit::{Database, Postgres};
use std::path::Path;
use std::process::Command;

/// Both ends, the same for every contender.
const SETTINGS: &[(&str, &str)] = &[
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("wal_level", "logical"),
    ("shared_buffers", "256MB"),
    ("max_wal_size", "4GB"),
    // What is not measured must not happen in one run and not in the next.
    ("checkpoint_timeout", "30min"),
    ("autovacuum", "off"),
    ("max_connections", "700"),
    ("log_min_duration_statement", "-1"),
];

/// A source server and a target server, each with a database. Databases end first.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) source_database: Database,
    pub(crate) source: Postgres,
    pub(crate) target: Postgres,
}

impl Ends {
    pub(crate) fn start() -> Self {
        let source = Postgres::start(SETTINGS);
        let target = Postgres::start(SETTINGS);
        Self { source_database: source.create_database("bench"), source, target }
    }

    /// CPU that both servers have used, and this process if there is one.
    pub(crate) fn cpu(&self, program: Option<u32>) -> Cpu {
        Cpu {
            program: program.map_or(0.0, measure::cpu_of_process),
            source: measure::cpu_of_tree(self.source.pid()),
            target: measure::cpu_of_tree(self.target.pid()),
        }
    }

    /// Writes out what is dirty, so that no run pays for what came before it.
    pub(crate) async fn settle(&self, target: &Database) {
        self.source_database.execute("CHECKPOINT").await;
        target.execute("CHECKPOINT").await;
        sync();
    }

    /// Drops a slot at the source as soon as nobody uses it.
    pub(crate) async fn drop_slot(&self, name: &str) {
        let sql =
            format!("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = '{name}'");
        for _ in 0..500 {
            if self.source_database.try_execute(&sql).await.is_ok() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("slot {name} stays in use");
    }
}

/// Count and checksum of tables. Two databases with the same answer hold the same rows.
pub(crate) async fn checksum(database: &Database, tables: &[String]) -> String {
    let one = |table: &String| format!("SELECT hashtextextended(r::text, 0) AS hash FROM {table} r");
    let mut sums = Vec::new();
    for some in tables.chunks(100) {
        let union: Vec<String> = some.iter().map(one).collect();
        let sql = format!(
            "SELECT count(*) || ' rows ' || coalesce(sum(hash), 0) FROM ({}) all_rows",
            union.join(" UNION ALL ")
        );
        sums.push(database.value(&sql).await);
    }
    sums.join(", ")
}

/// Puts a copy of a folder in the place of another, owners and modes included.
pub(crate) fn replace_folder(from: &Path, to: &Path) {
    if to.exists() {
        shell("rm", &["-rf".as_ref(), to.as_os_str()]);
    }
    shell("cp", &["-a".as_ref(), "--reflink=auto".as_ref(), from.as_os_str(), to.as_os_str()]);
}

/// Waits until everything is on disk.
pub(crate) fn sync() {
    shell("sync", &[]);
}

fn shell(program: &str, args: &[&std::ffi::OsStr]) {
    let status = Command::new(program).args(args).status();
    assert!(status.is_ok_and(|status| status.success()), "{program} {args:?} failed");
}
