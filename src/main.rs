//! The binary: reads the command line, sets up logging and the runtime, and hands over to `rowferry::commands`.

use clap::Parser;
use rowferry::cli::{Cli, LogFormat};
use rowferry::commands;
use rowferry::progress::AboveBars;
use std::io::IsTerminal;
use std::process::ExitCode;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr(&cli);
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let code = runtime.block_on(commands::run(cli));
            // Connections that do not answer any more must not hold up the end.
            runtime.shutdown_timeout(std::time::Duration::from_secs(2));
            code
        }
        Err(error) => {
            tracing::error!(error = %error, "start the runtime");
            ExitCode::from(commands::HALTED)
        }
    }
}

/// Messages go to stderr; stdout is for what was asked for.
fn log_to_stderr(cli: &Cli) {
    let level = match cli.verbose {
        0 => "info",
        1 => "debug",
        _ => "trace",
    };
    let default = format!(
        "warn,rowferry={level},rowferry_mysql={level},rowferry_postgres={level},rowferry_sqlite={level},rowferry_state={level}"
    );
    let filter = EnvFilter::try_from_env("ROWFERRY_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| AboveBars);
    match cli.log_format {
        LogFormat::Json => log.json().init(),
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).with_target(false).init(),
    }
}
