//! MySQL and MariaDB as a target, against real servers: what tables are made, and what batches and ranges leave behind.

#![allow(clippy::unwrap_used)]

mod batches;
mod forms;
mod ranges;
mod values;

use bytes::{BufMut, BytesMut};
use futures_util::StreamExt;
use rowferry_api::{
    Alteration, Applier, Batch, Block, BlockStream, Cell, Column, Created, Dialect, Error, ErrorKind, Fill, ForeignKey,
    Identity, Index, Key, PartialUpdate, Position, Range, Replaced, Row, RowBuilder, Severity, Source, Step, TableName,
    TableRows, TableSchema, Target, Type, encode_copy_cell,
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

fn lines(rows: Vec<Vec<Option<String>>>) -> Vec<String> {
    let line = |row: Vec<Option<String>>| {
        row.into_iter().map(|cell| cell.unwrap_or_else(|| "-".into())).collect::<Vec<_>>().join(" ")
    };
    rows.into_iter().map(line).collect()
}

/// `-` is NULL, `?` unchanged.
fn cell(text: &str) -> Cell<'_> {
    match text {
        "-" => Cell::Null,
        "?" => Cell::Unchanged,
        text => Cell::Text(text.as_bytes()),
    }
}

fn row(cells: &str) -> Row {
    let mut builder = RowBuilder::new();
    cells.split(' ').for_each(|text| builder.push(cell(text)));
    builder.finish()
}

fn key(cells: &str) -> Key {
    Key::from_cells(cells.split(' ').map(cell))
}

fn nothing(table: &Arc<TableSchema>) -> TableRows {
    TableRows::new(table.clone())
}

fn upserts(table: &Arc<TableSchema>, rows: &[&str]) -> Step {
    Step::Rows(TableRows { upserts: rows.iter().map(|cells| row(cells)).collect(), ..nothing(table) })
}

fn inserts(table: &Arc<TableSchema>, rows: &[&str]) -> Step {
    Step::Rows(TableRows { inserts: rows.iter().map(|cells| row(cells)).collect(), ..nothing(table) })
}

fn updates(table: &Arc<TableSchema>, rows: &[(&str, &str)]) -> Step {
    let update = |&(old, cells): &(&str, &str)| PartialUpdate { key: key(old), row: row(cells) };
    Step::Rows(TableRows { updates: rows.iter().map(update).collect(), ..nothing(table) })
}

fn deletes(table: &Arc<TableSchema>, keys: &[&str]) -> Step {
    Step::Rows(TableRows { deletes: keys.iter().map(|cells| key(cells)).collect(), ..nothing(table) })
}

async fn apply(applier: &mut Box<dyn Applier>, steps: Vec<Step>, end: Option<&str>) -> Result<Vec<String>, Error> {
    let applied = applier.apply(&Batch { steps, end: end.map(Position::new) }).await?;
    Ok(applied.missing.iter().map(|(_, key)| key.to_string()).collect())
}

fn block<'a>(rows: impl IntoIterator<Item = Vec<Option<&'a [u8]>>>) -> BlockStream<'static> {
    let mut data = BytesMut::new();
    for cells in rows {
        for (place, cell) in cells.into_iter().enumerate() {
            if place > 0 {
                data.put_u8(b'\t');
            }
            encode_copy_cell(cell, &mut data);
        }
        data.put_u8(b'\n');
    }
    Box::pin(futures_util::stream::iter([Ok(Block::new(data.freeze()))]))
}

fn blocks(rows: &[&str]) -> BlockStream<'static> {
    let cells = |row: &&'static str| row.split(' ').map(|text| (text != "-").then_some(text.as_bytes())).collect();
    let rows: Vec<&'static str> = rows.iter().map(|row| &*Box::leak((*row).to_owned().into_boxed_str())).collect();
    block(rows.iter().map(cells).collect::<Vec<_>>())
}

async fn replace(applier: &mut Box<dyn Applier>, table: &TableSchema, range: &Range, rows: &[&str]) -> Replaced {
    applier.replace(table, range, blocks(rows)).await.unwrap()
}

fn range(after: Option<&str>, upto: Option<&str>) -> Range {
    Range::Keys { after: after.map(key), upto: upto.map(key) }
}
