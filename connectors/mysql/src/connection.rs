//! How to reach a server: what a URL says, and connections whose session reads and writes values in one way.

mod errors;
mod quote;
mod url;

pub(crate) use errors::{from_code, from_mysql, server_code};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder};
pub(crate) use quote::{quote_name, quote_table, quote_text};
use rowferry_api::{Error, ErrorKind, Result};
use std::fmt;
use std::time::Duration;

/// A peer that does not answer is given up after this.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that is gone without a word is noticed by the system's probes from then on.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// The protocol's own limit of a packet (MySQL manual, "Packet Too Large"); the client's would be the server's default.
pub(crate) const MAX_PACKET_BYTES: usize = 1 << 30;

/// Whose server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flavor {
    /// MySQL and what is built from it.
    Mysql,
    /// MariaDB.
    Mariadb,
}

impl fmt::Display for Flavor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mysql => "MySQL",
            Self::Mariadb => "MariaDB",
        })
    }
}

/// A server's kind and version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) flavor: Flavor,
    pub(crate) version: (u16, u16, u16),
}

impl Server {
    /// It is MySQL of this version or a later one.
    pub(crate) fn is_mysql(&self, major: u16, minor: u16) -> bool {
        self.flavor == Flavor::Mysql && (self.version.0, self.version.1) >= (major, minor)
    }

    /// It is MariaDB of this version or a later one.
    pub(crate) fn is_mariadb(&self, major: u16, minor: u16) -> bool {
        self.flavor == Flavor::Mariadb && (self.version.0, self.version.1) >= (major, minor)
    }

    /// From what `SELECT VERSION()` says: `8.0.36`, `10.11.14-MariaDB-0+deb12u2-log`, `5.5.5-10.4.1-MariaDB`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let flavor = if text.to_ascii_lowercase().contains("mariadb") { Flavor::Mariadb } else { Flavor::Mysql };
        let text = text.strip_prefix("5.5.5-").filter(|_| flavor == Flavor::Mariadb).unwrap_or(text);
        let mut numbers = text.split(|char: char| !char.is_ascii_digit()).map(|number| number.parse().ok());
        let mut next = || numbers.next().flatten();
        Some(Self { flavor, version: (next()?, next()?, next().unwrap_or(0)) })
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor, patch) = self.version;
        write!(f, "{} {major}.{minor}.{patch}", self.flavor)
    }
}

/// Where a server is, and how to connect. Debug and messages show no password.
#[derive(Clone)]
pub(crate) struct ConnectOptions {
    opts: Opts,
    /// Connect in plain where the server offers no TLS.
    tls_is_optional: bool,
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}

