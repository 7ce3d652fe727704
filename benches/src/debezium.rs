//! rowferry's whole drain against the Debezium engine that only reads the same slot and writes nothing anywhere.
//!
//! `benches/run` installs the engine; where it cannot, this is skipped. See `benches/debezium.py`.

use crate::Plan;
use crate::load;
use crate::measure;
use crate::replay::{Replay, Who};
use crate::report::{Figure, Run, Wanted};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const SLOT: &str = "debezium";

/// What the script prints.
#[derive(Debug, Deserialize)]
struct Said {
    events: u64,
    /// From the first batch to the last; the start of its virtual machine is left out.
    seconds: f64,
    peak_kib: u64,
}

pub(crate) async fn debezium(plan: &Plan) -> Vec<Figure> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = folder.join("work/debezium/bin/python");
    if !python.exists() {
        println!("  skipped: there is no Debezium engine at {}; benches/run installs it", python.display());
        return Vec::new();
    }
    let replay = Replay::prepare(&plan.binary, load::inserts(plan.rows), false).await;
    let (mut peer, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..plan.repeat {
        peer.push(run(&replay, &python, &folder.join("debezium.py")).await);
        ours.push(replay.run(Who::Rowferry).await);
    }
    let peak = |runs: &[Run]| runs.iter().filter_map(|run| run.peak_kib).max().unwrap_or(0) as f64 / 1024.0;
    let memory = Figure::value("memory, by Debezium", "MB", Some(peak(&peer)), peak(&ours), Wanted::AtMost(0.1));
    vec![Figure::rates("drain-inserts, by Debezium reading", &peer, &ours, Some(Wanted::AtLeast(4.0))), memory]
}

async fn run(replay: &Replay, python: &PathBuf, script: &Path) -> Run {
    replay.copy_slot(SLOT).await;
    let source = &replay.ends.source_database;
    let (cpu_before, children_before) = (replay.ends.cpu(None), measure::cpu_of_ended_children());
    let port = replay.ends.source.port().to_string();
    let mut command = Command::new(python);
    command.arg(script).args(["127.0.0.1", &port, "postgres", source.name(), SLOT, "bench"]);
    let ended = command.stdin(Stdio::null()).output().expect("run Debezium");
    let (stdout, stderr) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    let failed = || panic!("Debezium failed: {stdout}\n{stderr}");
    let said: Said = stdout.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_else(failed);
    assert_eq!(said.events, replay.changes() + 1, "events that Debezium read, the marker's among them");
    let mut cpu = replay.ends.cpu(None).since(cpu_before);
    cpu.program = measure::cpu_of_ended_children() - children_before;
    replay.ends.drop_slot(SLOT).await;
    let run = Run {
        who: "Debezium".to_owned(),
        seconds: said.seconds,
        rows: said.events,
        row_bytes: replay.row_bytes(),
        cpu,
        peak_kib: Some(said.peak_kib),
    };
    println!("  {run}");
    run
}
