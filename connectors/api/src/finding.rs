//! What a preflight look at a source or a target found.

use serde::Serialize;

/// Whether `run` would go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// `run` refuses until this is mended.
    Blocked,
    /// `run` goes on; the reader should know.
    Warning,
    /// Looked at and found in order.
    Ok,
}

/// One thing looked at: what it is about, what was found, and the statement or setting that mends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Whether `run` would go on.
    pub severity: Severity,
    /// What was looked at: `source wal_level`, `table public.orders`.
    pub subject: String,
    /// What was found there.
    pub what: String,
    /// The statement, setting or command that mends it, ready to paste.
    pub mend: Option<String>,
}

impl Finding {
    /// A finding that makes `run` refuse.
    pub fn blocked(subject: impl Into<String>, what: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { severity: Severity::Blocked, subject: subject.into(), what: what.into(), mend: Some(mend.into()) }
    }

    /// A finding that `run` goes on with.
    pub fn warning(subject: impl Into<String>, what: impl Into<String>, mend: Option<String>) -> Self {
        Self { severity: Severity::Warning, subject: subject.into(), what: what.into(), mend }
    }

    /// Something found in order.
    pub fn ok(subject: impl Into<String>, what: impl Into<String>) -> Self {
        Self { severity: Severity::Ok, subject: subject.into(), what: what.into(), mend: None }
    }
}
