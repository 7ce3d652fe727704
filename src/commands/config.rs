//! `rowferry config`: its JSON schema, and whether a file is valid.

use super::{OK, USAGE, say};
use crate::cli::{Cli, ConfigCommand};
use crate::config::Config;
use std::process::ExitCode;

pub(super) fn run(command: &ConfigCommand, cli: &Cli) -> ExitCode {
    match command {
        ConfigCommand::Schema => {
            println!("{:#}", Config::json_schema());
            ExitCode::from(OK)
        }
        ConfigCommand::Check => match Config::load(&cli.config) {
            Ok(config) => {
                println!("{} is valid: {} pipelines", config.path.display(), config.pipelines.len());
                ExitCode::from(OK)
            }
            Err(error) => {
                say(&format!("{error:?}"));
                ExitCode::from(USAGE)
            }
        },
    }
}
