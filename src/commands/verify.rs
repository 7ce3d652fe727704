//! `rowferry verify`: compares both ends while they run, and with `--repair` copies the rows that differ again.

use super::status::{PipelineStatus, Status as Running};
use super::{FOUND, OK, chosen, ends, print_json, say};
use crate::cli::VerifyArgs;
use crate::config::{Config, PipelineConfig};
use crate::control::{self, Ask};
use crate::pipeline::forms::{self, Chosen};
use crate::verify::{Found, Status, TableReport, Verifier, render};
use rowferry_api::{Error, ErrorKind, Key};
use serde::Serialize;
use std::time::Duration;

/// How long the target's position may stand still while verify waits for it.
const SETTLE: Duration = Duration::from_secs(15);
/// Looks at rows that the running process was asked to read again.
const REPAIR_LOOKS: u32 = 5;

#[derive(Serialize)]
struct Document {
    tables: Vec<TableReport>,
}

pub(super) async fn run(config: &Config, args: &VerifyArgs, json: bool) -> Result<u8, Error> {
    let running: Option<Running> = control::ask(&config.state_dir, &Ask::Status).await?;
    let mut reports = Vec::new();
    for pipeline in chosen(config, args.pipeline.as_deref())? {
        let status = running.as_ref().and_then(|running| running.pipelines.iter().find(|one| one.name == pipeline.name));
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
    let keys = found.differences.clone().into_keys();
    let after = repaired(config, verifier, table, &keys, found).await?;
    Ok(TableReport { repaired: keys.len() as u64, ..TableReport::of(&name, &after) })
}

/// Copies the rows again, by the running process if there is one, and compares once more.
async fn repaired(
    config: &Config,
    verifier: &Verifier<'_>,
    table: &Chosen,
    keys: &[Key],
    mut found: Found,
) -> Result<Found, Error> {
    if !verifier.running {
        verifier.repair(&table.source.schema, &table.target, keys).await?;
        return verifier.compare(&table.source.schema, &table.target).await;
    }
    let ask = Ask::Repair {
        pipeline: verifier.pipeline.to_owned(),
        table: table.name().to_string(),
        keys: keys.iter().map(|key| key.as_bytes().to_vec()).collect(),
    };
    control::ask::<bool>(&config.state_dir, &ask).await?;
    for _ in 0..REPAIR_LOOKS {
        found = verifier.compare(&table.source.schema, &table.target).await?;
        if found.differences.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    Ok(found)
}
