//! MySQL and MariaDB as a target, against real servers: what tables are made, and what batches and ranges leave behind.

#![allow(clippy::unwrap_used)]

#[path = "../../../api/tests/support/applier.rs"]
mod applier;
mod batches;
mod forms;
mod load;
mod ranges;
mod turns;
mod values;

use applier::*;
use futures_util::StreamExt;
use rowferry_api::{
    Alteration, Applier, Cell, Column, Created, Dialect, ErrorKind, Fill, ForeignKey, Identity, Index, Key,
    PartialUpdate, Position, Range, Row, RowBuilder, Severity, Source, Step, TableName, TableRows, TableSchema, Target,
    Type,
};
use rowferry_mysql::{MysqlSource, MysqlTarget, SourceOptions, TargetOptions};
use rowferry_testkit::{Mysql, MysqlDatabase};
use std::sync::Arc;

/// Two databases: one gives tables their forms, the other is written to.
struct Ferry {
    source: MysqlDatabase,
    target: MysqlDatabase,
}

impl Ferry {
    async fn new(source_setup: &str, target_setup: &str) -> Self {
        let server = Mysql::shared();
        let ferry = Self { source: server.create_database("from"), target: server.create_database("into") };
        ferry.source.execute(source_setup).await;
        ferry.target.execute(target_setup).await;
        ferry
    }

    /// The form of a source's table, with the target's name.
    async fn form(&self, name: &str) -> Arc<TableSchema> {
        let options = SourceOptions {
            url: self.source.url(),
            server_id: 0,
            pipeline: "unused".into(),
            zero_dates: "text".into(),
        };
        let tables = MysqlSource::new(options).unwrap().tables().await.unwrap();
        let found = tables.into_iter().find(|table| table.schema.name == TableName::new(self.source.name(), name));
        let mut form = (*found.unwrap().schema).clone();
        form.name = self.target().table_name(&form.name);
        for key in &mut form.foreign_keys {
            key.references = self.target().table_name(&key.references);
        }
        Arc::new(form)
    }

    fn target(&self) -> MysqlTarget {
        MysqlTarget::new(TargetOptions { url: self.target.url() }).unwrap()
    }

    /// An applier, with the pipeline at position 0.
    async fn applier(&self) -> Box<dyn Applier> {
        let (target, pipeline) = (self.target(), self.target.name());
        target.prepare(pipeline, &Identity::new("source"), &Position::new("0"), true).await.unwrap();
        target.open_applier(pipeline).await.unwrap()
    }

    /// The target's rows, one a line, NULL as `-`.
    async fn rows(&self, sql: &str) -> Vec<String> {
        lines(self.target.query_text(sql).await)
    }

    /// What the target's own reader says of a table, rows by key.
    async fn read(&self, form: &TableSchema, range: &Range) -> Vec<String> {
        let mut reader = self.target().open_tables().await.unwrap();
        let mut blocks = reader.read(form, range, true).await.unwrap();
        let mut lines = Vec::new();
        while let Some(block) = blocks.next().await {
            lines.extend(block.unwrap().lines().map(|line| String::from_utf8_lossy(line).into_owned()));
        }
        lines
    }
}

fn range(after: Option<&str>, upto: Option<&str>) -> Range {
    Range::Keys { after: after.map(key), upto: upto.map(key) }
}
