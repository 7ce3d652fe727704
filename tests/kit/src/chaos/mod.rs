//! A workload that checks itself: many tables, transactions over several of them that keep invariants, and a reader at the
//! target that holds each state it sees against them.
//!
//! What is written is in `tables.rs` and `writer.rs`, what must hold in `invariants.rs`. It is seeded, bounded, and knows
//! nothing of rowferry but what `rowferry status --json` says. docs/chaos.md tells how to run it by hand.

mod invariants;
mod reader;
mod status;
mod tables;
mod writer;

pub use reader::Seen;
pub use status::Status;
pub use tables::NAMES as TABLES;

use crate::{Compared, End, Random, Session};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use writer::{Stage, Writer};

/// What bounds the traffic.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Repeats the choices, though not the order in which sessions meet.
    pub seed: u64,
    /// Sessions that write side by side.
    pub writers: u64,
    /// They end after so many transactions of each.
    pub transactions: u64,
    /// One transaction in so many is large, from one session only.
    pub large_every: u64,
    /// Rows of a large one.
    pub large_rows: u64,
    /// One transaction in so many is followed by the next change of form.
    pub ddl_every: u64,
    /// Rest of a session after each transaction, in milliseconds.
    pub pause_ms: u64,
}

impl Plan {
    /// Three sessions without an end, one large transaction of 20,000 rows in 200.
    pub fn new(seed: u64) -> Self {
        let (large_every, large_rows) = (200, 20_000);
        Self { seed, writers: 3, transactions: u64::MAX, large_every, large_rows, ddl_every: 60, pause_ms: 12 }
    }
}

/// The workload between a source and a target.
#[derive(Debug)]
pub struct Chaos {
    source: Arc<End>,
    target: Arc<End>,
    plan: Plan,
}

/// What is under way. Writing ends with [`stop_writing`](Self::stop_writing), else when this value is dropped.
#[derive(Debug)]
pub struct Traffic {
    writing: Arc<AtomicBool>,
    reading: Arc<AtomicBool>,
    writers: Vec<JoinHandle<Written>>,
    reader: Option<JoinHandle<Seen>>,
    written: Written,
}

/// What sessions have written.
#[derive(Debug, Clone, Copy, Default)]
pub struct Written {
    /// Transactions committed, as far as they know.
    pub transactions: u64,
    /// Those of many rows among them.
    pub large: u64,
    /// Given up: chosen, deadlocks, lost connections.
    pub undone: u64,
    /// Changes of form.
    pub ddl: u64,
}

/// How it went.
#[derive(Debug)]
pub struct Report {
    /// The seed that repeats it.
    pub seed: u64,
    /// At the source.
    pub written: Written,
    /// At the target.
    pub seen: Seen,
    /// Kills and faults, as the caller counted them.
    pub faults: u64,
    /// Rows of the source that were compared at the end.
    pub rows: u64,
    /// Between both ends, at the end.
    pub differences: Vec<String>,
}

impl Chaos {
    /// Makes the tables at the source, which must have none of them. The seed is for the caller to print.
    pub async fn prepare(source: End, target: End, plan: Plan) -> Self {
        println!("chaos from {source} into {target}: SEED={}", plan.seed);
        tables::create(&source, &mut Random::new(plan.seed), plan.writers).await;
        Self { source: Arc::new(source), target: Arc::new(target), plan }
    }

    /// Where it writes.
    pub fn source(&self) -> &End {
        &self.source
    }

    /// Where it reads.
    pub fn target(&self) -> &End {
        &self.target
    }

    /// A configuration of one pipeline, `test`, between both ends, or what stands before them: other URLs. `options` stand
    /// behind the source's URL, `more` follows in the pipeline's section.
    pub fn config(&self, source_url: &str, target_url: &str, options: &str, more: &str) -> String {
        let (source, target) = (self.source.as_source_at(source_url, options), self.target.as_target_at(target_url));
        format!("[pipeline.test]\n{source}target = {target}\n{more}\n")
    }

