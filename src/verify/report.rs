//! What verify says of a table, as JSON and as a table of text.

use super::Found;
use serde::Serialize;

/// Keys that a report names.
const SAMPLES: usize = 5;

/// The verdict on a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Both ends hold the same rows.
    Match,
    /// They do not.
    Differ,
    /// Not compared, with a reason.
    Skipped,
}

/// One table.
#[derive(Debug, Clone, Serialize)]
pub struct TableReport {
    /// Its name at the source.
    pub name: String,
    /// The verdict.
    pub status: Status,
    /// Rows at the source.
    pub source_rows: u64,
    /// Rows at the target.
    pub target_rows: u64,
    /// Rows at both ends with other cells.
    pub differing: u64,
    /// Rows at the source only.
    pub missing: u64,
    /// Rows at the target only.
    pub extra: u64,
    /// Rows that changed at the source during every look, so that nothing can be said of them.
    pub moving: u64,
    /// Rows copied again by `--repair`.
    pub repaired: u64,
    /// Why it was skipped, or what else is to be said.
    pub reason: Option<String>,
    /// Some of the keys that differ.
    pub samples: Vec<String>,
}

impl TableReport {
    /// What a comparison found.
    pub fn of(name: &str, found: &Found) -> Self {
        let differences = &found.differences;
        Self {
            name: name.to_owned(),
            status: if differences.is_empty() { Status::Match } else { Status::Differ },
            source_rows: found.source_rows,
            target_rows: found.target_rows,
            differing: differences.differing(),
            missing: differences.missing(),
            extra: differences.extra(),
            moving: found.moving,
            repaired: 0,
            reason: remark(found),
            samples: differences.keys().take(SAMPLES).map(ToString::to_string).collect(),
        }
    }

    /// A table that was not compared.
    pub fn skipped(name: &str, reason: impl Into<String>) -> Self {
        let found = Found::default();
        Self { status: Status::Skipped, reason: Some(reason.into()), ..Self::of(name, &found) }
    }
}

fn remark(found: &Found) -> Option<String> {
    if found.moving > 0 {
        return Some(format!("{} rows changed at the source during every look and were not compared", found.moving));
    }
    let many = found.differences.ranges().next().is_some();
    many.then(|| "too many rows differ to name them all".to_owned())
}

/// An aligned table.
pub fn render(reports: &[TableReport]) -> String {
    let width = reports.iter().map(|report| report.name.chars().count()).max().unwrap_or(0).max(5);
    let mut text = format!(
        "{:width$}  {:7}  {:>12}  {:>12}  {:>9}  {:>9}  {:>9}\n",
        "table", "status", "source rows", "target rows", "differing", "missing", "extra"
    );
    for report in reports {
        let status = match report.status {
            Status::Match => "match",
            Status::Differ => "DIFFER",
            Status::Skipped => "skipped",
        };
        text += &format!(
            "{:width$}  {status:7}  {:>12}  {:>12}  {:>9}  {:>9}  {:>9}\n",
            report.name, report.source_rows, report.target_rows, report.differing, report.missing, report.extra
        );
        if !report.samples.is_empty() {
            text += &format!("{:width$}  such as {}\n", "", report.samples.join(", "));
        }
        if report.repaired > 0 {
            text += &format!("{:width$}  {} rows were copied again\n", "", report.repaired);
        }
        if let Some(reason) = &report.reason {
            text += &format!("{:width$}  {reason}\n", "");
        }
    }
    text
}
