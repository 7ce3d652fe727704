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
use std::process::{Command, Output, Stdio};

const SLOT: &str = "debezium";

/// What the script prints.
#[derive(Debug, Deserialize)]
pub(crate) struct Said {
    pub(crate) events: u64,
    /// From the first batch to the last; the start of its virtual machine is left out.
    pub(crate) seconds: f64,
    pub(crate) peak_kib: u64,
}

impl Said {
    /// Panics with what the engine wrote if it failed.
    pub(crate) fn read(ended: &Output) -> Self {
        let (stdout, stderr) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        let failed = || panic!("Debezium failed: {stdout}\n{stderr}");
        stdout.lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_else(failed)
    }
}

/// The Python that has the engine; says so if there is none.
pub(crate) fn python() -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("work/debezium/bin/python");
    if !python.exists() {
        println!("  Debezium is skipped: there is no engine at {}; benches/run installs it", python.display());
        return None;
    }
    Some(python)
}

/// The engine with these settings, offsets in `folder`, until a row of the table `end` comes by.
pub(crate) fn command(folder: &Path, end: &str, settings: &[String]) -> Command {
    let mut command = Command::new(python().expect("there is an engine"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("debezium.py")).arg(folder).arg(end).args(settings);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) async fn debezium(plan: &Plan) -> Vec<Figure> {
    if python().is_none() {
        return Vec::new();
    }
    let replay = Replay::prepare(&plan.binary, load::inserts(plan.rows), false).await;
    let (mut peer, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..plan.repeat {
        peer.push(run(&replay).await);
        ours.push(replay.run(Who::Rowferry).await);
    }
    let peak = |runs: &[Run]| runs.iter().filter_map(|run| run.peak_kib).max().unwrap_or(0) as f64 / 1024.0;
    let memory = Figure::value("memory, by Debezium", "MB", Some(peak(&peer)), peak(&ours), Wanted::AtMost(0.1));
    vec![Figure::rates("drain-inserts, by Debezium reading", &peer, &ours, Some(Wanted::AtLeast(4.0))), memory]
}

async fn run(replay: &Replay) -> Run {
    replay.copy_slot(SLOT).await;
    let source = &replay.ends.source_database;
    let (cpu_before, children_before) = (replay.ends.cpu(None), measure::cpu_of_ended_children());
    let settings = [
        "connector.class=io.debezium.connector.postgresql.PostgresConnector".to_owned(),
        "database.hostname=127.0.0.1".to_owned(),
        format!("database.port={}", replay.ends.source.port()),
        "database.user=postgres".to_owned(),
        "database.password=unused".to_owned(),
        format!("database.dbname={}", source.name()),
        "plugin.name=pgoutput".to_owned(),
        format!("slot.name={SLOT}"),
        "publication.name=bench".to_owned(),
        "publication.autocreate.mode=disabled".to_owned(),
        "snapshot.mode=no_data".to_owned(),
    ];
    let folder = tempfile::Builder::new().prefix("rowferry-debezium-").tempdir().expect("create a folder");
    let said = Said::read(&command(folder.path(), "done", &settings).output().expect("run Debezium"));
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
