//! How to reach a server: what a URL says, and ordinary connections.

mod errors;
mod parameters;
mod quote;

use crate::tls::{self, TlsMode};
pub(crate) use errors::{Failure, ServerError, from_pg};
pub(crate) use parameters::TlsParameters;
use parameters::malformed;
pub(crate) use quote::{quote_command_text, quote_name, quote_table, quote_text};
use rowferry_api::Result;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio_postgres::config::{ChannelBinding, Host, SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Every session writes values the same way, so that the log, COPY, source and target agree on a value's text; and
/// what a role or database has set for its people's sessions does not end or narrow ours.
const SETTINGS: [(&str, &str); 19] = [
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
    ("statement_timeout", "0"),
    ("lock_timeout", "0"),
    ("idle_in_transaction_session_timeout", "0"),
    ("default_transaction_isolation", "read\\ committed"),
    // A policy that would hide rows from us is an error, not a table with fewer rows.
    ("row_security", "off"),
    ("client_min_messages", "warning"),
    // A client that is gone without a word holds locks, and the slot, until the server notices: in a minute, too.
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
    // The catalog's statements look expensive to the planner and are not: compiling them takes longer than they do.
    ("jit", "off"),
];
/// What only newer servers know (idle_session_timeout from 14, transaction_timeout from 17 on): an older one would refuse the
/// session if it were told at its start.
pub(crate) const RESET_NEWER: &str = "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings \
     WHERE name IN ('transaction_timeout', 'idle_session_timeout') AND setting <> '0'";
/// Has a session end soon after its client, also while it waits or decodes (from 14 on).
pub(crate) const END_WITH_CLIENT: &str = "SELECT pg_catalog.set_config(name, '1000', false) FROM pg_catalog.pg_settings \
     WHERE name = 'client_connection_check_interval'";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that is gone without a word is noticed after about a minute; the system's own default is two hours.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

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
    Unix { path: PathBuf },
}

