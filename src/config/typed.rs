//! The configuration as a user types it. Field docs become the descriptions of the JSON schema.

use super::error::Problem;
use super::secret;
use super::{OnBadRow, OnLogLimit, OnSchemaChange, OnTableHalt};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

/// Text with its place in the file.
pub(super) type Text = Spanned<String>;

/// rowferry.toml
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// Directory for checkpoints; default "rowferry-state" beside this file. Relative paths start at this file.
    #[schemars(with = "Option<String>")]
    pub state_dir: Option<Text>,
    /// Pipelines by name. They run side by side in one process.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Pipeline>")]
    pub pipeline: BTreeMap<Spanned<String>, Spanned<Pipeline>>,
}

/// From one source to one target.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Pipeline {
    /// Where changes come from: `kind` and the options of that kind.
    #[schemars(with = "BTreeMap<String, String>")]
    pub source: Spanned<BTreeMap<Spanned<String>, Spanned<toml::Value>>>,
    /// Where they go: `kind` and the options of that kind.
    #[schemars(with = "BTreeMap<String, String>")]
    pub target: Spanned<BTreeMap<Spanned<String>, Spanned<toml::Value>>>,
    /// Tables to carry, as patterns "schema.table" with * and ?; "!" in front leaves tables out.
    #[schemars(with = "Vec<String>")]
    pub tables: Spanned<Vec<Text>>,
    /// Settings of single tables, by "schema.table".
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Table>")]
    pub table: BTreeMap<Spanned<String>, Spanned<Table>>,
    /// Memory for changes on their way: "64MiB" (the default) or more; the least is 8MiB.
    #[schemars(with = "Option<String>")]
    pub memory: Option<Text>,
    /// Ranges of tables copied side by side; default 2.
    #[schemars(with = "Option<u64>")]
    pub snapshot_workers: Option<Spanned<u64>>,
    /// Rows of one range, about; default 100000. A crash repeats at most the ranges that were under way.
    #[schemars(with = "Option<u64>")]
    pub slice_rows: Option<Spanned<u64>>,
    /// Log at the source that may wait while tables are copied: past it the copies pause until the log is caught up to half
    /// of it; default "1GiB".
    #[schemars(with = "Option<String>")]
    pub log_budget: Option<Text>,
    /// Log that the source may keep for this pipeline before `on_log_limit` is heeded: "50GiB"; default none.
    #[schemars(with = "Option<String>")]
    pub log_limit: Option<Text>,
    /// What is done past log_limit: alert (default), or drop_slot to give a PostgreSQL slot up, after which everything has to be
    /// copied again.
    pub on_log_limit: Option<OnLogLimit>,
    /// How long nothing may move while there is something to do before the pipeline counts as stalled; default "5m".
    #[schemars(with = "Option<String>")]
    pub stalled_after: Option<Text>,
    /// What a halted table does to the others: continue (default) lets them go on, stop halts the pipeline before the next
    /// transaction.
    pub on_table_halt: Option<OnTableHalt>,
    /// An end that does not answer for so long is given up and connected to again; default "60s".
    #[schemars(with = "Option<String>")]
    pub silent_after: Option<Text>,
    /// What a change of a table's form does, unless the table says otherwise: evolve (default) or halt.
    pub on_schema_change: Option<OnSchemaChange>,
    /// What a row does that the target refuses, unless the table says otherwise: halt (default) or dead_letter.
    pub on_bad_row: Option<OnBadRow>,
}

/// Settings of one table. All are optional.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    /// Columns that identify a row, instead of the primary key. The source's log must carry them.
    pub key: Option<Vec<String>>,
    /// Name at the target.
    pub target: Option<String>,
    /// Columns to carry, as patterns; "!" in front leaves columns out.
    #[schemars(with = "Option<Vec<String>>")]
    pub columns: Option<Vec<Text>>,
    /// What a change of the table's form does.
    pub on_schema_change: Option<OnSchemaChange>,
    /// What a row does that the target refuses.
    pub on_bad_row: Option<OnBadRow>,
}

/// Reads a file's text.
pub(super) fn read(text: &str) -> Result<File, Vec<Problem>> {
    toml::from_str(text).map_err(|error| vec![Problem::from_toml(&error)])
}

/// The text with `${...}` filled in.
pub(super) fn text(typed: &Text, problems: &mut Vec<Problem>) -> String {
    match secret::fill(typed.get_ref()) {
        Ok(text) => text,
        Err(secret::Missing { what, help }) => {
            problems.push(Problem::new(typed.span(), what, help));
            String::new()
        }
    }
}

/// An option's text with `${...}` filled in.
pub(super) fn value_text(typed: &Spanned<toml::Value>, problems: &mut Vec<Problem>) -> Option<String> {
    let toml::Value::String(value) = typed.get_ref() else {
        let what = format!("expected text, found {}", typed.get_ref().type_str());
        problems.push(Problem::new(typed.span(), what, "Put it in quotes."));
        return None;
    };
    match secret::fill(value) {
        Ok(text) => Some(text),
        Err(secret::Missing { what, help }) => {
            problems.push(Problem::new(typed.span(), what, help));
            None
        }
    }
}