impl ConnectOptions {
    /// Reads `mysql://user:password@host:port/database?sslmode=...`. Connects to nothing; reads the certificates' files.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let url::Parsed { opts, tls_is_optional } = url::parse(text)?;
        let opts = OptsBuilder::from_opts(opts)
            .max_allowed_packet(Some(MAX_PACKET_BYTES))
            .tcp_keepalive(Some(KEEPALIVE_IDLE))
            .stmt_cache_size(256)
            .into();
        Ok(Self { opts, tls_is_optional })
    }

    /// `host:port`, or with the database behind it.
    pub(crate) fn describe(&self) -> String {
        let address = match self.opts.socket() {
            Some(socket) => socket.to_owned(),
            None => format!("{}:{}", self.opts.ip_or_hostname(), self.opts.tcp_port()),
        };
        match self.database() {
            Some(database) => format!("MySQL at {address}/{database}"),
            None => format!("MySQL at {address}"),
        }
    }

    /// The database that the URL names.
    pub(crate) fn database(&self) -> Option<&str> {
        self.opts.db_name().filter(|name| !name.is_empty())
    }

    /// A connection in a plain session: autocommit, UTC, UTF-8, no mode that changes what statements mean.
    pub(crate) async fn connect(&self) -> Result<(Conn, Server)> {
        self.connect_as(self.opts.clone()).await
    }

    /// The same without a database: it may not be there yet.
    pub(crate) async fn connect_without_database(&self) -> Result<(Conn, Server)> {
        self.connect_as(OptsBuilder::from_opts(self.opts.clone()).db_name(None::<String>).into()).await
    }

    /// The same for a writer: of an UPDATE it counts the rows found, not those that took another value.
    pub(crate) async fn connect_for_writing(&self) -> Result<(Conn, Server)> {
        let opts = OptsBuilder::from_opts(self.opts.clone()).db_name(None::<String>).client_found_rows(true);
        self.connect_as(opts.into()).await
    }

    /// Connects, and says farewell.
    pub(crate) async fn ping(&self) -> Result<()> {
        let (conn, _) = self.connect_without_database().await?;
        conn.disconnect().await.map_err(|error| from_mysql(format!("ask {} for an answer", self.describe()), error))
    }

    async fn connect_as(&self, opts: Opts) -> Result<(Conn, Server)> {
        let context = || format!("connect to {}", self.describe());
        let attempt = |opts: Opts| async {
            tokio::time::timeout(CONNECT_TIMEOUT, Conn::new(opts)).await.map_err(|_| {
                Error::new(ErrorKind::Unreachable, format!("{}: no answer within {CONNECT_TIMEOUT:?}", context()))
            })
        };
        let mut conn = match attempt(opts.clone()).await? {
            Err(mysql_async::Error::Driver(mysql_async::DriverError::NoClientSslFlagFromServer))
                if self.tls_is_optional =>
            {
                let plain = OptsBuilder::from_opts(opts).ssl_opts(None);
                attempt(plain.into()).await?.map_err(|error| from_mysql(context(), error))?
            }
            result => result.map_err(|error| from_mysql(context(), error))?,
        };
        let server = set_up(&mut conn).await.map_err(|error| error.within(context()))?;
        Ok((conn, server))
    }
}

/// What every session is set to. Longer timeouts let a reader pause while its rows are written at the other end.
const SETTINGS: &str = "SET SESSION sql_mode = '', time_zone = '+00:00', autocommit = 1, wait_timeout = 86400, \
     net_write_timeout = 3600, net_read_timeout = 3600, group_concat_max_len = 1048576, sql_safe_updates = 0, \
     sql_select_limit = DEFAULT, max_sort_length = 8192";

async fn set_up(conn: &mut Conn) -> Result<Server> {
    let failed = |error| from_mysql("set up a session", error);
    let version: Option<String> = conn.query_first("SELECT VERSION()").await.map_err(failed)?;
    let version = version.unwrap_or_default();
    let server = Server::parse(&version)
        .ok_or_else(|| Error::new(ErrorKind::Protocol, format!("the server calls its version \"{version}\"")))?;
    // Names from the client's side are UTF-8 and results come in it; 5.6 knows it too.
    conn.query_drop("SET NAMES utf8mb4").await.map_err(failed)?;
    conn.query_drop(SETTINGS).await.map_err(failed)?;
    // A limit on statements would cut long reads short.
    let limit = match server {
        _ if server.flavor == Flavor::Mariadb => Some("SET SESSION max_statement_time = 0"),
        _ if server.is_mysql(5, 8) => Some("SET SESSION max_execution_time = 0"),
        _ => None,
    };
    if let Some(limit) = limit {
        conn.query_drop(limit).await.map_err(failed)?;
    }
    Ok(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let server = |flavor, version| Some(Server { flavor, version });
        assert_eq!(Server::parse("8.0.36-0ubuntu0.22.04.1"), server(Flavor::Mysql, (8, 0, 36)));
        assert_eq!(Server::parse("5.6.24-log"), server(Flavor::Mysql, (5, 6, 24)));
        assert_eq!(Server::parse("10.11.14-MariaDB-0+deb12u2-log"), server(Flavor::Mariadb, (10, 11, 14)));
        assert_eq!(Server::parse("5.5.5-10.4.1-MariaDB"), server(Flavor::Mariadb, (10, 4, 1)));
        assert_eq!(Server::parse("hello"), None);
    }
}
