//! One error for all connectors: what happened, where, what to do; and a kind that the engine decides from.

use std::fmt;

/// Any cause, as it came from a library.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The result of every call to a connector.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the engine does about an error. There is one kind for each distinct reaction, no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// Connection refused or lost, server starting or going down: retried with backoff.
    Unreachable,
    /// Deadlock, lock or statement timeout, serialization failure: the same call is retried.
    Transient,
    /// Wrong password, no such role or database, missing right: nothing to retry.
    Denied,
    /// Something else holds what we need (a slot in use, a locked file or state directory).
    Busy,
    /// A setting of the server or of the configuration stands in the way.
    Config,
    /// A unique constraint that is not the key refused a row: the batch is replayed row by row.
    Unique,
    /// The target refused a value or a row: the batch is bisected and the row named.
    BadRow,
    /// The tables at both ends do not fit, or a schema change cannot be carried over.
    Schema,
    /// A range was cut from another state of the table's storage (it was rewritten since): cut the table again.
    Stale,
    /// The log no longer holds the position asked for, or the slot is gone.
    LogLost,
    /// Source or target is another server, or another history of it, than the state says.
    Identity,
    /// The other side sent what its protocol does not allow.
    Protocol,
    /// Anything else.
    Other,
}

/// What happened (`context`, verb and object: "open the replication slot \"shop\""), the cause below it, and
/// what the reader can do about it (`hint`). Never holds a password; holds cell values only for [`ErrorKind::BadRow`].
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    context: String,
    hint: Option<String>,
    source: Option<BoxError>,
}

impl Error {
    /// An error without a cause below it.
    pub fn new(kind: ErrorKind, context: impl Into<String>) -> Self {
        Self { kind, context: context.into(), hint: None, source: None }
    }

    /// A pipeline's position in the target is not where its applier left it.
    pub fn position_moved(pipeline: &str) -> Self {
        let what = format!("write the position of pipeline \"{pipeline}\": another process has moved it");
        Self::new(ErrorKind::Busy, what)
            .hint("Two processes apply the same pipeline to the same target: stop one of them.")
    }

    /// Adds what the reader can do: a command, a statement, a setting.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<BoxError>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Wraps this error in a wider context; kind and hint stay.
    #[must_use]
    pub fn within(self, context: impl Into<String>) -> Self {
        Self { kind: self.kind, context: context.into(), hint: self.hint.clone(), source: Some(Box::new(self)) }
    }

    /// What the engine decides from.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What the reader can do about it, if we know.
    pub fn hint_text(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// The context and every cause below it on one line: `copy table: connect: connection refused`.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.context)?;
        match &self.source {
            None => Ok(()),
            Some(source) if source.downcast_ref::<Error>().is_some() => write!(f, ": {source}"),
            Some(source) => {
                write!(f, ": {source}")?;
                let mut said = source.to_string();
                let mut cause = source.source();
                while let Some(inner) = cause {
                    let text = inner.to_string();
                    // Many libraries already print their cause; do not say it twice.
                    if !said.contains(&text) {
                        write!(f, ": {text}")?;
                        said = text;
                    }
                    cause = inner.source();
                }
                Ok(())
            }
        }
    }
}

/// The cause is part of the text already, so `source` is not exposed a second time.
impl std::error::Error for Error {}
