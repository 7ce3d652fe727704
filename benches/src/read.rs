//! How fast the log alone is read: rowferry's reader against `pg_recvlogical` into `/dev/null`, the same slot and options.

use crate::Plan;
use crate::load;
use crate::measure;
use crate::replay::Replay;
use crate::report::{Figure, Run, Wanted};
use rowferry_api::{Event, Position, Source};
use rowferry_postgres::{BACKLOG_BYTES, PostgresSource, SourceOptions};
use rowferry_testkit::psql;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SLOT: &str = "reader";
/// How often the reader tells the source where it stands, as rowferry does after a checkpoint.
const CONFIRM_EVERY: Duration = Duration::from_secs(1);

pub(crate) async fn read(plan: &Plan) -> Vec<Figure> {
    let replay = Replay::prepare(&plan.binary, load::inserts(plan.rows), false).await;
    let (mut peer, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..plan.repeat {
        peer.push(run(&replay, "pg_recvlogical").await);
        ours.push(run(&replay, "rowferry's reader").await);
    }
    vec![Figure::rates("read, by pg_recvlogical", &peer, &ours, Some(Wanted::AtLeast(3.0)))]
}

async fn run(replay: &Replay, who: &str) -> Run {
    replay.copy_slot(SLOT).await;
    let program = || match who {
        "pg_recvlogical" => measure::cpu_of_ended_children(),
        _ => measure::cpu_of_process(std::process::id()),
    };
    let (cpu_before, program_before) = (replay.ends.cpu(None), program());
    let began = Instant::now();
    match who {
        "pg_recvlogical" => receive(replay),
        _ => read_all(replay).await,
    }
    let seconds = began.elapsed().as_secs_f64();
    let mut cpu = replay.ends.cpu(None).since(cpu_before);
    cpu.program = program() - program_before;
    replay.ends.drop_slot(SLOT).await;
    let (rows, row_bytes) = (replay.changes(), replay.row_bytes());
    let run = Run { who: who.to_owned(), seconds, rows, row_bytes, cpu, peak_kib: None };
    println!("  {run}");
    run
}

/// `pg_recvlogical` to the end of the load.
fn receive(replay: &Replay) {
    let mut command = Command::new(psql::program("pg_recvlogical"));
    command.args(["--start", "--no-loop", "-f", "/dev/null", "--slot", SLOT, "-d", &replay.ends.source_database.url()]);
    command.args(["-o", "proto_version=1", "-o", "publication_names=bench", "--endpos", replay.end_lsn()]);
    let ended = command.stdin(Stdio::null()).output().expect("run pg_recvlogical");
    assert!(ended.status.success(), "pg_recvlogical failed: {}", String::from_utf8_lossy(&ended.stderr));
}

/// rowferry's reader until the commit of the marker has come by.
async fn read_all(replay: &Replay) {
    let database = &replay.ends.source_database;
    let options = SourceOptions {
        url: database.url(),
        slot: SLOT.into(),
        publication: "bench".into(),
        backlog_bytes: BACKLOG_BYTES,
    };
    let source = PostgresSource::new(options).expect("valid options");
    let tables = source.tables().await.expect("read the catalog").into_iter().map(|table| table.schema);
    let tables: Vec<_> = tables.filter(|table| table.name.schema == "public").collect();
    let confirmed = format!("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '{SLOT}'");
    let from = Position::new(database.value(&confirmed).await);
    let mut reader = source.open_log(&from, &tables).await.expect("open the log");
    let (mut events, mut changes, mut is_marked, mut is_at_end) = (Vec::new(), 0, false, false);
    let mut confirmed_at = Instant::now();
    while !is_at_end {
        events.clear();
        reader.next(&mut events).await.expect("read the log");
        let mut last = None;
        for event in &events {
            match event {
                Event::Change(change) if change.table.name.name == "done" => is_marked = true,
                Event::Change(_) => changes += 1,
                Event::Commit { position, .. } => {
                    last = Some(position);
                    is_at_end = is_marked;
                }
                _ => {}
            }
        }
        if let Some(position) = last
            && confirmed_at.elapsed() >= CONFIRM_EVERY
        {
            reader.confirm(position).expect("confirm a position");
            confirmed_at = Instant::now();
        }
    }
    assert_eq!(changes, replay.changes(), "changes in the log");
}
