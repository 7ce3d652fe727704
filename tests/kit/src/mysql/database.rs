//! A database of one test on a MySQL or MariaDB server, and plain SQL in it.

use super::script;
use crate::database::block_on;
use crate::postgres::unique;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, OptsBuilder, Row, Value};

/// A database with a name of its own. It stays until its server ends.
#[derive(Debug)]
pub struct MysqlDatabase {
    base_url: String,
    name: String,
}

impl MysqlDatabase {
    pub(super) fn create(base_url: &str, prefix: &str) -> Self {
        let name = format!("{prefix}_{}", unique().replace('-', "_"));
        let (url, sql) = (base_url.to_owned(), format!("CREATE DATABASE {name} CHARACTER SET utf8mb4"));
        block_on(async move { script::run_text(&url, &sql).await });
        Self { base_url: base_url.to_owned(), name }
    }

    /// A database that is there already.
    pub fn at(url: &str) -> Self {
        let (base_url, name) = url.rsplit_once('/').expect("a URL with a database");
        Self { base_url: base_url.to_owned(), name: name.to_owned() }
    }

    /// URL for root, over TCP.
    pub fn url(&self) -> String {
        format!("{}/{}", self.base_url, self.name)
    }

    /// Its name; needs no quotes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A new connection, in a session of the server's defaults.
    pub async fn client(&self) -> Conn {
        connect(&self.url()).await
    }

    /// Runs one or more statements, each in its own transaction unless the text says otherwise.
    pub async fn execute(&self, sql: &str) {
        script::run_text(&self.url(), sql).await;
    }

    /// The same, with the error for the caller.
    pub async fn try_execute(&self, sql: &str) -> Result<(), Error> {
        script::try_run_text(&self.url(), sql).await.map_err(|failure| failure.error)
    }

    /// The rows of a query, all values as the server's text, with `?` for bytes that are no UTF-8.
    pub async fn query_text(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.try_query_text(sql).await.unwrap_or_else(|error| panic!("{error:?} in: {sql}"))
    }

    /// The same, with the error for the caller.
    pub async fn try_query_text(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        query_text(&mut self.client().await, sql).await
    }

    /// The single value of a query; panics if there is none or it is NULL.
    pub async fn value(&self, sql: &str) -> String {
        value(&self.url(), sql).await
    }
}

/// The single value of a query; panics if there is none or it is NULL.
pub(super) async fn value(url: &str, sql: &str) -> String {
    let rows = query_text(&mut connect(url).await, sql).await.unwrap_or_else(|error| panic!("{error:?} in: {sql}"));
    rows.into_iter().flatten().next().flatten().unwrap_or_else(|| panic!("no value from: {sql}"))
}

pub(crate) async fn query_text(client: &mut Conn, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
    let text = |value| match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        other => panic!("a value in binary form: {other:?}"),
    };
    let rows: Vec<Row> = client.query(sql).await?;
    Ok(rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect())
}

/// Connects as a program does that knows nothing of the server.
pub(super) async fn connect(url: &str) -> Conn {
    try_connect(url).await.unwrap_or_else(|error| panic!("connect to {url}: {error:?}"))
}

/// The same, with the error for the caller.
pub(crate) async fn try_connect(url: &str) -> Result<Conn, Error> {
    let opts = mysql_async::Opts::from_url(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    let opts = OptsBuilder::from_opts(opts).max_allowed_packet(Some(1 << 30)).prefer_socket(Some(false));
    Conn::new(opts).await
}
