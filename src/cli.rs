//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Keeps other databases in step with the log of yours.
#[derive(Debug, Parser)]
#[command(name = "rowferry", version, about, arg_required_else_help = true)]
pub struct Cli {
    /// Configuration file
    #[arg(short, long, global = true, value_name = "FILE", default_value = "rowferry.toml")]
    pub config: PathBuf,
    /// Print one JSON document on stdout
    #[arg(long, global = true)]
    pub json: bool,
    /// Form of log lines on stderr
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// Log more; twice for everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look at both ends without changing them; exit 3 if something stands in the way
    Check(PipelineArgs),
    /// Copy what is missing, then follow the log until stopped
    Run(RunArgs),
    /// Show each pipeline and table; exit 3 if one is not healthy
    Status(PipelineArgs),
    /// Compare both ends row by row; exit 3 if they differ
    Verify(VerifyArgs),
    /// Copy tables again over what the target has
    Resync(ResyncArgs),
    /// Rows that the target refused and that on_bad_row = "dead_letter" put aside
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// About the configuration file
    #[command(subcommand)]
    Config(ConfigCommand),
}

/// Which pipelines.
#[derive(Debug, Args)]
pub struct PipelineArgs {
    /// Only this pipeline
    #[arg(long, value_name = "NAME")]
    pub pipeline: Option<String>,
}

/// How to run.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// End once every table is consistent and what the source had at the start is applied
    #[arg(long)]
    pub until_caught_up: bool,
    /// Which pipelines
    #[command(flatten)]
    pub only: PipelineArgs,
}

/// What to compare.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Only this table, by its name at the source; may be given more than once
    #[arg(long = "table", value_name = "SCHEMA.TABLE")]
    pub tables: Vec<String>,
    /// Copy the rows that differ again
    #[arg(long)]
    pub repair: bool,
    /// Which pipelines
    #[command(flatten)]
    pub only: PipelineArgs,
}

/// What to copy again.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["tables", "all"])))]
pub struct ResyncArgs {
    /// This table, by its name at the source; may be given more than once
    #[arg(long = "table", value_name = "SCHEMA.TABLE")]
    pub tables: Vec<String>,
    /// Every table, from a new start of the log: after a lost slot, a purged log, or a restored source or target
    #[arg(long)]
    pub all: bool,
    /// Which pipelines
    #[command(flatten)]
    pub only: PipelineArgs,
}

/// About rows that were put aside.
#[derive(Debug, Subcommand)]
pub enum DeadLettersCommand {
    /// List them, oldest first
    List(ListArgs),
    /// Show one with its row
    Show(ShowArgs),
    /// Read their rows again from the source and write them as they are there now; a letter goes once its row is in step
    Replay(WhichArgs),
    /// Forget them; their rows stay as they are at the target
    Discard(WhichArgs),
}

/// Which letters to list.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// Only of this table, by its name at the source
    #[arg(long, value_name = "SCHEMA.TABLE")]
    pub table: Option<String>,
    /// Show keys, and values in reasons
    #[arg(long)]
    pub values: bool,
    /// Which pipelines
    #[command(flatten)]
    pub only: PipelineArgs,
}

/// Which letter to show.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// Its id, from `list`
    pub id: u64,
    /// Show the row's values, and those in the reason
    #[arg(long)]
    pub values: bool,
    /// Which pipeline
    #[command(flatten)]
    pub only: PipelineArgs,
}

/// Which letters.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["ids", "tables", "all"])))]
pub struct WhichArgs {
    /// Their ids, from `list`
    pub ids: Vec<u64>,
    /// All of this table, by its name at the source; may be given more than once
    #[arg(long = "table", value_name = "SCHEMA.TABLE")]
    pub tables: Vec<String>,
    /// Every one
    #[arg(long)]
    pub all: bool,
    /// Which pipelines
    #[command(flatten)]
    pub only: PipelineArgs,
}

/// About the configuration file.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the JSON schema of the configuration file
    Schema,
    /// Read the configuration and say whether it is valid
    Check,
}
