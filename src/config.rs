//! The configuration: what a user typed (`typed`) becomes what is valid (the types here) once, at the edge.
//!
//! Every error names the file, line and column, and shows the line with secrets blacked out.

mod error;
mod names;
mod secret;
mod typed;

pub use error::ConfigError;
pub use names::{ColumnPatterns, TablePatterns};

use crate::connect::OptionForm;
use error::Problem;
use rowferry_api::TableName;
use secrecy::SecretString;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A valid configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file that it came from.
    pub path: PathBuf,
    /// Where checkpoints are kept; relative paths are taken from the file's directory.
    pub state_dir: PathBuf,
    /// In the order of their names.
    pub pipelines: Vec<PipelineConfig>,
}

/// One pipeline.
#[derive(Debug, Clone)]
pub struct PipelineConfig {
    /// Its name.
    pub name: String,
    /// Where changes come from.
    pub source: Endpoint,
    /// Where they go.
    pub target: Endpoint,
    /// Which tables.
    pub tables: TablePatterns,
    /// Bytes that changes on their way may take.
    pub memory_bytes: u64,
    /// Ranges copied side by side.
    pub snapshot_workers: usize,
    /// Rows of one range, about.
    pub slice_rows: u64,
    /// Bytes of log at the source that may wait while tables are copied.
    pub log_budget_bytes: u64,
    /// Bytes of log that the source may keep for this pipeline.
    pub log_limit_bytes: Option<u64>,
    /// What is done past it.
    pub on_log_limit: OnLogLimit,
    /// How long nothing may move while there is something to do.
    pub stalled_after: Duration,
    /// What a halted table does to the others.
    pub on_table_halt: OnTableHalt,
    /// An end that does not answer for so long is out of reach.
    pub silent_after: Duration,
    defaults: TableConfig,
    table: BTreeMap<String, TableConfig>,
}

impl PipelineConfig {
    /// What holds for a table, by its name at the source.
    pub fn table_config(&self, name: &TableName) -> TableConfig {
        self.table.get(&name.to_string()).unwrap_or(&self.defaults).clone()
    }
}

/// A source or target: its kind, and options that only its connector knows. Debug shows no secret.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// `postgres`, `sqlite`, ...
    pub kind: String,
    /// The options, as text with secrets filled in.
    options: BTreeMap<String, SecretString>,
    /// The configuration's directory, which relative paths start from.
    pub base: PathBuf,
}

impl Endpoint {
    /// An option's text.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.get(name).map(secrecy::ExposeSecret::expose_secret)
    }
}

/// What holds for one table.
#[derive(Debug, Clone, Default)]
pub struct TableConfig {
    /// Columns that identify a row, instead of its primary key.
    pub key: Option<Vec<String>>,
    /// Its name at the target.
    pub target: Option<String>,
    /// Which columns travel.
    pub columns: ColumnPatterns,
    /// What a change of form does.
    pub on_schema_change: OnSchemaChange,
    /// What a row does that the target refuses.
    pub on_bad_row: OnBadRow,
}

/// What a change of a table's form at the source does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnSchemaChange {
    /// Carries it over where nothing is lost.
    #[default]
    Evolve,
    /// Halts the table.
    Halt,
}

/// What a row does that the target refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnBadRow {
    /// Stops the pipeline before it.
    #[default]
    Halt,
    /// Puts it aside with the reason and goes on.
    DeadLetter,
}

/// What is done where the source keeps more log than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnLogLimit {
    /// Says so.
    #[default]
    Alert,
    /// Gives the slot up and halts.
    DropSlot,
}

/// What a halted table does to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnTableHalt {
    /// They go on.
    #[default]
    Continue,
    /// The pipeline halts.
    Stop,
}

impl Config {
    /// Reads and validates a file. Reads the environment and the files that `${...}` names; touches nothing else.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::unreadable(path, &error))?;
        Self::parse(path, &text)
    }

    /// The same of a text that is taken for the content of `path`.
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        typed::read(text)
            .and_then(|typed| valid(path, typed))
            .map_err(|problems| ConfigError::new(path, text, problems))
    }

    /// The JSON schema of a configuration file.
    pub fn json_schema() -> serde_json::Value {
        schemars::schema_for!(typed::File).to_value()
    }
}

