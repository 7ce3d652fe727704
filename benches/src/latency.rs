//! How long after its COMMIT returned a row is visible at the target, under a steady load.

use crate::Plan;
use crate::load;
use crate::replay::{Replay, Who};
use crate::report::{self, Figure, Sample, Wanted};
use crate::servers;
use rowferry_testkit::Database;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use tokio_postgres::Client;

/// Transactions a second, one row each, and for how long.
const RATE: u64 = 500;
const SECONDS: u64 = 20;
/// Sessions that write, in turn: one alone might not keep the pace where a commit is slow.
const WRITERS: u64 = 4;
/// Between two looks at the target; a look adds about as much to what is measured.
const POLL: Duration = Duration::from_millis(1);
/// How long the last rows may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn latency(plan: &Plan) -> Vec<Figure> {
    let replay = Replay::prepare(&plan.binary, load::table(0), false).await;
    replay.copy_slot(Who::Native.name()).await;
    let mut next_id = 1;
    let mut found: Vec<(Who, f64, f64)> = Vec::new();
    for _ in 0..plan.repeat {
        for who in [Who::Native, Who::Rowferry] {
            let milliseconds = run(&replay, who, next_id).await;
            next_id += RATE * SECONDS;
            let at = |share| report::percentile(milliseconds.iter().copied(), share);
            let (p50, p99) = (at(0.5), at(0.99));
            println!("  {:<16} p50 {p50:.2} ms, p99 {p99:.2} ms, most {:.2} ms", who.name(), at(1.0));
            found.push((who, p50, p99));
        }
    }
    let figure = |what: &str, part: fn(&(Who, f64, f64)) -> f64| {
        let of = |who| report::median(found.iter().filter(|run| run.0 == who).map(part));
        let samples = found.iter().map(|run| Sample { who: run.0.name().to_owned(), value: part(run) }).collect();
        let wanted = Wanted::AtMost(1.5);
        Figure { samples, ..Figure::value(what, "ms", Some(of(Who::Native)), of(Who::Rowferry), wanted) }
    };
    vec![figure("latency p50", |run| run.1), figure("latency p99", |run| run.2)]
}

/// Milliseconds from commit to sight of every row.
async fn run(replay: &Replay, who: Who, first_id: u64) -> Vec<f64> {
    let (source, target) = (&replay.ends.source_database, replay.target(who));
    replay.ends.settle(target).await;
    let begun = replay.begin(who).await;
    catch_up(target, first_id - 1).await;
    // Whatever a start does first is over.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let last_id = first_id + RATE * SECONDS - 1;
    let watcher = tokio::spawn(watch(target.client().await, first_id, last_id));
    let began = Instant::now() + Duration::from_millis(50);
    let mut writers = Vec::new();
    for nth in 0..WRITERS {
        let ids = (first_id + nth..=last_id).step_by(WRITERS as usize);
        let due = move |id| began + Duration::from_secs_f64((id - first_id) as f64 / RATE as f64);
        writers.push(tokio::spawn(write(source.client().await, ids.map(move |id| (id, due(id))))));
    }
    let mut committed = HashMap::new();
    for writer in writers {
        committed.extend(writer.await.expect("write at the source"));
    }
    let visible = watcher.await.expect("watch the target");
    let tables = ["t".to_owned()];
    let (here, there) = (servers::checksum(source, &tables).await, servers::checksum(target, &tables).await);
    assert_eq!(there, here, "the target of {} differs from the source", who.name());
    replay.finish(begun).await;
    // A row may be seen before its writer hears of the commit.
    let milliseconds = |(id, at): (i64, Instant)| {
        let before: Instant = committed[&id];
        match at.checked_duration_since(before) {
            Some(late) => late.as_secs_f64() * 1e3,
            None => -(before - at).as_secs_f64() * 1e3,
        }
    };
    visible.into_iter().map(milliseconds).collect()
}

/// Waits for the rows that another contender's run has left in the log.
async fn catch_up(target: &Database, rows: u64) {
    let deadline = Instant::now() + PATIENCE;
    while target.value("SELECT count(*) FROM t").await != rows.to_string() {
        assert!(Instant::now() < deadline, "the target does not catch up");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Inserts each row when it is due; says when its commit returned.
async fn write(client: Client, ids: impl Iterator<Item = (u64, Instant)>) -> Vec<(i64, Instant)> {
    let insert = client.prepare(&load::insert_one()).await.expect("prepare an insert");
    let mut committed = Vec::new();
    for (id, due) in ids {
        tokio::time::sleep_until(due.into()).await;
        let id = i64::try_from(id).expect("a small id");
        client.execute(&insert, &[&id]).await.expect("insert a row");
        committed.push((id, Instant::now()));
    }
    committed
}

/// Looks at the target until all rows are there; says when each was first seen. They need not come in order.
async fn watch(client: Client, first_id: u64, last_id: u64) -> HashMap<i64, Instant> {
    let look = client.prepare("SELECT id FROM t WHERE id > $1").await.expect("prepare a look at the target");
    let (mut below, last) = (i64::try_from(first_id - 1).expect("small"), i64::try_from(last_id).expect("small"));
    let deadline = Instant::now() + Duration::from_secs(SECONDS) + PATIENCE;
    let mut seen = HashMap::new();
    while below < last {
        assert!(Instant::now() < deadline, "row {} does not come", below + 1);
        let rows = client.query(&look, &[&below]).await.expect("look at the target");
        let now = Instant::now();
        for row in rows {
            seen.entry(row.get(0)).or_insert(now);
        }
        while seen.contains_key(&(below + 1)) {
            below += 1;
        }
        tokio::time::sleep(POLL).await;
    }
    seen
}
