//! `rowferry status`: asks the running process, or reads the state directory if none runs.

use super::{FOUND, OK, chosen, open_store, print_json, rfc3339};
use crate::cli::PipelineArgs;
use crate::config::Config;
use crate::control::{self, Ask};
use crate::pipeline::Env;
use crate::pipeline::board::Figures;
use crate::pipeline::letters::Letters;
use crate::pipeline::life::{blocking, now_us};
use rowferry_api::{Error, ErrorKind};
use rowferry_state::{Store, TableState};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Time for the source to say where its log ends.
const HEAD_WITHIN: Duration = Duration::from_secs(2);

/// The document that `status --json` prints.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub(super) struct Status {
    /// In the order of their names.
    pub pipelines: Vec<PipelineStatus>,
}

/// One pipeline.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct PipelineStatus {
    /// Its name in the configuration.
    pub name: String,
    /// `starting`, `copying`, `catching_up`, `streaming`, `retrying`, `halted` or `stopped`.
    pub state: String,
    /// What the target holds.
    pub position: Option<String>,
    /// Seconds behind the source; `null` while no process runs.
    pub lag_seconds: Option<f64>,
    /// Bytes of the source's log that are not applied; `null` if it is not known.
    pub lag_bytes: Option<u64>,
    /// The last error of this run, also if it was overcome.
    pub last_error: Option<String>,
    /// While it tries again.
    #[serde(default)]
    pub retry: Option<RetryStatus>,
    /// Why nothing moves though there is something to do; `null` unless that has lasted `stalled_after`.
    #[serde(default)]
    pub stalled: Option<String>,
    /// Bytes of log that the source keeps for this pipeline; `null` if it is not known.
    #[serde(default)]
    pub retained_bytes: Option<u64>,
    /// What else the source says of its log.
    #[serde(default)]
    pub log: Option<LogStatus>,
    /// In the order of their names.
    pub tables: Vec<TableStatus>,
}

/// Tries in a row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RetryStatus {
    /// How many have failed.
    pub tries: u32,
    /// When the first one failed, RFC 3339 in UTC.
    pub since: String,
    /// When the next one is due.
    pub next: String,
}

/// What a source says of the log that it keeps; each is `null` where the source does not say it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LogStatus {
    /// PostgreSQL's `wal_status` of the slot.
    pub status: Option<String>,
    /// Bytes until a limit of the server lets go of what the pipeline needs.
    pub left_bytes: Option<u64>,
    /// Seconds until the server may let go of the file that the pipeline stands in, by its age.
    pub expires_in_seconds: Option<i64>,
    /// What is said while `log_limit` is passed.
    pub alert: Option<String>,
}

/// One table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct TableStatus {
    /// `schema.table` at the source.
    pub name: String,
    /// `pending`, `copying`, `catching_up`, `streaming` or `halted`.
    pub state: String,
    /// Why it is halted, and how to go on.
    pub reason: Option<String>,
    /// Parts copied.
    pub slices_done: u64,
    /// Parts in all; 0 until the table was split.
    pub slices_total: u64,
    /// Rows written by parts.
    pub rows_copied: u64,
    /// Rows of the source that parts compared with the target's, to write only what differs.
    pub rows_compared: u64,
    /// Changes of the log applied.
    pub rows_applied: u64,
    /// Rows that the target refused and that have not come right since.
    pub dead_letters: u64,
}

pub(super) async fn run(config: &Config, args: &PipelineArgs, json: bool) -> Result<u8, Error> {
    let names: Vec<String> = chosen(config, args)?.iter().map(|pipeline| pipeline.name.clone()).collect();
    let mut status: Status = match control::ask(&config.state_dir, &Ask::Status).await? {
        Some(answer) => answer,
        None => match (stored(config).await, control::ask(&config.state_dir, &Ask::Status).await?) {
            // It started while we looked.
            (Err(error), Some(answer)) if error.kind() == ErrorKind::Busy => answer,
            (stored, _) => stored?,
        },
    };
    status.pipelines.retain(|pipeline| names.contains(&pipeline.name));
    for name in names {
        if !status.pipelines.iter().any(|pipeline| pipeline.name == name) {
            status.pipelines.push(never_ran(name));
        }
    }
    status.pipelines.sort_by(|a, b| a.name.cmp(&b.name));
    let healthy = status.pipelines.iter().all(is_healthy);
    if json {
        print_json(&status);
    } else {
        status.pipelines.iter().for_each(print);
    }
    Ok(if healthy { OK } else { FOUND })
}

