//! How to reach a server: what a URL says, ordinary connections, and what an error of the server means.

use crate::tls::{self, TlsMode};
use rowferry_api::{Error, ErrorKind, Result};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Every session writes values the same way, so that the log, COPY, source and target agree on a value's text.
const SETTINGS: [(&str, &str); 9] = [
    ("TimeZone", "UTC"),
    ("DateStyle", "ISO"),
    ("IntervalStyle", "postgres"),
    ("extra_float_digits", "3"),
    ("bytea_output", "hex"),
    ("lc_monetary", "C"),
    ("client_encoding", "UTF8"),
    ("xmloption", "content"),
    // Names are always written with their schema, and printed so.
    ("search_path", ""),
];
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a server is, and how to connect. Debug and messages show no password.
#[derive(Clone)]
pub struct ConnectOptions {
    config: Config,
    pub(crate) tls: TlsMode,
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

/// One address to try.
#[derive(Debug, Clone)]
pub(crate) enum Address {
    Tcp { host: String, addr: Option<IpAddr>, port: u16 },
    Unix { path: std::path::PathBuf },
}

impl ConnectOptions {
    /// Reads a `postgres://` URL or `key=value` text (PostgreSQL manual, libpq, "Connection Strings"), with `sslmode`,
    /// `sslrootcert`, `sslcert` and `sslkey`. Connects to nothing; reads the certificates' files.
    pub fn parse(text: &str) -> Result<Self> {
        let (rest, tls) = tls::take_parameters(text)?;
        let mut config: Config = rest.parse().map_err(|error: tokio_postgres::Error| {
            let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            Error::new(ErrorKind::Config, format!("read the connection URL: {cause}"))
                .hint("Write postgres://user:password@host:port/database, special characters as %XX.")
        })?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(Error::new(ErrorKind::Config, "read the connection URL: it names no host")
                .hint("Write postgres://user:password@host:port/database, special characters as %XX."));
        }
        if config.get_user().is_none() {
            config.user(std::env::var("USER").unwrap_or_else(|_| "postgres".into()));
        }
        if config.get_application_name().is_none() {
            config.application_name("rowferry");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        config.ssl_mode(match tls {
            TlsMode::Disable => SslMode::Disable,
            TlsMode::Prefer(_) => SslMode::Prefer,
            TlsMode::Require(_) => SslMode::Require,
        });
        let settings: Vec<String> = SETTINGS.iter().map(|(name, value)| format!("-c {name}={value}")).collect();
        let options = match config.get_options() {
            Some(given) => format!("{given} {}", settings.join(" ")),
            None => settings.join(" "),
        };
        config.options(options);
        Ok(Self { config, tls })
    }

    /// `PostgreSQL at host:5432/database`.
    pub fn describe(&self) -> String {
        let address = match self.addresses().first() {
            Some(Address::Tcp { host, port, .. }) => format!("{host}:{port}"),
            Some(Address::Unix { path }) => path.display().to_string(),
            None => "nowhere".into(),
        };
        format!("PostgreSQL at {address}/{}", self.database())
    }

    /// The database's name.
    pub fn database(&self) -> &str {
        self.config.get_dbname().or(self.config.get_user()).unwrap_or("postgres")
    }

    pub(crate) fn user(&self) -> &str {
        self.config.get_user().unwrap_or("postgres")
    }

    pub(crate) fn password(&self) -> Option<&[u8]> {
        self.config.get_password()
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        self.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT)
    }

    /// What a startup message says besides `replication`.
    pub(crate) fn startup_parameters(&self) -> Vec<(&str, &str)> {
        let mut parameters = vec![("user", self.user()), ("database", self.database())];
        parameters.extend(self.config.get_application_name().map(|name| ("application_name", name)));
        parameters.extend(self.config.get_options().map(|options| ("options", options)));
        parameters
    }