/// Memory below which a pipeline could not hold a batch and read the next.
const LEAST_MEMORY_BYTES: u64 = 8 << 20;
/// A source writes this much in a blink: with less, copies would hardly ever run.
const LEAST_LOG_BYTES: u64 = 16 << 20;
/// How long nothing may move unless the configuration says otherwise.
const STALLED_AFTER: Duration = Duration::from_secs(300);
/// A pipeline that is well waits two seconds for an answer now and then.
const STALLS: RangeInclusive<Duration> = Duration::from_secs(2)..=Duration::from_secs(30 * 24 * 3600);
/// How long an end may be silent unless the configuration says otherwise.
const SILENT_AFTER: Duration = Duration::from_secs(60);
const SILENCES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(3600);
/// Copying more ranges side by side than this hurts a source more than it helps.
const MOST_WORKERS: u64 = 64;

fn valid(path: &Path, typed: typed::File) -> Result<Config, Vec<Problem>> {
    let base = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
    let mut problems = Vec::new();
    let state_dir = match &typed.state_dir {
        None => base.join("rowferry-state"),
        Some(dir) => base.join(typed::text(dir, &mut problems)),
    };
    let mut pipelines = Vec::new();
    for (name, pipeline) in typed.pipeline {
        pipelines.extend(valid_pipeline(name.into_inner(), pipeline.into_inner(), &base, &mut problems));
    }
    if pipelines.is_empty() && problems.is_empty() {
        problems.push(Problem::new(
            0..0,
            "there is no pipeline",
            "Add a section [pipeline.NAME] with source, target and tables.",
        ));
    }
    pipelines.sort_by(|a, b| a.name.cmp(&b.name));
    if problems.is_empty() { Ok(Config { path: path.to_owned(), state_dir, pipelines }) } else { Err(problems) }
}

fn valid_pipeline(
    name: String,
    typed: typed::Pipeline,
    base: &Path,
    problems: &mut Vec<Problem>,
) -> Option<PipelineConfig> {
    let before = problems.len();
    let source = endpoint(&typed.source, crate::connect::Role::Source, base, problems);
    let target = endpoint(&typed.target, crate::connect::Role::Target, base, problems);
    let tables = names::table_patterns(&typed.tables, problems);
    let defaults = TableConfig {
        on_schema_change: typed.on_schema_change.unwrap_or_default(),
        on_bad_row: typed.on_bad_row.unwrap_or_default(),
        ..TableConfig::default()
    };
    let mut table = BTreeMap::new();
    for (key, section) in typed.table {
        let span = key.span();
        let key = key.into_inner();
        if !tables.matches(&names::table_name(&key)) {
            problems.push(Problem::new(
                span,
                format!("no pattern of `tables` matches table \"{key}\""),
                "Write it as \"schema.table\", or add a pattern to `tables`.",
            ));
        }
        table.insert(key, table_config(section.into_inner(), &defaults, problems));
    }
    let memory_bytes = typed.memory.map_or(64 << 20, |memory| size(&memory, LEAST_MEMORY_BYTES, problems));
    let log_budget_bytes = typed.log_budget.map_or(1 << 30, |budget| size(&budget, LEAST_LOG_BYTES, problems));
    let log_limit_bytes = typed.log_limit.map(|limit| size(&limit, LEAST_LOG_BYTES, problems));
    let stalled_after = typed.stalled_after.map_or(STALLED_AFTER, |text| duration(&text, STALLS, problems));
    let workers = typed.snapshot_workers.map_or(2, |workers| at_least_one(&workers, MOST_WORKERS, problems));
    let silent_after = typed.silent_after.map_or(SILENT_AFTER, |text| duration(&text, SILENCES, problems));
    let slice_rows = typed.slice_rows.map_or(100_000, |rows| at_least_one(&rows, u64::from(u32::MAX), problems));
    (problems.len() == before).then_some(())?;
    Some(PipelineConfig {
        name,
        source: source?,
        target: target?,
        tables,
        memory_bytes,
        snapshot_workers: usize::try_from(workers).unwrap_or(1),
        slice_rows,
        log_budget_bytes,
        log_limit_bytes,
        on_log_limit: typed.on_log_limit.unwrap_or_default(),
        stalled_after,
        on_table_halt: typed.on_table_halt.unwrap_or_default(),
        silent_after,
        defaults,
        table,
    })
}

fn table_config(typed: typed::Table, defaults: &TableConfig, problems: &mut Vec<Problem>) -> TableConfig {
    TableConfig {
        key: typed.key,
        target: typed.target,
        columns: names::column_patterns(typed.columns.as_deref().unwrap_or_default(), problems),
        on_schema_change: typed.on_schema_change.unwrap_or(defaults.on_schema_change),
        on_bad_row: typed.on_bad_row.unwrap_or(defaults.on_bad_row),
    }
}

