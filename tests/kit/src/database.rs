//! A database of one test, and plain SQL in it.

use std::future::Future;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

/// A database with a name of its own. It stays until its server ends; when this value is dropped only its
/// replication slots go, since a server has few of those and each holds back its log.
#[derive(Debug)]
pub struct Database {
    /// Absent: somebody else's database, whose slots stay.
    admin_url: Option<String>,
    url: String,
    name: String,
}

impl Database {
    pub(crate) fn create(admin_url: String, prefix: &str, url_of: impl FnOnce(&str) -> String) -> Self {
        let name = format!("{prefix}_{}", crate::postgres::unique().replace('-', "_"));
        let url = url_of(&name);
        let (to, sql) = (admin_url.clone(), format!("CREATE DATABASE {name}"));
        block_on(async move { connect(&to).await.batch_execute(&sql).await.expect("create a database") });
        Self { admin_url: Some(admin_url), url, name }
    }

    /// A database that is there already, and is left as it is.
    pub fn at(url: &str) -> Self {
        let path = url.split('?').next().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default().to_owned();
        Self { admin_url: None, url: url.to_owned(), name }
    }

    /// URL for the superuser, over TCP.
    pub fn url(&self) -> String {
        self.url.clone()
    }

    /// Its name; needs no quotes.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A new connection. It ends with the client.
    pub async fn client(&self) -> Client {
        connect(&self.url).await
    }

    /// Runs one or more statements in one go (and so in one transaction, unless the text says otherwise).
    pub async fn execute(&self, sql: &str) {
        if let Err(error) = self.try_execute(sql).await {
            panic!("{error:?} in: {}", sql.chars().take(400).collect::<String>());
        }
    }

    /// The same, with the error for the caller.
    pub async fn try_execute(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.client().await.batch_execute(sql).await
    }

    /// The rows of a query, all values as the server's text. Statements without rows may stand before it.
    pub async fn query_text(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        self.try_query_text(sql).await.unwrap_or_else(|error| panic!("{error:?} in: {sql}"))
    }

    /// The same, with the error for the caller.
    pub async fn try_query_text(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>, tokio_postgres::Error> {
        let messages = self.client().await.simple_query(sql).await?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        Ok(rows.map(|row| (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()).collect())
    }

    /// The single value of a query; panics if there is none or it is NULL.
    pub async fn value(&self, sql: &str) -> String {
        let rows = self.query_text(sql).await;
        rows.into_iter().flatten().next().flatten().unwrap_or_else(|| panic!("no value from: {sql}"))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (Some(admin_url), name) = (self.admin_url.clone(), self.name.clone()) else { return };
        block_on(async move {
            let Ok((client, connection)) = tokio_postgres::connect(&admin_url, NoTls).await else {
                return; // The server is gone already, and the slots with it.
            };
            tokio::spawn(connection);
            // A slot cannot go while a walsender holds it; one that lets go only later is left to the server's end.
            let slots = format!("pg_replication_slots WHERE database = '{name}'");
            let _ =
                client.simple_query(&format!("SELECT pg_terminate_backend(active_pid) FROM {slots} AND active")).await;
            for _ in 0..50 {
                let sql = format!("SELECT pg_drop_replication_slot(slot_name) FROM {slots}");
                if client.simple_query(&sql).await.is_ok() {
                    return;
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        });
    }
}

async fn connect(url: &str) -> Client {
    let connecting = tokio_postgres::connect(url, NoTls).await;
    let (client, connection) = connecting.unwrap_or_else(|error| panic!("connect to {url}: {error:?}"));
    tokio::spawn(connection);
    client
}

/// Runs a future to its end, also from inside another runtime.
pub(crate) fn block_on<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    let worker = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("build a runtime");
        runtime.block_on(future)
    });
    worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