    /// Begins to write at the source, and to read what of the target `status` calls streaming.
    pub fn start(&self, status: Status) -> Traffic {
        let (writing, reading) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
        let mut random = Random::new(self.plan.seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let stage = Arc::new(Stage::default());
        let writer = |number| {
            let random = Random::new(random.number());
            let writer = Writer::new(number, self.source.clone(), self.plan, random, stage.clone());
            tokio::spawn(writer.write(writing.clone()))
        };
        let writers = (0..self.plan.writers).map(writer).collect();
        let names = self.source.names();
        let reader = tokio::spawn(reader::watch(self.target.clone(), names, status, reading.clone()));
        Traffic { writing, reading, writers, reader: Some(reader), written: Written::default() }
    }

    /// Waits until the target holds what the sessions wrote last; panics after `patience`. For a rowferry that goes on.
    pub async fn wait_until_equal(&self, status: &Status, patience: Duration) {
        let until = Instant::now() + patience;
        loop {
            let ends = (reader::ticks(&self.source, "").await, reader::ticks(&self.target, &self.source.names()).await);
            if matches!(&ends, (Ok(here), Ok(there)) if here == there) && status.all_streaming() {
                return;
            }
            assert!(Instant::now() < until, "the target does not catch up: {ends:?}, {:?}", status.look());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What each session has written so far, as the source has it; waits for a source that is just starting.
    pub async fn written(&self) -> Vec<i64> {
        loop {
            match reader::ticks(&self.source, "").await {
                Ok(ticks) => return ticks,
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Whether the target holds that much by now.
    pub async fn holds(&self, written: &[i64]) -> bool {
        let there = reader::ticks(&self.target, &self.source.names()).await.unwrap_or_default();
        there.len() == written.len() && written.iter().zip(&there).all(|(here, there)| here <= there)
    }

    /// Compares both ends value by value, and says how it went. To be called when the target has caught up.
    pub async fn finish(&self, traffic: Traffic, faults: u64) -> Report {
        let (written, mut seen) = traffic.end().await;
        // The traffic has to keep its own promise, and the last state is one as well.
        seen.broken.extend(reader::look(&self.source, "").await.map_err(|error| format!("the source: {error}")).err());
        let last = reader::look(&self.target, &self.source.names()).await;
        seen.broken.extend(last.map_err(|error| format!("the target at the end: {error}")).err());
        let (rows, differences) = self.compare().await;
        Report { seed: self.plan.seed, written, seen, faults, rows, differences }
    }

    async fn compare(&self) -> (u64, Vec<String>) {
        let Compared { tables: names, differences } = self.source.compare(&self.target).await;
        assert!(names.len() >= tables::NAMES.len(), "tables are missing at the source: {names:?}");
        let mut rows = 0;
        for name in names {
            let counted = self.source.value(&format!("SELECT count(*) FROM {name}")).await;
            rows += counted.parse::<u64>().expect("a count");
        }
        (rows, differences)
    }
}

/// A session in which the workload's tables have their own names, whatever `names` they stand under.
async fn open(end: &End, names: &str) -> Result<Session, String> {
    let mut session = end.open().await?;
    match &session {
        Session::Postgres(_) if !names.is_empty() => drop(session.run(&format!("SET search_path = {names}")).await?),
        Session::Sqlite(_) if !names.is_empty() => {
            for table in TABLES {
                let view = format!("CREATE TEMP VIEW {table} AS SELECT * FROM {names}_{table}");
                session.run(&view).await?;
            }
        }
        _ => {}
    }
    Ok(session)
}

impl Traffic {
    /// Whether a session has more to write.
    pub fn is_writing(&self) -> bool {
        self.writers.iter().any(|writer| !writer.is_finished())
    }

    /// Lets the sessions end their transactions. The reader goes on.
    pub async fn stop_writing(&mut self) {
        self.writing.store(false, Ordering::Relaxed);
        self.wait_written().await;
    }

    /// Waits until the sessions have written all that the plan lets them.
    pub async fn wait_written(&mut self) {
        for writer in self.writers.drain(..) {
            let more = writer.await.unwrap();
            self.written.transactions += more.transactions;
            self.written.large += more.large;
            self.written.undone += more.undone;
            self.written.ddl += more.ddl;
        }
    }

    async fn end(mut self) -> (Written, Seen) {
        self.stop_writing().await;
        self.reading.store(false, Ordering::Relaxed);
        let reader = self.reader.take().expect("taken here only");
        (self.written, reader.await.unwrap())
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.writing.store(false, Ordering::Relaxed);
        self.reading.store(false, Ordering::Relaxed);
    }
}

impl Report {
    /// No invariant was broken, and both ends are the same.
    pub fn is_clean(&self) -> bool {
        self.seen.broken.is_empty() && self.differences.is_empty()
    }

    /// Prints the figures; panics unless it is clean and somebody looked.
    #[track_caller]
    pub fn expect_clean(&self) {
        println!("{self}");
        assert!(self.is_clean(), "{self}");
        assert!(self.seen.states > 0, "no state of the target was looked at: {self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, written, seen, faults, rows, differences } = self;
        let Written { transactions, large, undone, ddl } = written;
        write!(
            f,
            "{transactions} transactions written ({large} large, {undone} undone, {ddl} changes of form), {} states checked ({} different \
             ones, {} reads failed), {faults} kills and faults, {rows} rows compared, {} differences, {} invariants broken, SEED={seed}",
            seen.states,
            seen.different,
            seen.failed,
            differences.len(),
            seen.broken.len()
        )?;
        seen.broken.iter().chain(differences).try_for_each(|line| write!(f, "\n{line}"))
    }
}