fn endpoint(
    typed: &toml::Spanned<BTreeMap<toml::Spanned<String>, toml::Spanned<toml::Value>>>,
    role: crate::connect::Role,
    base: &Path,
    problems: &mut Vec<Problem>,
) -> Option<Endpoint> {
    let options = typed.get_ref();
    let Some((_, kind)) = options.iter().find(|(name, _)| name.get_ref() == "kind") else {
        let kinds = crate::connect::kinds(role).join(", ");
        problems.push(Problem::new(
            typed.span(),
            format!("{role} has no `kind`"),
            format!("Kinds of {role}: {kinds}."),
        ));
        return None;
    };
    let kind_text = typed::value_text(kind, problems)?;
    let Some(known) = crate::connect::options(role, &kind_text) else {
        let kinds = crate::connect::kinds(role);
        problems.push(Problem::unknown(kind.span(), &format!("kind of {role}"), &kind_text, &kinds));
        return None;
    };
    let mut values = BTreeMap::new();
    for (name, value) in options.iter().filter(|(name, _)| name.get_ref() != "kind") {
        let Some(option) = known.iter().find(|option| option.name == name.get_ref()) else {
            let names: Vec<&str> = known.iter().map(|option| option.name).collect();
            problems.push(Problem::unknown(
                name.span(),
                &format!("key of a {kind_text} {role}"),
                name.get_ref(),
                &names,
            ));
            continue;
        };
        let text = match value.get_ref() {
            toml::Value::Integer(number) if option.form != OptionForm::Text => number.to_string(),
            _ => typed::value_text(value, problems)?,
        };
        let wrong = match option.form {
            OptionForm::Size if parse_size(&text).is_none() => Some(("a size", SIZE_HELP)),
            OptionForm::Number if text.parse::<u32>().ok().is_none_or(|number| number == 0) => {
                Some(("a number", "Numbers go from 1 to 4294967295."))
            }
            _ => None,
        };
        if let Some((form, help)) = wrong {
            problems.push(Problem::new(value.span(), format!("`{}` is not {form}", option.name), help));
            continue;
        }
        values.insert(name.get_ref().clone(), SecretString::from(text));
    }
    for option in known.iter().filter(|option| option.required && !values.contains_key(option.name)) {
        problems.push(Problem::new(
            typed.span(),
            format!("{role} of kind {kind_text} has no `{}`", option.name),
            format!("Add {} = \"...\": {}.", option.name, option.help),
        ));
    }
    Some(Endpoint { kind: kind_text, options: values, base: base.to_owned() })
}

/// Bytes from a text like `64MiB`; a bare number is bytes.
pub fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|char: char| char.is_ascii_digit()).len();
    let unit: u64 = match text[digits..].trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    text[..digits].parse::<u64>().ok()?.checked_mul(unit)
}

const SIZE_HELP: &str = "Write a whole number and a unit: \"64MiB\", \"1GiB\".";

fn size(typed: &toml::Spanned<String>, least: u64, problems: &mut Vec<Problem>) -> u64 {
    let text = typed.get_ref().trim();
    let bytes = parse_size(text);
    match bytes {
        Some(bytes) if bytes >= least => bytes,
        Some(_) => {
            problems.push(Problem::new(
                typed.span(),
                format!("{text} is too little"),
                format!("The least is {}MiB.", least >> 20),
            ));
            0
        }
        None => {
            problems.push(Problem::new(typed.span(), format!("\"{text}\" is not a size"), SIZE_HELP));
            0
        }
    }
}

fn duration(typed: &toml::Spanned<String>, bounds: RangeInclusive<Duration>, problems: &mut Vec<Problem>) -> Duration {
    let text = typed.get_ref().trim();
    let (what, help) = match humantime::parse_duration(text) {
        Ok(duration) if bounds.contains(&duration) => return duration,
        Ok(_) => {
            let (least, most) =
                (humantime::format_duration(*bounds.start()), humantime::format_duration(*bounds.end()));
            (format!("{text} is out of range"), format!("Write {least} to {most}."))
        }
        Err(_) => (
            format!("\"{text}\" is no length of time"),
            "Write whole numbers and units: \"30s\", \"5m\", \"1h 30m\".".to_owned(),
        ),
    };
    problems.push(Problem::new(typed.span(), what, help));
    *bounds.start()
}

fn at_least_one(typed: &toml::Spanned<u64>, most: u64, problems: &mut Vec<Problem>) -> u64 {
    let number = *typed.get_ref();
    if !(1..=most).contains(&number) {
        problems.push(Problem::new(typed.span(), format!("{number} is out of range"), format!("Write 1 to {most}.")));
    }
    number
}

#[cfg(test)]
mod tests;
