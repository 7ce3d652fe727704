//! Looks at the target while it is written, one transaction a look: each state has to be one that the source had.
//!
//! Only tables that `status` calls streaming before and after some looks, without having been copied in between, are held
//! against the invariants: before that a table may move back for a moment.

use super::invariants::{self, GROWING, Invariant};
use super::open;
use super::status::{Status, Streaming};
use crate::{End, Session};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Looks go on for so long between two of `status`, which costs a process.
const LOOKS_FOR: Duration = Duration::from_millis(700);
/// Broken invariants that are kept.
const KEPT: usize = 10;

/// What a reader of the target saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// States of tables that stream, held against the invariants.
    pub states: u64,
    /// Of these, such in which a writer had moved on.
    pub different: u64,
    /// The target was out of reach, or busy with a change of form.
    pub failed: u64,
    /// What did not hold.
    pub broken: Vec<String>,
}

/// What one look found, whether or not the tables count.
struct State {
    /// By invariant: the first rows that break it.
    breaks: Vec<(&'static [&'static str], String)>,
    /// By table and key.
    numbers: Vec<(&'static str, i64, i64)>,
}

/// Looks until told to stop, and once more.
pub(super) async fn watch(target: Arc<End>, names: String, status: Status, reading: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen::default();
    let mut highest = HashMap::new();
    let mut session = None;
    let mut before = look_at(&status).await;
    loop {
        let is_last = !reading.load(Ordering::Relaxed);
        let mut states = Vec::new();
        let began = Instant::now();
        // A state has as little as the target when it begins: nothing is looked at before something counts.
        while !before.is_empty() && began.elapsed() < LOOKS_FOR {
            match state(&target, &names, &mut session, &before).await {
                Ok(state) => states.push(state),
                Err(_) => {
                    seen.failed += 1;
                    session = None;
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if states.is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let after = look_at(&status).await;
        let counts = |table: &str| before.contains_key(table) && before.get(table) == after.get(table);
        for state in &states {
            seen.take(state, &mut highest, counts);
        }
        before = after;
        if is_last {
            return seen;
        }
    }
}

impl Seen {
    fn take(
        &mut self,
        state: &State,
        highest: &mut HashMap<(&'static str, i64), i64>,
        counts: impl Fn(&str) -> bool + Copy,
    ) {
        let has_moved = state.numbers.iter().any(|&(table, key, number)| {
            table == "counters" && counts(table) && highest.get(&(table, key)) != Some(&number)
        });
        if !state.numbers.iter().any(|&(table, ..)| counts(table)) {
            return;
        }
        self.states += 1;
        self.different += u64::from(has_moved);
        let broken = state.breaks.iter().filter(|(tables, _)| tables.iter().copied().all(counts));
        self.broken.extend(broken.map(|(_, text)| text.clone()));
        for &(table, key, number) in state.numbers.iter().filter(|&&(table, ..)| counts(table)) {
            let before = highest.entry((table, key)).or_insert(number);
            if number < *before {
                self.broken.push(format!("{table} {key} went back from {before} to {number}"));
            }
            *before = number;
        }
        self.broken.truncate(KEPT);
    }
}

async fn look_at(status: &Status) -> Streaming {
    let status = status.clone();
    tokio::task::spawn_blocking(move || status.look()).await.unwrap().unwrap_or_default()
}

/// One look by a session that is kept for the next one.
async fn state(target: &End, names: &str, kept: &mut Option<Session>, tables: &Streaming) -> Result<State, String> {
    let mut session = match kept.take() {
        Some(session) => session,
        None => open(target, names).await?,
    };
    let there: BTreeSet<&str> = tables.keys().map(String::as_str).collect();
    let state = read(&mut session, |table| there.contains(table)).await?;
    *kept = Some(session);
    Ok(state)
}

/// Holds a state with all tables against the invariants; what is broken is the error.
pub(super) async fn look(end: &End, names: &str) -> Result<(), String> {
    let state = read(&mut open(end, names).await?, |_| true).await?;
    let texts: Vec<_> = state.breaks.into_iter().map(|(_, text)| text).collect();
    if texts.is_empty() { Ok(()) } else { Err(texts.join("\n")) }
}

/// What the writers have counted.
pub(super) async fn ticks(end: &End, names: &str) -> Result<Vec<i64>, String> {
    let rows = open(end, names).await?.run("SELECT ticks FROM counters ORDER BY writer").await?;
    rows.iter().map(|row| row[0].as_ref().and_then(|text| text.parse().ok()).ok_or("no number".into())).collect()
}

async fn read(session: &mut Session, is_there: impl Fn(&str) -> bool) -> Result<State, String> {
    session.begin_reading().await?;
    let mut state = State { breaks: Vec::new(), numbers: Vec::new() };
    for Invariant { name, tables, sql } in invariants::all() {
        if tables.iter().all(|table| is_there(table)) {
            let rows = session.run(&format!("{sql} LIMIT 3")).await?;
            let broken = (!rows.is_empty()).then(|| (tables, format!("{name}: {rows:?}")));
            state.breaks.extend(broken);
        }
    }
    for (table, sql) in GROWING.into_iter().filter(|(table, _)| is_there(table)) {
        for row in session.run(sql).await? {
            let number = |at: usize| row[at].as_ref().and_then(|text| text.parse().ok()).ok_or("no number");
            state.numbers.push((table, number(0)?, number(1)?));
        }
    }
    session.run("COMMIT").await?;
    Ok(state)
}
