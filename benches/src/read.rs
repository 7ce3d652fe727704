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

/// Who reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    Peer,
    /// As rowferry reads what waits for it.
    Parts,
    /// As the walsender sends it.
    Stream,
}

impl Reader {
    fn name(self) -> &'static str {
        match self {
            Self::Peer => "pg_recvlogical",
            Self::Parts => "rowferry's reader",
            Self::Stream => "rowferry's reader, streamed",
        }
    }
}
/// How often the reader tells the source where it stands, as rowferry does after a checkpoint.
const CONFIRM_EVERY: Duration = Duration::from_secs(1);

pub(crate) async fn read(plan: &Plan) -> Vec<Figure> {
    let replay = Replay::prepare(&plan.binary, load::inserts(plan.rows), false).await;
    let (mut peer, mut parts, mut stream) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..plan.repeat {
        peer.push(run(&replay, Reader::Peer).await);
        parts.push(run(&replay, Reader::Parts).await);
        stream.push(run(&replay, Reader::Stream).await);
    }
    vec![
        Figure::rates("read a backlog, by pg_recvlogical", &peer, &parts, Some(Wanted::AtLeast(3.0))),
        Figure::rates("read a stream, by pg_recvlogical", &peer, &stream, Some(Wanted::AtLeast(1.0))),
    ]
}

async fn run(replay: &Replay, who: Reader) -> Run {
    replay.copy_slot(SLOT).await;
    let program = || match who {
        Reader::Peer => measure::cpu_of_ended_children(),
        _ => measure::cpu_of_process(std::process::id()),
    };
    let (cpu_before, program_before) = (replay.ends.cpu(None), program());
    let began = Instant::now();
    match who {
        Reader::Peer => receive(replay),
        Reader::Parts => read_all(replay, BACKLOG_BYTES).await,
        Reader::Stream => read_all(replay, 0).await,
    }
    let seconds = began.elapsed().as_secs_f64();
    let mut cpu = replay.ends.cpu(None).since(cpu_before);
    cpu.program = program() - program_before;
    replay.ends.drop_slot(SLOT).await;
    let (rows, row_bytes) = (replay.changes(), replay.row_bytes());
    let run = Run { who: who.name().to_owned(), seconds, rows, row_bytes, cpu, peak_kib: None };
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
async fn read_all(replay: &Replay, backlog_bytes: u64) {
    let database = &replay.ends.source_database;
    let options = SourceOptions { url: database.url(), slot: SLOT.into(), publication: "bench".into(), backlog_bytes };
    let source = PostgresSource::new(options).expect("valid options");
    let tables = source.tables().await.expect("read the catalog").into_iter().map(|table| table.schema);
    let tables: Vec<_> = tables.filter(|table| table.name.schema == "public").collect();
    let confirmed = format!("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = '{SLOT}'");
    let from = Position::new(database.value(&confirmed).await);
    let mut reader = source.open_log(&from, &tables, &[]).await.expect("open the log");
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