/// A pipeline that does not move is not healthy, whatever it looked like when it stopped.
fn is_healthy(pipeline: &PipelineStatus) -> bool {
    matches!(pipeline.state.as_str(), "starting" | "copying" | "catching_up" | "streaming")
        && pipeline.stalled.is_none()
        && pipeline.log.as_ref().is_none_or(|log| log.alert.is_none())
        && pipeline.tables.iter().all(|table| table.state != "halted")
}

fn never_ran(name: String) -> PipelineStatus {
    PipelineStatus {
        name,
        state: "stopped".into(),
        position: None,
        lag_seconds: None,
        lag_bytes: None,
        last_error: None,
        retry: None,
        stalled: None,
        retained_bytes: None,
        log: None,
        tables: Vec::new(),
    }
}

/// What a running pipeline says of itself.
pub(super) async fn of(env: &Env) -> PipelineStatus {
    let applied = env.board.figures().applied.clone();
    let running = env.board.figures().phase != crate::pipeline::board::Phase::Starting;
    if let (Some(applied), true) = (&applied, running) {
        // A source that does not answer must not keep its status to itself.
        let head = tokio::time::timeout(HEAD_WITHIN, env.source.head()).await;
        match head.unwrap_or_else(|_| Err(Error::new(ErrorKind::Unreachable, "it does not answer"))) {
            Ok(head) => env.board.figures().lag_bytes = env.source.distance_bytes(applied, &head),
            Err(error) => tracing::debug!(error = %error, "the source's head is not known"),
        }
    }
    let lag_seconds = env.board.lag_seconds(now_us());
    let figures = env.board.figures().clone();
    let lives = env.lives.lock();
    let tables = lives.iter().map(|(name, life)| {
        let (slices_done, slices_total) = life.progress();
        TableStatus {
            name: name.to_string(),
            state: state_word(life.state).into(),
            reason: life.reason.clone(),
            slices_done,
            slices_total,
            rows_copied: life.rows_copied + env.board.flowing_of(name).0,
            rows_compared: life.rows_compared,
            rows_applied: life.rows_applied,
            dead_letters: env.lives.letters.count(&name.to_string()),
        }
    });
    PipelineStatus {
        name: env.config.name.clone(),
        state: figures.phase.as_str().into(),
        position: figures.applied.as_ref().map(ToString::to_string),
        lag_seconds: Some(lag_seconds),
        lag_bytes: figures.lag_bytes,
        last_error: figures.last_error.clone(),
        retry: figures.retry.map(|retry| RetryStatus {
            tries: retry.tries,
            since: rfc3339(retry.since_us),
            next: rfc3339(retry.next_us),
        }),
        stalled: figures.stalled.clone(),
        retained_bytes: figures.kept.as_ref().and_then(|kept| kept.bytes),
        log: log_status(&figures),
        tables: tables.collect(),
    }
}

fn log_status(figures: &Figures) -> Option<LogStatus> {
    let kept = figures.kept.as_ref()?;
    // The file that is written now is never let go; another one goes once its last change is that old.
    let is_old = kept.files_behind.is_some_and(|files| files > 0);
    let stands_since = figures.waiting_since.map(|at| at.0).or(figures.busy_since_us).filter(|_| is_old);
    let expires_in_seconds = kept.kept_seconds.zip(stands_since).map(|(seconds, since)| {
        i64::try_from(seconds).unwrap_or(i64::MAX).saturating_sub((now_us() - since) / 1_000_000)
    });
    Some(LogStatus {
        status: kept.status.clone(),
        left_bytes: kept.left_bytes,
        expires_in_seconds,
        alert: figures.log_alert.clone(),
    })
}

