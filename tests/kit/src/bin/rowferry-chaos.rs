//! The workload that checks itself, by hand: docs/chaos.md. Exits 1 if an invariant was broken or both ends differ.

#![allow(clippy::unwrap_used)]

use clap::Parser;
use rowferry_testkit::End;
use rowferry_testkit::chaos::{Chaos, Plan, Status};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, UNIX_EPOCH};

/// Writes at a source while rowferry runs, checks every state that the target shows, and compares both ends.
#[derive(Debug, Parser)]
#[command(name = "rowferry-chaos")]
struct Arguments {
    /// postgres:// or mysql:// with a database that has none of the workload's tables
    #[arg(long)]
    source: String,
    /// postgres://, mysql:// or the path of an SQLite file
    #[arg(long)]
    target: String,
    /// rowferry's configuration, to ask for its status
    #[arg(long)]
    config: PathBuf,
    /// The program
    #[arg(long, default_value = "rowferry")]
    rowferry: PathBuf,
    /// Repeats the choices of another run
    #[arg(long)]
    seed: Option<u64>,
    /// Sessions that write
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=1000))]
    writers: u64,
    /// Transactions of each session
    #[arg(long, default_value_t = 2000)]
    transactions: u64,
    /// Rows of a large transaction
    #[arg(long, default_value_t = 20_000)]
    large_rows: u64,
    /// Milliseconds that a session rests after a transaction
    #[arg(long, default_value_t = 12)]
    pause_ms: u64,
    /// Seconds that the target may take in the end
    #[arg(long, default_value_t = 300)]
    patience: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let now = UNIX_EPOCH.elapsed().map_or(1, |since| since.as_nanos() as u64);
    let Arguments { writers, transactions, large_rows, pause_ms, .. } = arguments;
    let plan = Plan { writers, transactions, large_rows, pause_ms, ..Plan::new(arguments.seed.unwrap_or(now)) };
    let chaos = Chaos::prepare(End::at(&arguments.source), End::at(&arguments.target), plan).await;
    let status = Status { binary: arguments.rowferry, config: arguments.config };
    let mut traffic = chaos.start(status.clone());
    traffic.wait_written().await;
    chaos.wait_until_equal(&status, Duration::from_secs(arguments.patience)).await;
    let report = chaos.finish(traffic, 0).await;
    println!("{report}");
    if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
