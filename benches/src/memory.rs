//! What rowferry holds: with nothing to do, and at most in all the other scenarios.

use crate::Plan;
use crate::load;
use crate::measure;
use crate::replay::{Replay, Who};
use crate::report::{Figure, Wanted};
use std::time::Duration;

const IDLE: Duration = Duration::from_secs(10);

/// Streaming, and nothing changes.
pub(crate) async fn idle(plan: &Plan) -> Vec<Figure> {
    let replay = Replay::prepare(&plan.binary, load::table(1000), false).await;
    let mut begun = replay.begin(Who::Rowferry).await;
    let process = begun.process.as_mut().expect("rowferry is a process");
    process.wait_streaming();
    tokio::time::sleep(IDLE).await;
    let (now_kib, peak_kib) = (measure::memory_kib(process.pid()), measure::peak_memory_kib(process.pid()));
    replay.finish(begun).await;
    replay.compare(Who::Rowferry).await;
    let figure = |what, kib| Figure::value(what, "MB", None, megabytes(kib), Wanted::AtMost(30.0));
    vec![figure("memory, idle: now", now_kib), figure("memory, idle: peak", peak_kib)]
}

/// The peak of whatever was measured so far.
pub(crate) fn peak(figures: &[Figure]) -> Option<Figure> {
    let most = figures.iter().filter_map(|figure| figure.peak_kib).max()?;
    Some(Figure::value("memory: peak of all runs", "MB", None, megabytes(most), Wanted::AtMost(150.0)))
}

fn megabytes(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
