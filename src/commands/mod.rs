//! What a user calls, one file a command. Each returns the exit code; errors go to stderr with what to do.

mod check;
mod config;
mod dead_letters;
mod resync;
mod run;
mod status;
mod verify;

use crate::cli::{Cli, Command, PipelineArgs};
use crate::config::{Config, PipelineConfig};
use crate::connect;
use crate::control;
use crate::pipeline::Env;
use crate::pipeline::board::Board;
use crate::pipeline::life::{Lives, blocking, state_error};
use rowferry_api::{Error, ErrorKind, Source, Target};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, UNIX_EPOCH};

/// Everything is in order.
pub const OK: u8 = 0;
/// Halted, or failed.
pub const HALTED: u8 = 1;
/// Wrong command line or configuration; nothing was touched.
pub const USAGE: u8 = 2;
/// Looked, and found something wrong: blocked, unhealthy, or both ends differ.
pub const FOUND: u8 = 3;

/// Runs a command line.
pub async fn run(cli: Cli) -> ExitCode {
    if let Command::Config(command) = &cli.command {
        return config::run(command, &cli);
    }
    let config = match Config::load(&cli.config) {
        Ok(config) => config,
        Err(error) => {
            say(&format!("{error:?}"));
            return ExitCode::from(USAGE);
        }
    };
    let result = match &cli.command {
        Command::Check(args) => check::run(&config, args, cli.json).await,
        Command::Run(args) => run::run(&config, args, &cli).await,
        Command::Status(args) => status::run(&config, args, cli.json).await,
        Command::Verify(args) => verify::run(&config, args, cli.json).await,
        Command::Resync(args) => resync::run(&config, args, cli.json).await,
        Command::DeadLetters(command) => dead_letters::run(&config, command, cli.json).await,
        Command::Config(_) => Ok(OK),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            say_error(&error);
            ExitCode::from(HALTED)
        }
    }
}

/// A line for a person, on stderr.
#[allow(clippy::print_stderr)]
pub(crate) fn say(line: &str) {
    eprintln!("{line}");
}

/// What happened, and what to do.
pub(crate) fn say_error(error: &Error) {
    say(&format!("error: {error}"));
    if let Some(hint) = error.hint_text() {
        for (index, line) in hint.lines().enumerate() {
            say(&format!("{} {line}", if index == 0 { "  help:" } else { "       " }));
        }
    }
}

/// The pipelines meant: one by name, or all.
fn chosen<'a>(config: &'a Config, only: &PipelineArgs) -> Result<Vec<&'a PipelineConfig>, Error> {
    let name = only.pipeline.as_deref();
    let chosen: Vec<_> =
        config.pipelines.iter().filter(|pipeline| name.is_none_or(|name| pipeline.name == name)).collect();
    if chosen.is_empty() {
        let names: Vec<_> = config.pipelines.iter().map(|pipeline| pipeline.name.as_str()).collect();
        let name = name.unwrap_or_default();
        return Err(Error::new(ErrorKind::Config, format!("find pipeline \"{name}\" in {}", config.path.display()))
            .hint(format!("It has: {}.", names.join(", "))));
    }
    Ok(chosen)
}

/// A time since 1970 for people and programs, in UTC.
fn rfc3339(at_us: i64) -> String {
    let at = UNIX_EPOCH + Duration::from_micros(u64::try_from(at_us).unwrap_or(0));
    humantime::format_rfc3339_millis(at).to_string()
}

/// Source and target.
type Ends = (Arc<dyn Source>, Arc<dyn Target>);

fn ends(pipeline: &PipelineConfig) -> Result<Ends, Error> {
    Ok((connect::source(&pipeline.source, &pipeline.name)?, connect::target(&pipeline.target)?))
}

/// How long a state directory may be in use by another command, which is a matter of moments.
const STATE_PATIENCE: Duration = Duration::from_secs(5);
/// How often it is tried meanwhile; the lock tells nobody when it is free.
const STATE_POLL: Duration = Duration::from_millis(25);

/// Opens the state directory, which no other process may have open. `run` holds it for long, other commands for a moment.
async fn open_store(config: &Config) -> Result<rowferry_state::Store, Error> {
    let until = Instant::now() + STATE_PATIENCE;
    loop {
        let dir = config.state_dir.clone();
        match blocking(move || rowferry_state::Store::open(&dir)).await {
            Err(error) if error.kind() == ErrorKind::Busy => {
                if Instant::now() >= until || control::is_served(&config.state_dir).await {
                    return Err(error.hint(
                        "Another rowferry process runs with this state directory: stop it, or give this configuration its own \
                         state_dir.",
                    ));
                }
            }
            opened => return opened,
        }
        tokio::time::sleep(STATE_POLL).await;
    }
}

fn env(store: &rowferry_state::Store, pipeline: &PipelineConfig) -> Result<Env, Error> {
    let (source, target) = ends(pipeline)?;
    let state = store.pipeline(&pipeline.name).map_err(state_error)?;
    Ok(Env {
        config: pipeline.clone(),
        source,
        target,
        lives: Lives::open(store.clone(), state).map_err(state_error)?,
        board: Arc::new(Board::default()),
    })
}

fn print_json(value: &impl serde::Serialize) {
    match serde_json::to_string(value) {
        Ok(text) => println!("{text}"),
        Err(error) => say(&format!("error: write JSON: {error}")),
    }
}