async fn stored(config: &Config) -> Result<Status, Error> {
    if !Store::exists(&config.state_dir) {
        return Ok(Status::default());
    }
    let store = open_store(config).await?;
    let pipelines = blocking(move || {
        let mut pipelines = Vec::new();
        for name in store.pipelines()? {
            let state = store.pipeline(&name)?;
            let mut tables = Vec::new();
            let letters = Letters::open(store.clone(), state.clone())?;
            for (table, record) in state.tables()? {
                let slices = state.slices(&table)?;
                let dead_letters = letters.count(&table);
                tables.push(TableStatus {
                    name: table,
                    state: state_word(record.state).into(),
                    reason: record.reason,
                    slices_done: slices.iter().filter(|slice| slice.done).count() as u64,
                    slices_total: slices.len() as u64,
                    rows_copied: record.rows_copied,
                    rows_compared: record.rows_compared,
                    rows_applied: record.rows_applied,
                    dead_letters,
                });
            }
            let position = state.checkpoint()?.map(|record| record.position);
            pipelines.push(PipelineStatus { position, tables, ..never_ran(name) });
        }
        Ok(pipelines)
    })
    .await?;
    Ok(Status { pipelines })
}

/// The word in `status`.
pub(super) fn state_word(state: TableState) -> &'static str {
    match state {
        TableState::Pending => "pending",
        TableState::Copying => "copying",
        TableState::CatchingUp => "catching_up",
        TableState::Streaming => "streaming",
        TableState::Halted => "halted",
    }
}

fn print(pipeline: &PipelineStatus) {
    let known = |value: Option<String>| value.unwrap_or_else(|| "unknown".into());
    println!("pipeline {}: {}", pipeline.name, pipeline.state);
    println!("  position  {}", pipeline.position.as_deref().unwrap_or("none yet"));
    println!(
        "  lag       {} s, {} bytes",
        known(pipeline.lag_seconds.map(|lag| format!("{lag:.1}"))),
        known(pipeline.lag_bytes.map(|lag| lag.to_string()))
    );
    if let Some(bytes) = pipeline.retained_bytes {
        let log = pipeline.log.as_ref();
        let status = log.and_then(|log| log.status.as_ref()).map(|status| format!(", {status}")).unwrap_or_default();
        let left = log.and_then(|log| log.left_bytes).map(|left| format!(", {left} bytes left")).unwrap_or_default();
        let expires = log.and_then(|log| log.expires_in_seconds);
        let expires = expires.map(|seconds| format!(", may be let go in {seconds} s")).unwrap_or_default();
        println!("  log kept  {bytes} bytes{status}{left}{expires}");
    }
    if let Some(alert) = pipeline.log.as_ref().and_then(|log| log.alert.as_ref()) {
        println!("  ALERT     {alert}");
    }
    if let Some(stalled) = &pipeline.stalled {
        println!("  STALLED   {stalled}");
    }
    if let Some(retry) = &pipeline.retry {
        println!("  retrying  {} tries failed since {}, the next at {}", retry.tries, retry.since, retry.next);
    }
    if let Some(error) = &pipeline.last_error {
        println!("  last error  {error}");
    }
    let width = pipeline.tables.iter().map(|table| table.name.len()).max().unwrap_or(0).max(5);
    if !pipeline.tables.is_empty() {
        println!(
            "  {:width$}  {:11}  {:>11}  {:>12}  {:>12}  {:>12}",
            "table", "state", "slices", "rows copied", "changes", "dead letters"
        );
    }
    for table in &pipeline.tables {
        println!(
            "  {:width$}  {:11}  {:>11}  {:>12}  {:>12}  {:>12}",
            table.name,
            table.state,
            format!("{}/{}", table.slices_done, table.slices_total),
            table.rows_copied,
            table.rows_applied,
            table.dead_letters
        );
        if let Some(reason) = &table.reason {
            println!("  {:width$}  {reason}", "");
        }
    }
}
