//! PostgreSQL as a target, against real servers: what tables fit, and what batches and ranges leave behind.

#![allow(clippy::unwrap_used)]

#[path = "../../../api/tests/support/applier.rs"]
mod applier;
mod batches;
mod forms;
mod ranges;
mod turns;
mod values;

use applier::*;
use futures_util::StreamExt;
use rowferry_api::{
    Alteration, Applier, Batch, Cell, Created, Encoding, ErrorKind, Identity, Position, Range, RowBuilder, Source,
    Step, TableName, TableReader, TableRows, TableSchema, Target, TypeDefKind,
};
use rowferry_postgres::{PostgresSource, PostgresTarget, SourceOptions, TargetOptions};
use rowferry_testkit::{Database, Postgres};
use std::sync::Arc;

const PIPELINE: &str = "p";

/// Two databases: one gives tables their forms, the other is written to.
struct Ferry {
    source: Database,
    target: Database,
}

impl Ferry {
    async fn new(source_setup: &str, target_setup: &str) -> Self {
        let server = Postgres::shared();
        let ferry = Self { source: server.create_database("from"), target: server.create_database("into") };
        ferry.source.execute(source_setup).await;
        ferry.target.execute(target_setup).await;
        ferry
    }

    fn source(&self) -> PostgresSource {
        let options = SourceOptions {
            url: self.source.url(),
            slot: "unused".into(),
            publication: "unused".into(),
            backlog_bytes: 0,
        };
        PostgresSource::new(options).unwrap()
    }

    async fn reader(&self) -> Box<dyn TableReader> {
        self.source().open_tables().await.unwrap()
    }

    async fn form(&self, name: &str) -> Arc<TableSchema> {
        let tables = self.source().tables().await.unwrap();
        let name = TableName::new("public", name);
        tables.into_iter().find(|table| table.schema.name == name).unwrap().schema
    }

    /// An applier, with the pipeline at position 0.
    async fn applier(&self) -> Box<dyn Applier> {
        self.applier_at(self.target.url()).await
    }

    async fn applier_at(&self, url: String) -> Box<dyn Applier> {
        let target = PostgresTarget::new(TargetOptions { url }).unwrap();
        target.prepare(PIPELINE, &Identity::new("source"), &Position::new("0"), true).await.unwrap();
        target.open_applier(PIPELINE).await.unwrap()
    }

    /// Why a table of the target does not fit; empty if it does.
    async fn differences(&self, name: &str) -> String {
        match self.applier().await.create(&*self.form(name).await).await {
            Ok(created) => {
                assert_ne!(created, Created::New);
                String::new()
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Schema, "{error}");
                error.to_string()
            }
        }
    }

    /// The target's rows, one a line, NULL as `-`.
    async fn rows(&self, sql: &str) -> Vec<String> {
        lines(self.target.query_text(sql).await)
    }
}

async fn version() -> u32 {
    let number = Postgres::shared().create_database("version").value("SHOW server_version_num").await;
    number.parse::<u32>().unwrap() / 10_000
}