impl ConnectOptions {
    /// Reads a `postgres://` URL or `key=value` text (PostgreSQL manual, libpq, "Connection Strings"), with `sslmode`,
    /// `sslrootcert`, `sslcert` and `sslkey`. Connects to nothing; reads the certificates' files.
    pub fn parse(text: &str) -> Result<Self> {
        let (rest, tls) = parameters::take_tls(text)?;
        let mut config: Config = rest.parse().map_err(|error: tokio_postgres::Error| {
            let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            malformed(&cause)
        })?;
        let addrs = config.get_hostaddrs().to_vec();
        match (config.get_hosts().len(), addrs.len()) {
            (0, 0) => return Err(malformed("it names no host")),
            // The name that a certificate is compared with.
            (0, _) => {
                for addr in &addrs {
                    config.host(addr.to_string());
                }
            }
            (hosts, addrs) if addrs != 0 && hosts != addrs => {
                return Err(malformed("host and hostaddr differ in number"));
            }
            _ => {}
        }
        if !matches!(config.get_ports().len(), 0 | 1) && config.get_ports().len() != config.get_hosts().len() {
            return Err(malformed("host and port differ in number"));
        }
        let tls = tls::mode_of(&tls)?;
        fill_in(&mut config);
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

    pub(crate) fn channel_binding(&self) -> ChannelBinding {
        self.config.get_channel_binding()
    }

    /// Which of several servers is meant.
    pub(crate) fn session_attrs(&self) -> TargetSessionAttrs {
        self.config.get_target_session_attrs()
    }

    pub(crate) fn connect_timeout(&self) -> Duration {
        self.config.get_connect_timeout().copied().unwrap_or(CONNECT_TIMEOUT)
    }

    /// Time without a word after which the system asks whether the peer is still there; `None` if it is not to ask.
    pub(crate) fn keepalive_idle(&self) -> Option<Duration> {
        self.config.get_keepalives().then(|| self.config.get_keepalives_idle())
    }

    /// What a startup message says besides `replication`.
    pub(crate) fn startup_parameters(&self) -> Vec<(&str, &str)> {
        let mut parameters = vec![("user", self.user()), ("database", self.database()), ("client_encoding", "UTF8")];
        parameters.extend(self.config.get_application_name().map(|name| ("application_name", name)));
        parameters.extend(self.config.get_options().map(|options| ("options", options)));
        parameters
    }

    /// The addresses in the order to try them.
    pub(crate) fn addresses(&self) -> Vec<Address> {
        let addrs = self.config.get_hostaddrs();
        let ports = self.config.get_ports();
        let hosts = self.config.get_hosts().iter().enumerate();
        hosts
            .map(|(index, host)| {
                let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
                match host {
                    Host::Unix(dir) => Address::Unix { path: dir.join(format!(".s.PGSQL.{port}")) },
                    Host::Tcp(host) => Address::Tcp { host: host.clone(), addr: addrs.get(index).copied(), port },
                }
            })
            .collect()
    }

    /// Opens an ordinary connection, driven by a task of its own until the client is dropped. The address that answers
    /// first, in the order of the URL, is taken; each has `connect_timeout`, its login included.
    pub async fn connect(&self) -> Result<Client> {
        let context = format!("connect to {}", self.describe());
        let addresses = self.addresses();
        let only_sockets = addresses.iter().all(|address| matches!(address, Address::Unix { .. }));
        let limit = self.connect_timeout() * u32::try_from(addresses.len()).unwrap_or(1);
        let attempts = async {
            match &self.tls {
                // As libpq: nothing is encrypted on a socket of the machine.
                _ if only_sockets => self.connect_in_plain().await,
                TlsMode::Disable => self.connect_in_plain().await,
                TlsMode::Require(tls) => self.connect_encrypted(tls, SslMode::Require).await,
                TlsMode::Prefer(tls) => match self.connect_encrypted(tls, SslMode::Prefer).await {
                    Err(failure) if failure.may_pass_in_plain() => self.connect_in_plain().await.map_err(|_| failure),
                    result => result,
                },
            }
        };
        let silent = || Failure::Broken("the server did not answer in time".into());
        let result = tokio::time::timeout(limit, attempts).await.unwrap_or_else(|_| Err(silent()));
        let client = result.map_err(|failure| failure.into_error(context.as_str()))?;
        client.batch_execute(RESET_NEWER).await.map_err(|error| from_pg(context, error))?;
        Ok(client)
    }

    async fn connect_in_plain(&self) -> Result<Client, Failure> {
        let mut config = self.config.clone();
        config.ssl_mode(SslMode::Disable);
        let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    async fn connect_encrypted(&self, tls: &rustls::ClientConfig, mode: SslMode) -> Result<Client, Failure> {
        let mut config = self.config.clone();
        config.ssl_mode(mode);
        let (client, connection) = config.connect(MakeRustlsConnect::new(tls.clone())).await?;
        tokio::spawn(connection);
        Ok(client)
    }
}

/// What the text left open, and what every session of ours sets.
fn fill_in(config: &mut Config) {
    if config.get_user().is_none() {
        config.user(std::env::var("USER").unwrap_or_else(|_| "postgres".into()));
    }
    if config.get_application_name().is_none() {
        config.application_name("rowferry");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_keepalives_idle() == Config::new().get_keepalives_idle() {
        config.keepalives_idle(KEEPALIVE_IDLE);
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(KEEPALIVE_INTERVAL);
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(KEEPALIVE_RETRIES);
    }
    let settings: Vec<String> = SETTINGS.iter().map(|(name, value)| format!("-c {name}={value}")).collect();
    let options = match config.get_options() {
        Some(given) => format!("{given} {}", settings.join(" ")),
        None => settings.join(" "),
    };
    config.options(options);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rowferry_api::ErrorKind;

    #[test]
    fn a_description_names_the_place_and_no_secret() {
        let cases = [
            ("postgres://bob:hunter2@db.example:6432/shop", "PostgreSQL at db.example:6432/shop"),
            ("postgres://bob:hunter2@db.example/shop", "PostgreSQL at db.example:5432/shop"),
            ("host=db password=hunter2 user=bob", "PostgreSQL at db:5432/bob"),
            ("postgres://bob:hunter2@%2Frun%2Fpg:7000/shop", "PostgreSQL at /run/pg/.s.PGSQL.7000/shop"),
            ("postgres:///shop?host=/run/pg&user=bob&password=hunter2", "PostgreSQL at /run/pg/.s.PGSQL.5432/shop"),
            ("hostaddr=10.0.0.7 dbname=shop password=hunter2", "PostgreSQL at 10.0.0.7:5432/shop"),
        ];
        for (url, expected) in cases {
            let options = ConnectOptions::parse(url).unwrap();
            assert_eq!(options.describe(), expected);
            assert_eq!(format!("{options:?}"), expected);
        }
    }

    #[test]
    fn a_wrong_text_is_refused_without_its_password() {
        let wrong = [
            "postgres://bob:hunter2@h/db?colour=red",
            "postgres://bob:hunter2@h/db?sslmode=maybe",
            "postgres://bob:hunter2@h:port/db",
            "postgres://bob:hunter2@h/db?sslrootcert=/nowhere.pem&sslmode=verify-ca",
            "postgres://bob:hunter2@h/db?sslcert=/only.pem",
            "host=h password='hunter2",
            "host=a,b,c port=1,2 password=hunter2",
            "password=hunter2",
            "hunter2",
        ];
        for text in wrong {
            let error = ConnectOptions::parse(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{text}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error}");
        }
        let error = ConnectOptions::parse("postgres://bob:hunter2@h/db?colour=red").unwrap_err();
        assert!(error.to_string().contains("colour"), "{error}");
    }

    #[test]
    fn several_hosts_are_tried_in_order() {
        let options = ConnectOptions::parse("postgres://a:1,b:2/db").unwrap();
        let ports: Vec<u16> = options
            .addresses()
            .iter()
            .map(|address| match address {
                Address::Tcp { port, .. } => *port,
                Address::Unix { .. } => 0,
            })
            .collect();
        assert_eq!(ports, [1, 2]);
    }
}
