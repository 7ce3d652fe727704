//! PostgreSQL as a source, against real servers: its catalog, what check finds, where its log starts, ranges of its tables.
//!
//! `ROWFERRY_TEST_PG` names a server of another version to run against; what a version lacks is left out.

#![allow(clippy::unwrap_used)]

mod catalog;
mod encodings;
mod log_start;
mod partitions;
mod rights;
mod standby;

use rowferry_api::{Source, SourceTable, TableName};
use rowferry_postgres::{PostgresSource, SourceOptions};
use rowferry_testkit::{Database, Postgres};

/// A database, and the source that reads it. Slot and publication are named after the database.
struct Shop {
    database: Database,
    source: PostgresSource,
    version: u32,
}

fn source_of(url: String, name: &str) -> PostgresSource {
    PostgresSource::new(SourceOptions { url, slot: name.into(), publication: name.into(), backlog_bytes: 0 }).unwrap()
}

impl Shop {
    async fn new(setup: &str) -> Self {
        Self::on(Postgres::shared(), setup).await
    }

    async fn on(server: &Postgres, setup: &str) -> Self {
        let database = server.create_database("source");
        if !setup.is_empty() {
            database.execute(setup).await;
        }
        let source = source_of(database.url(), database.name());
        let version = database.value("SHOW server_version_num").await.parse::<u32>().unwrap() / 10_000;
        Self { database, source, version }
    }

    async fn tables(&self) -> Vec<SourceTable> {
        self.source.tables().await.unwrap()
    }

    async fn table(&self, name: &str) -> SourceTable {
        let name = TableName::new("public", name);
        self.tables().await.into_iter().find(|table| table.schema.name == name).unwrap()
    }

    async fn execute(&self, sql: &str) {
        self.database.execute(sql).await;
    }
}
