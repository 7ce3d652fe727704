//! Kills and errors at every border that a row passes, one after the other, in every pair of a source and a target.
//!
//! `ROWFERRY_LONG=1` compares after every single one, and adds errors at all of them.

#![allow(clippy::unwrap_used)]

mod ends;
mod list;
mod traffic;

use ends::{Copy, Marked, Source};
use list::{Kind, When};
use rowferry_testkit::{Ended, Rowferry};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const BINARY: &str = env!("CARGO_BIN_EXE_rowferry");

/// Both ends are compared after so many rounds; in a long run after each.
const ROUNDS_UNTIL_COMPARED: u32 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn from_postgres_into_postgres() {
    walk(Kind::Postgres, Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_postgres_into_sqlite() {
    walk(Kind::Postgres, Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_postgres_into_mysql() {
    walk(Kind::Postgres, Kind::Mysql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mysql_into_postgres() {
    walk(Kind::Mysql, Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mysql_into_sqlite() {
    walk(Kind::Mysql, Kind::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_mysql_into_mysql() {
    walk(Kind::Mysql, Kind::Mysql).await;
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
    source: Source,
    copy: Copy,
    rowferry: Rowferry,
    round: u32,
    marked: Vec<Marked>,
}

async fn walk(source: Kind, target: Kind) {
    let is_long = std::env::var("ROWFERRY_LONG").is_ok_and(|value| value == "1");
    let (from, copy) = (Source::new(source), Copy::new(target));
    from.make_tables().await;
    let rowferry = Rowferry::new(BINARY, &from.config(&copy));
    let mut walk = Walk { source: from, copy, rowferry, round: 0, marked: Vec::new() };
    let failpoints: Vec<_> = list::between(source, target).collect();
    for (name, _) in failpoints.iter().filter(|(_, when)| *when == When::FirstStart) {
        walk.kill(name, 1);
    }
    walk.compare("the first start").await;
    let later = |&(name, when)| match when {
        When::FirstStart => None,
        When::Later(nth) => Some((name, nth)),
    };
    for (name, nth) in failpoints.iter().filter_map(later) {
        walk.change().await;
        walk.kill(name, nth);
        walk.look(&format!("a kill at {name}")).await;
        if is_long || walk.round.is_multiple_of(ROUNDS_UNTIL_COMPARED) {
            walk.compare(&format!("a kill at {name}")).await;
        }
        for class in ["transient", "permanent"].into_iter().filter(|_| is_long) {
            walk.change().await;
            walk.fail(name, nth, class);
            walk.compare(&format!("a {class} error at {name}")).await;
        }
    }
    walk.compare("the last kill").await;
    println!("{} rounds", walk.round);
}

impl Walk {
    async fn change(&mut self) {
        self.round += 1;
        self.source.run(self.round, &mut self.marked).await;
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
        self.source.look(&self.copy, &self.rowferry.path("target.db"), &self.marked, after).await;
    }

    /// Catches up undisturbed; then both ends are the same.
    async fn compare(&self, after: &str) {
        println!("after {after}");
        self.rowferry.run_until_caught_up();
        let found = self.source.differences(&self.copy, &self.rowferry.path("target.db")).await;
        assert!(found.is_empty(), "after {after}: {}", found.join("\n"));
        self.look(after).await;
    }
}
