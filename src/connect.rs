//! The one place that knows connectors by their kind. A new system is a new crate and its lines here.

use crate::config::{Endpoint, parse_size};
use rowferry_api::{Error, ErrorKind, Result, Source, Target};
use std::fmt;
use std::sync::Arc;

/// Which end of a pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Where changes come from.
    Source,
    /// Where they go.
    Target,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Target => "target",
        })
    }
}

/// What an option's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionForm {
    /// Any text.
    Text,
    /// A number of bytes: `64MiB`.
    Size,
    /// A whole number from 1 to 4294967295.
    Number,
}

/// An option of a kind.
#[derive(Debug)]
pub struct OptionSpec {
    /// As the configuration writes it.
    pub name: &'static str,
    /// It has no default.
    pub required: bool,
    /// What its value is.
    pub form: OptionForm,
    /// What it is.
    pub help: &'static str,
}

impl OptionSpec {
    const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, required: false, form: OptionForm::Text, help }
    }

    const fn required(self) -> Self {
        Self { required: true, ..self }
    }

    const fn number(self) -> Self {
        Self { form: OptionForm::Number, ..self }
    }

    const fn size(self) -> Self {
        Self { form: OptionForm::Size, ..self }
    }
}

const URL: OptionSpec =
    OptionSpec::new("url", "postgres://user:password@host:port/database?sslmode=verify-full").required();
const SLOT: OptionSpec =
    OptionSpec::new("slot", "replication slot; made if it is missing; default rowferry_<pipeline>");
const PUBLICATION: OptionSpec =
    OptionSpec::new("publication", "publication; made if it is missing; default rowferry_<pipeline>");
const BACKLOG: OptionSpec =
    OptionSpec::new("backlog", "unread log from which it is read in large parts; 0 for never; default 64MiB").size();
const MYSQL_URL: OptionSpec =
    OptionSpec::new("url", "mysql://user:password@host:port/database?sslmode=verify-full").required();
const SERVER_ID: OptionSpec = OptionSpec::new(
    "server_id",
    "number as which the log is asked for; default: made from the names of pipeline and database",
)
.number();
const ZERO_DATES: OptionSpec = OptionSpec::new(
    "zero_dates",
    "what becomes of dates like 0000-00-00: halt (default), null or text; exceptions behind commas: shop.orders.sent=null",
);
const PATH: OptionSpec = OptionSpec::new("path", "the database file, relative to the configuration").required();

/// The kinds that an end can be of.
pub fn kinds(role: Role) -> Vec<&'static str> {
    match role {
        Role::Source => vec!["mysql", "postgres"],
        Role::Target => vec!["mysql", "postgres", "sqlite"],
    }
}

/// The options of a kind; `None` if an end cannot be of it.
pub fn options(role: Role, kind: &str) -> Option<&'static [OptionSpec]> {
    match (role, kind) {
        (Role::Source, "mysql") => Some(&[MYSQL_URL, SERVER_ID, ZERO_DATES]),
        (Role::Source, "postgres") => Some(&[URL, SLOT, PUBLICATION, BACKLOG]),
        (Role::Target, "mysql") => Some(&[MYSQL_URL]),
        (Role::Target, "postgres") => Some(&[URL]),
        (Role::Target, "sqlite") => Some(&[PATH]),
        _ => None,
    }
}

/// The source that an endpoint names. Connects to nothing yet.
pub fn source(endpoint: &Endpoint, pipeline: &str) -> Result<Arc<dyn Source>> {
    let named = |name: &str| endpoint.option(name).map_or_else(|| default_name(pipeline), str::to_owned);
    match endpoint.kind.as_str() {
        "postgres" => Ok(Arc::new(rowferry_postgres::PostgresSource::new(rowferry_postgres::SourceOptions {
            url: required(endpoint, "url")?,
            slot: named("slot"),
            publication: named("publication"),
            backlog_bytes: endpoint.option("backlog").and_then(parse_size).unwrap_or(rowferry_postgres::BACKLOG_BYTES),
        })?)),
        "mysql" => Ok(Arc::new(rowferry_mysql::MysqlSource::new(rowferry_mysql::SourceOptions {
            url: required(endpoint, "url")?,
            server_id: endpoint.option("server_id").and_then(|id| id.parse().ok()).unwrap_or(0),
            pipeline: pipeline.to_owned(),
            zero_dates: endpoint.option("zero_dates").unwrap_or_default().to_owned(),
        })?)),
        other => Err(unknown(Role::Source, other)),
    }
}

/// The target that an endpoint names. Connects to nothing yet.
pub fn target(endpoint: &Endpoint) -> Result<Arc<dyn Target>> {
    match endpoint.kind.as_str() {
        "postgres" => Ok(Arc::new(rowferry_postgres::PostgresTarget::new(rowferry_postgres::TargetOptions {
            url: required(endpoint, "url")?,
        })?)),
        "sqlite" => Ok(Arc::new(rowferry_sqlite::SqliteTarget::new(rowferry_sqlite::SqliteOptions {
            path: endpoint.base.join(required(endpoint, "path")?),
        })?)),
        "mysql" => Ok(Arc::new(rowferry_mysql::MysqlTarget::new(rowferry_mysql::TargetOptions {
            url: required(endpoint, "url")?,
        })?)),
        other => Err(unknown(Role::Target, other)),
    }
}

fn required(endpoint: &Endpoint, name: &str) -> Result<String> {
    endpoint
        .option(name)
        .map(str::to_owned)
        .ok_or_else(|| Error::new(ErrorKind::Config, format!("an endpoint of kind {} has no `{name}`", endpoint.kind)))
}

/// 0 if none is given.
fn unknown(role: Role, kind: &str) -> Error {
    Error::new(ErrorKind::Config, format!("unknown kind of {role}: {kind}"))
        .hint(format!("Kinds of {role}: {}.", kinds(role).join(", ")))
}

/// A name that PostgreSQL takes for a slot: lower case letters, digits and underscores, at most 63 bytes.
fn default_name(pipeline: &str) -> String {
    let plain = pipeline.chars().map(|char| match char.to_ascii_lowercase() {
        char @ ('a'..='z' | '0'..='9' | '_') => char,
        _ => '_',
    });
    "rowferry_".chars().chain(plain).take(63).collect()
}
