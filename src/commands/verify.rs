//! `rowferry verify`: compares both ends while they run, and with `--repair` copies the rows that differ again.

use super::status::{PipelineStatus, Status as Running};
use super::{FOUND, OK, chosen, ends, open_store, print_json, say};
use crate::cli::VerifyArgs;
use crate::config::{Config, PipelineConfig};
use crate::control::{self, Ask};
use crate::pipeline::HURRY_SECONDS;
use crate::pipeline::forms::{self, Chosen};
use crate::verify::{Found, Status, TableReport, Verifier, render};
use rowferry_api::{Error, ErrorKind};
use rowferry_state::Store;
use serde::Serialize;
use std::time::{Duration, Instant};

/// How long the target's position may stand still while verify waits for it.
const SETTLE: Duration = Duration::from_secs(15);
/// How long the running process may take to read rows again before what is still different is reported.
const REPAIR_PATIENCE: Duration = Duration::from_secs(60);
/// How often the repaired rows are looked at meanwhile.
const REPAIR_POLL: Duration = Duration::from_millis(500);

#[derive(Serialize)]
struct Document {
    tables: Vec<TableReport>,
}

pub(super) async fn run(config: &Config, args: &VerifyArgs, json: bool) -> Result<u8, Error> {
    let running: Option<Running> = control::ask(&config.state_dir, &Ask::Status).await?;
    let mut reports = Vec::new();
    for pipeline in chosen(config, &args.only)? {
        let status =
            running.as_ref().and_then(|running| running.pipelines.iter().find(|one| one.name == pipeline.name));
        reports.extend(verify(config, pipeline, args, status).await?);
    }
    if let Some(unknown) = args.tables.iter().find(|table| !reports.iter().any(|report| report.name == **table)) {
        return Err(Error::new(ErrorKind::Config, format!("no pipeline carries table {unknown}"))
            .hint("`rowferry status` lists the tables that are carried."));
    }
    let differ = reports.iter().any(|report| report.status == Status::Differ);
    if differ && running.is_none() {
        say("no process applies the log now: changes that are not applied yet count as differences");
    }
    if json {
        print_json(&Document { tables: reports });
    } else {
        print!("{}", render(&reports));
    }
    Ok(if differ { FOUND } else { OK })
}

async fn verify(
    config: &Config,
    pipeline: &PipelineConfig,
    args: &VerifyArgs,
    status: Option<&PipelineStatus>,
) -> Result<Vec<TableReport>, Error> {
    let (source, target) = ends(pipeline)?;
    let _hurry = status.map(|_| Hurry::start(config, pipeline));
    let verifier = Verifier {
        pipeline: &pipeline.name,
        source: &*source,
        target: &*target,
        running: status.is_some(),
        settle: SETTLE,
    };
    let mut reports = Vec::new();
    for table in forms::choose(&source.tables().await?, pipeline, &*target)? {
        let name = table.name().to_string();
        if !args.tables.is_empty() && !args.tables.contains(&name) {
            continue;
        }
        tracing::debug!(table = %name, "comparing");
        reports.push(match not_comparable(&table, status) {
            Some(reason) => TableReport::skipped(&name, reason),
            None => one_table(config, &verifier, &table, args.repair).await?,
        });
    }
    Ok(reports)
}

/// Makes the running process write an idle log's position at once, as long as this lives: the comparison waits for it.
struct Hurry(tokio::task::JoinHandle<()>);

impl Hurry {
    fn start(config: &Config, pipeline: &PipelineConfig) -> Self {
        let (state_dir, ask) = (config.state_dir.clone(), Ask::Hurry { pipeline: pipeline.name.clone() });
        Self(tokio::spawn(async move {
            let mut again = tokio::time::interval(Duration::from_secs(HURRY_SECONDS / 2));
            loop {
                again.tick().await;
                // Without an answer the comparison waits for the next regular position.
                let _ = control::ask::<bool>(&state_dir, &ask).await;
            }
        }))
    }
}

impl Drop for Hurry {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn not_comparable(table: &Chosen, status: Option<&PipelineStatus>) -> Option<String> {
    if table.source.schema.key.is_empty() {
        return Some("it has no key".into());
    }
    let name = table.name().to_string();
    let running = status?.tables.iter().find(|table| table.name == name)?;
    match running.state.as_str() {
        "pending" => Some("it is not copied yet".into()),
        "copying" => Some(format!("it is being copied: {} of {} slices", running.slices_done, running.slices_total)),
        _ => None,
    }
}

async fn one_table(
    config: &Config,
    verifier: &Verifier<'_>,
    table: &Chosen,
    repair: bool,
) -> Result<TableReport, Error> {
    let name = table.name().to_string();
    let found = match verifier.compare(&table.source.schema, &table.target).await {
        Ok(found) => found,
        // A table that is missing at the target, or lacks a column, is a difference to show, not a reason to stop.
        Err(error) if error.kind() == ErrorKind::Schema => {
            let report = TableReport::skipped(&name, error.to_string());
            return Ok(TableReport { status: Status::Differ, ..report });
        }
        Err(error) => return Err(error),
    };
    if !repair || found.differences.is_empty() {
        return Ok(TableReport::of(&name, &found));
    }
    let rows = found.differences.rows();
    let after = repaired(config, verifier, table, found).await?;
    Ok(TableReport { repaired: rows, ..TableReport::of(&name, &after) })
}

/// Copies the rows again, by the running process if there is one, and compares once more.
async fn repaired(config: &Config, verifier: &Verifier<'_>, table: &Chosen, mut found: Found) -> Result<Found, Error> {
    let (read, target) = (&table.source.schema, &table.target);
    if !verifier.running {
        // A process that started now would apply the log under the repair.
        let _held = if Store::exists(&config.state_dir) { Some(open_store(config).await?) } else { None };
        verifier.repair(read, target, &found.differences).await?;
        return verifier.compare_again(read, target, found).await;
    }
    let (pipeline, name) = (verifier.pipeline.to_owned(), table.name().to_string());
    if found.differences.ranges().next().is_some() {
        say(&format!("{name}: most of it differs; the running process copies it again, see `rowferry status`"));
        let ask = Ask::Resync { pipeline, tables: vec![name] };
        control::ask::<bool>(&config.state_dir, &ask).await?;
        return Ok(found);
    }
    let keys = found.differences.keys().map(|key| key.as_bytes().to_vec()).collect();
    control::ask::<bool>(&config.state_dir, &Ask::Repair { pipeline, table: name, keys }).await?;
    let until = Instant::now() + REPAIR_PATIENCE;
    while !found.differences.is_empty() && Instant::now() < until {
        tokio::time::sleep(REPAIR_POLL).await;
        found = verifier.compare_again(read, target, found).await?;
    }
    Ok(found)
}
