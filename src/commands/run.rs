//! `rowferry run`: all pipelines of the configuration side by side, until stopped or caught up.

use super::status::{self, Status};
use super::{HALTED, OK, chosen, env, open_store, say, say_error};
use crate::cli::{Cli, RunArgs};
use crate::config::Config;
use crate::control::{self, Ask, LetterAsk};
use crate::pipeline::{self, Env, Request, Until};
use crate::progress;
use rowferry_api::{Error, ErrorKind, Key, TableName};
use rowferry_state::{Store, TableState};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::Instrument;

/// Requests that may wait for a pipeline.
const REQUESTS: usize = 64;

type Pipelines = Arc<BTreeMap<String, (Arc<Env>, mpsc::Sender<Request>)>>;

pub(super) async fn run(config: &Config, args: &RunArgs, cli: &Cli) -> Result<u8, Error> {
    let wanted = chosen(config, &args.only)?;
    let until = if args.until_caught_up { Until::CaughtUp } else { Until::Stopped };
    let stop = stop_on_signal()?;
    let store = open_store(config).await?;
    refuse_unknown_pipelines(config, &store)?;
    let mut tasks = JoinSet::new();
    let mut running = BTreeMap::new();
    for pipeline in wanted {
        let env = Arc::new(env(&store, pipeline)?);
        let (sender, mut requests) = mpsc::channel(REQUESTS);
        running.insert(pipeline.name.clone(), (env.clone(), sender));
        let (name, stop) = (pipeline.name.clone(), stop.clone());
        let span = tracing::info_span!("pipeline", name = %name);
        tasks.spawn(async move { (name, pipeline::run(&env, until, stop, &mut requests).await) }.instrument(span));
    }
    let running: Pipelines = Arc::new(running);
    let bars = progress::show(running.values().map(|(env, _)| env.clone()).collect(), cli.json);
    let control = tokio::spawn(serve(config.state_dir.clone(), running.clone()));
    let mut failed = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok((_, Ok(()))) => {}
            Ok((name, Err(error))) => {
                tracing::error!(pipeline = %name, error = %error, "pipeline halted");
                failed.push((name, error));
            }
            Err(error) => {
                failed.push((String::new(), Error::new(ErrorKind::Other, "a pipeline ended in a panic").because(error)))
            }
        }
    }
    bars.finish();
    let last = last_status(&running).await;
    control.abort();
    for (name, error) in &failed {
        say_error(&Error::new(error.kind(), format!("pipeline {name}: {error}")).hint(error.hint_text().unwrap_or("")));
    }
    let halted = report_halted(&running);
    if cli.json {
        super::print_json(&last);
    }
    Ok(if failed.is_empty() && !halted { OK } else { HALTED })
}

/// A pipeline renamed in the configuration would start over in silence.
fn refuse_unknown_pipelines(config: &Config, store: &Store) -> Result<(), Error> {
    let stored = store.pipelines().map_err(pipeline::life::state_error)?;
    match stored.iter().find(|name| !config.pipelines.iter().any(|pipeline| pipeline.name == **name)) {
        None => Ok(()),
        Some(name) => Err(Error::new(
            ErrorKind::Identity,
            format!(
                "open the state directory {}: it belongs to pipeline \"{name}\", which {} does not have",
                config.state_dir.display(),
                config.path.display()
            ),
        )
        .hint("Set another state_dir for this configuration. If the pipeline was renamed, give it its old name back.")),
    }
}

fn stop_on_signal() -> Result<watch::Receiver<bool>, Error> {
    let failed = |error| Error::new(ErrorKind::Other, "listen for signals").because(error as std::io::Error);
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("stopping: what is read is applied first");
        sender.send_replace(true);
        // A second signal does not wait.
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        std::process::exit(130);
    });
    Ok(receiver)
}

async fn serve(state_dir: std::path::PathBuf, running: Pipelines) {
    let answer = move |ask| answer(ask, running.clone());
    if let Err(error) = control::serve(&state_dir, answer).await {
        tracing::warn!(error = %error, "other commands cannot reach this process");
    }
}

async fn answer(ask: Ask, running: Pipelines) -> Result<serde_json::Value, Error> {
    let value = match ask {
        Ask::Status => serde_json::to_value(last_status(&running).await),
        Ask::Resync { pipeline, tables } => {
            names_of(&running, &pipeline, &tables)?;
            let (env, _) = find(&running, &pipeline)?;
            // On disk before it is promised: a lost connection or a crash must not forget it.
            env.lives.write(move |state| super::resync::push(state, tables)).await?;
            send(&running, &pipeline, Request::Stored).await?;
            serde_json::to_value(true)
        }
        Ask::Hurry { pipeline } => {
            send(&running, &pipeline, Request::Hurry).await?;
            serde_json::to_value(true)
        }
        Ask::DeadLetters { pipeline, what } => {
            let (env, _) = find(&running, &pipeline)?;
            let is_replay = matches!(what, LetterAsk::Replay(_));
            let answer = super::dead_letters::answer(&pipeline, &env.lives, what).await?;
            if is_replay {
                send(&running, &pipeline, Request::Stored).await?;
            }
            Ok(answer)
        }
        Ask::Repair { pipeline, table, keys } => {
            let name = names_of(&running, &pipeline, &[table])?.remove(0);
            let keys = keys.into_iter().filter_map(|key| Key::from_bytes(key.into()).ok()).collect();
            send(&running, &pipeline, Request::Repair(name, keys)).await?;
            serde_json::to_value(true)
        }
    };
    value.map_err(|error| Error::new(ErrorKind::Other, "answer").because(error))
}

fn names_of(running: &Pipelines, pipeline: &str, tables: &[String]) -> Result<Vec<TableName>, Error> {
    let (env, _) = find(running, pipeline)?;
    let lives = env.lives.lock();
    let find = |table: &String| {
        lives.keys().find(|name| name.to_string() == *table).cloned().ok_or_else(|| {
            Error::new(ErrorKind::Config, format!("pipeline \"{pipeline}\" carries no table {table}"))
                .hint("`rowferry status` lists the tables that it carries.")
        })
    };
    tables.iter().map(find).collect()
}

fn find<'a>(running: &'a Pipelines, pipeline: &str) -> Result<&'a (Arc<Env>, mpsc::Sender<Request>), Error> {
    running
        .get(pipeline)
        .ok_or_else(|| Error::new(ErrorKind::Config, format!("the running process has no pipeline \"{pipeline}\"")))
}

async fn send(running: &Pipelines, pipeline: &str, request: Request) -> Result<(), Error> {
    let (_, sender) = find(running, pipeline)?;
    let halted =
        || Error::new(ErrorKind::Other, format!("pipeline \"{pipeline}\" is halted: start the process again first"));
    sender.send(request).await.map_err(|_| halted())
}

async fn last_status(running: &Pipelines) -> Status {
    let mut pipelines = Vec::new();
    for (env, _) in running.values() {
        pipelines.push(status::of(env).await);
    }
    Status { pipelines }
}

fn report_halted(running: &Pipelines) -> bool {
    let mut halted = false;
    for (env, _) in running.values() {
        for (name, life) in env.lives.lock().iter().filter(|(_, life)| life.state == TableState::Halted) {
            halted = true;
            say(&format!("halted: table {name}: {}", life.reason.as_deref().unwrap_or("no reason recorded")));
        }
    }
    halted
}