    /// The addresses in the order to try them.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        let hosts = self.config.get_hosts();
        let addrs = self.config.get_hostaddrs();
        let ports = self.config.get_ports();
        (0..hosts.len().max(addrs.len()))
            .map(|index| {
                let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
                match hosts.get(index) {
                    Some(Host::Unix(dir)) => Address::Unix { path: dir.join(format!(".s.PGSQL.{port}")) },
                    Some(Host::Tcp(host)) => Address::Tcp { host: host.clone(), addr: addrs.get(index).copied(), port },
                    None => Address::Tcp { host: addrs[index].to_string(), addr: Some(addrs[index]), port },
                }
            })
            .collect()
    }

    /// Opens an ordinary connection, driven by a task of its own until the client is dropped.
    pub async fn connect(&self) -> Result<Client> {
        let context = format!("connect to {}", self.describe());
        let result = match &self.tls {
            TlsMode::Disable => self.config.connect(tokio_postgres::NoTls).await.map(|(client, connection)| {
                tokio::spawn(connection);
                client
            }),
            TlsMode::Prefer(tls) | TlsMode::Require(tls) => {
                self.config.connect(MakeRustlsConnect::new((**tls).clone())).await.map(|(client, connection)| {
                    tokio::spawn(connection);
                    client
                })
            }
        };
        result.map_err(|error| from_pg(context, error))
    }
}

/// What an error of tokio-postgres means for the engine.
pub(crate) fn from_pg(context: impl Into<String>, error: tokio_postgres::Error) -> Error {
    let context = context.into();
    if let Some(db) = error.as_db_error() {
        let mut text = db.message().to_owned();
        for part in [db.detail(), db.where_()].into_iter().flatten() {
            text = format!("{text} ({})", part.lines().next().unwrap_or_default());
        }
        return from_state(context, db.code(), &text, db.hint());
    }
    let text = match std::error::Error::source(&error) {
        Some(cause) => cause.to_string(),
        None => error.to_string(),
    };
    unspoken(context, &text)
}

/// An error that the server did not send.
pub(crate) fn unspoken(context: String, text: &str) -> Error {
    let about = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if about(&["certificate", "InvalidCertificate", "UnknownIssuer", "NotValidForName", "TLS", "tls"]) {
        return Error::new(ErrorKind::Config, format!("{context}: {text}"))
            .hint("Check sslmode and sslrootcert: the server must speak TLS, and its certificate must fit the mode.");
    }
    if about(&["password missing", "unsupported authentication"]) {
        return Error::new(ErrorKind::Denied, format!("{context}: {text}")).hint("Give the password in the URL, or as ${NAME}.");
    }
    Error::new(ErrorKind::Unreachable, format!("{context}: {text}"))
        .hint("Check that the server runs, that host and port are right, and that nothing between blocks the way.")
}

/// An error that the server sent. Codes: PostgreSQL manual, "PostgreSQL Error Codes".
pub(crate) fn from_state(context: String, state: &SqlState, text: &str, server_hint: Option<&str>) -> Error {
    let code = state.code();
    let (kind, hint) = match (&code[..2.min(code.len())], code) {
        (_, "28P01" | "28000") => (ErrorKind::Denied, Some("Check user, password and the server's pg_hba.conf.")),
        (_, "3D000") => (ErrorKind::Denied, Some("Check the database's name in the URL.")),
        (_, "42501") => (ErrorKind::Denied, Some("Grant the right to the user, or connect as one who has it.")),
        (_, "40001" | "40P01" | "55P03" | "57014") => (ErrorKind::Transient, None),
        (_, "55006") => (ErrorKind::Busy, None),
        (_, "23505") => (ErrorKind::Unique, None),
        (_, "25006") => (ErrorKind::Config, Some("The server is read-only (a standby, or default_transaction_read_only).")),
        (_, "53300") => (ErrorKind::Unreachable, Some("Raise max_connections, or close other connections.")),
        (_, "53100") => (ErrorKind::Unreachable, Some("The server's disk is full: make room there.")),
        ("08" | "53" | "57" | "58", _) => (ErrorKind::Unreachable, None),
        ("22" | "23", _) => (ErrorKind::BadRow, None),
        (_, "42P01" | "42703" | "42804" | "42704" | "3F000" | "42P10" | "2BP01" | "42883") => (ErrorKind::Schema, None),
        _ => (ErrorKind::Other, None),
    };
    let error = Error::new(kind, format!("{context}: {text}"));
    match server_hint.or(hint) {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// A name as SQL writes it, whatever is in it.
pub(crate) fn quote_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table's name as SQL writes it.
pub(crate) fn quote_table(name: &rowferry_api::TableName) -> String {
    format!("{}.{}", quote_name(&name.schema), quote_name(&name.name))
}

/// A text as SQL writes it, whatever is in it and whatever `standard_conforming_strings` says.
pub(crate) fn quote_text(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!(" E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}
