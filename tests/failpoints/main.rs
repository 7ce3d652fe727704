//! Kills and errors at every border that a row passes, one after the other, in every pair of a source and a target.
//!
//! `ROWFERRY_LONG=1` compares after every single one, and adds errors at all of them.

#![allow(clippy::unwrap_used)]

mod ends;
mod list;
mod traffic;

use ends::{Ends, Marked};
use list::When;
use rowferry_testkit::{Ended, Kind, Rowferry, is_long};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const BINARY: &str = env!("CARGO_BIN_EXE_rowferry");

/// Both ends are compared after so many rounds; in a long run after each.
const ROUNDS_UNTIL_COMPARED: u32 = 4;

/// Pairs; without `ROWFERRY_LONG` each failpoint fails with errors in one of them.
const PAIRS: usize = 6;

/// Side by side, since each waits most of its time. `CASE=postgres_into_sqlite` walks that pair only.
#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn no_border_loses_or_repeats_a_row() {
    use Kind::{Mysql, Postgres, Sqlite};
    let case = std::env::var("CASE").unwrap_or_default();
    let (mut walks, mut number) = (Vec::new(), 0);
    for (source, from) in [(Postgres, "postgres"), (Mysql, "mysql")] {
        for (target, into) in [(Postgres, "postgres"), (Sqlite, "sqlite"), (Mysql, "mysql")] {
            let pair = format!("{from}_into_{into}");
            if pair.contains(&case) {
                walks.push((pair.clone(), tokio::spawn(walk(pair, number, source, target))));
            }
            number += 1;
        }
    }
    assert!(!walks.is_empty(), "no pair is called like CASE={case}");
    let mut failed = Vec::new();
    for (pair, walk) in walks {
        if walk.await.is_err() {
            failed.push(pair);
        }
    }
    assert!(failed.is_empty(), "failed, each with its reason above: {failed:?}");
}

/// Each name of the list stands once in the code, and none that is not in it.
#[test]
fn the_list_names_every_failpoint_once() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    for folder in ["src", "state", "connectors"] {
        gather(&root.join(folder), &mut found);
    }
    let listed: BTreeMap<String, u32> = list::FAILPOINTS.iter().map(|(name, ..)| ((*name).to_owned(), 1)).collect();
    assert_eq!(list::FAILPOINTS.len(), listed.len(), "a name stands twice in the list");
    assert_eq!(found, listed, "the code on the left, the list on the right");
}

/// How often each failpoint stands in the code of a folder.
fn gather(folder: &Path, found: &mut BTreeMap<String, u32>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            gather(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let code = fs::read_to_string(&path).unwrap();
            for name in code.split("failpoint!(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                *found.entry(name.to_owned()).or_default() += 1;
            }
        }
    }
}

/// A pipeline that is disturbed at one failpoint after the other.
struct Walk {
    pair: String,
    ends: Ends,
    rowferry: Rowferry,
    round: u32,
    marked: Vec<Marked>,
}

async fn walk(pair: String, number: usize, source: Kind, target: Kind) {
    let is_long = is_long();
    let rowferry = Rowferry::new(BINARY, "");
    let ends = Ends::new(source, target, rowferry.path("target.db"));
    ends.make_tables().await;
    rowferry.set_config(&ends.config());
    let mut walk = Walk { pair, ends, rowferry, round: 0, marked: Vec::new() };
    let failpoints: Vec<_> = list::between(source, target).collect();
    for (_, name, _) in failpoints.iter().filter(|(_, _, when)| *when == When::FirstStart) {
        walk.kill(name, 1);
    }
    walk.compare("the first start").await;
    for (index, name, when) in failpoints {
        let When::Later(nth) = when else { continue };
        let fails = is_long || index % PAIRS == number;
        for action in ["kill", "transient", "permanent"].into_iter().filter(|action| *action == "kill" || fails) {
            let what = format!("{action} at {name}");
            walk.change().await;
            match action {
                "kill" => walk.kill(name, nth),
                class => walk.fail(name, nth, class),
            }
            walk.look(&what).await;
            if is_long || walk.round.is_multiple_of(ROUNDS_UNTIL_COMPARED) {
                walk.compare(&what).await;
            }
        }
    }
    walk.compare("the last one").await;
    println!("{}: {} rounds", walk.pair, walk.round);
}

impl Walk {
    async fn change(&mut self) {
        self.round += 1;
        self.ends.run(self.round, &mut self.marked).await;
    }

    /// A run that is to be disturbed; panics unless it came to pass the failpoint so many times.
    fn disturb(&self, name: &str, nth: u32, action: &str) -> Ended {
        let log = self.rowferry.path("passed");
        let _ = fs::remove_file(&log);
        let plan = format!("{name}:{nth}:{action}");
        let env = [("ROWFERRY_FAILPOINT", plan.as_str()), ("ROWFERRY_FAILPOINT_LOG", log.to_str().unwrap())];
        let ended = self.rowferry.spawn_with(&["run", "--until-caught-up"], &env).wait_exit();
        let passed = fs::read_to_string(&log).unwrap_or_default();
        // Confirmed <= checkpoint: the source hears of no position before one is durable.
        let first = |name: &str| passed.lines().position(|line| line == name).unwrap_or(usize::MAX);
        let (durable, told) = (first("checkpoint.durable"), first("confirm.told"));
        assert!(durable < told || told == usize::MAX, "confirmed before it was checkpointed: {passed}");
        let times = passed.lines().filter(|line| *line == name).count();
        assert!(times >= nth as usize, "{name} was passed {times} times, not {nth}: {passed}\n{}", ended.stderr);
        ended
    }

    fn kill(&self, name: &str, nth: u32) {
        let ended = self.disturb(name, nth, "kill");
        assert_eq!(ended.code, None, "{name}: it ended by itself: {}", ended.stderr);
        self.rowferry.refuse_errors(&ended.stderr);
    }

    /// It goes on by itself, or says where it failed.
    fn fail(&self, name: &str, nth: u32, class: &str) {
        let ended = self.disturb(name, nth, class);
        match ended.code {
            Some(0) => {}
            Some(1) => drop(ended.expect_stderr(&[&format!("failpoint {name}")])),
            code => panic!("a {class} error at {name} ended it with {code:?}: {}", ended.stderr),
        }
    }

    async fn look(&self, after: &str) {
        let after = format!("{} after {after}", self.pair);
        self.ends.look(&self.marked, &after).await;
    }

    /// Catches up undisturbed; then both ends are the same.
    async fn compare(&self, after: &str) {
        self.rowferry.run_until_caught_up();
        let found = self.ends.differences().await;
        assert!(found.is_empty(), "{} after {after}: {}", self.pair, found.join("\n"));
        self.look(after).await;
        println!("{}: same after {after}", self.pair);
    }
}
