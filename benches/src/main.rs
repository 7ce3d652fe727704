//! `rowferry-bench`: measures rowferry against other programs, alternately, on the same servers and the same data.
//!
//! What differs at the end of a run is an error, what is slower than wanted is not: it is printed. Every scenario
//! makes its servers anew and leaves nothing behind.

mod debezium;
mod drain;
mod growth;
mod latency;
mod load;
mod measure;
mod memory;
mod mysql;
mod read;
mod replay;
mod report;
mod servers;
mod snapshot;

use clap::Parser;
use report::Figure;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::process::ExitCode;

/// Measures rowferry against other programs.
#[derive(Debug, Parser)]
struct Args {
    /// What to measure; everything if none is named.
    names: Vec<String>,
    /// Prints the names.
    #[arg(long)]
    list: bool,
    /// Changes of a backlog.
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// Runs of each program.
    #[arg(long, default_value_t = 3)]
    repeat: usize,
    /// Where figures are written as JSON; benches/results/NAME.json if it is not given.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What a scenario is told.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The rowferry to measure.
    pub(crate) binary: PathBuf,
    pub(crate) rows: u64,
    pub(crate) repeat: usize,
}

type Scenario = for<'a> fn(&'a Plan) -> Pin<Box<dyn Future<Output = Vec<Figure>> + Send + 'a>>;

/// All scenarios by name, in the order in which they run.
const SCENARIOS: &[(&str, Scenario)] = &[
    ("drain-inserts", |plan| Box::pin(drain::inserts(plan))),
    ("drain-updates-1000", |plan| Box::pin(drain::updates_1000(plan))),
    ("drain-updates-1", |plan| Box::pin(drain::updates_1(plan))),
    ("drain-hot-keys", |plan| Box::pin(drain::hot_keys(plan))),
    ("drain-deletes", |plan| Box::pin(drain::deletes(plan))),
    ("snapshot", |plan| Box::pin(snapshot::snapshot(plan))),
    ("read", |plan| Box::pin(read::read(plan))),
    ("latency", |plan| Box::pin(latency::latency(plan))),
    ("memory", |plan| Box::pin(memory::idle(plan))),
    ("growth", |plan| Box::pin(growth::growth(plan))),
    ("wide", |plan| Box::pin(drain::wide(plan))),
    ("large-values", |plan| Box::pin(drain::large_values(plan))),
    ("mariadb-read", |plan| Box::pin(mysql::read(plan))),
    ("mariadb-snapshot", |plan| Box::pin(mysql::snapshot(plan))),
    ("mysql-to-postgres", |plan| Box::pin(mysql::into_postgres(plan))),
    ("mariadb-to-mariadb", |plan| Box::pin(mysql::into_mariadb(plan))),
    ("debezium", |plan| Box::pin(debezium::debezium(plan))),
];

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    if args.list {
        SCENARIOS.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    if let Some(unknown) = args.names.iter().find(|name| !SCENARIOS.iter().any(|(known, _)| known == name)) {
        println!("error: no benchmark {unknown}; --list prints the names");
        return ExitCode::from(2);
    }
    let plan = Plan { binary: rowferry_binary(), rows: args.rows, repeat: args.repeat.max(1) };
    let mut all = Vec::new();
    let mut failed = Vec::new();
    for (name, scenario) in SCENARIOS {
        if !args.names.is_empty() && !args.names.iter().any(|wanted| wanted == name) {
            continue;
        }
        println!("== {name}");
        let began = std::time::Instant::now();
        let plan = plan.clone();
        // In a task of its own, so that one that fails ends alone.
        match tokio::spawn(async move { scenario(&plan).await }).await {
            Ok(figures) => {
                report::print(&figures);
                let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("results").join(format!("{name}.json"));
                if args.json.is_none() {
                    report::write_json(&beside, &figures);
                }
                all.extend(figures);
            }
            Err(error) => {
                println!("FAILED: {error}");
                failed.push(*name);
            }
        }
        println!("({name} took {:.0} s)\n", began.elapsed().as_secs_f64());
    }
    all.extend(memory::peak(&all));
    report::print(&all);
    if let Some(path) = &args.json {
        report::write_json(path, &all);
    }
    if failed.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("FAILED: {}", failed.join(", "));
    ExitCode::FAILURE
}

/// `ROWFERRY_BIN`, else the one that was built beside this program.
fn rowferry_binary() -> PathBuf {
    let given = std::env::var_os("ROWFERRY_BIN").map(PathBuf::from);
    let binary =
        given.unwrap_or_else(|| std::env::current_exe().expect("know our own path").with_file_name("rowferry"));
    assert!(binary.exists(), "no {}: build it, or set ROWFERRY_BIN", binary.display());
    binary
}
