//! Forms, rows and blocks for tests, and a look into the file that shares no code with the connector.
#![allow(dead_code, clippy::unwrap_used, missing_docs, unreachable_pub)]

use bytes::{BufMut, BytesMut};
use futures_util::StreamExt;
use rowferry_api::*;
use rowferry_sqlite::{SqliteOptions, SqliteTarget};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub const INT: Type = Type::Int { bits: 64, unsigned: false };

/// A column that may hold NULL.
pub fn column(name: &str, ty: Type) -> Column {
    Column {
        id: 0,
        name: name.into(),
        native: format!("{ty:?}").to_lowercase(),
        ty,
        nullable: true,
        default: None,
        identity: false,
        generated: None,
        fill: Fill::Null,
    }
}

/// A form whose first `key` columns are its key.
pub fn table(name: &str, key: usize, mut columns: Vec<Column>) -> TableSchema {
    columns[..key].iter_mut().for_each(|column| column.nullable = false);
    TableSchema::new(TableName::new("", name), Dialect::Postgres, columns, (0..key).collect())
}

pub fn index(name: &str, unique: bool, columns: &[&str]) -> Index {
    Index {
        name: name.into(),
        unique,
        columns: columns.iter().map(|&name| name.into()).collect(),
        partial: false,
        definition: format!("CREATE INDEX {name} ON {{table}} USING btree ({})", columns.join(", ")),
        constraint: None,
    }
}

pub const UNCHANGED: &str = "<unchanged>";

/// A row of texts; [`UNCHANGED`] stands for a cell that the log did not carry.
pub fn row(cells: &[Option<&str>]) -> Row {
    let mut builder = RowBuilder::new();
    for cell in cells {
        builder.push(match cell {
            None => Cell::Null,
            Some(text) if *text == UNCHANGED => Cell::Unchanged,
            Some(text) => Cell::Text(text.as_bytes()),
        });
    }
    builder.finish()
}

pub fn key(cells: &[&str]) -> Key {
    Key::from_cells(cells.iter().map(|text| Cell::Text(text.as_bytes())))
}

pub fn rows(table: &TableSchema, deletes: Vec<Key>, updates: Vec<PartialUpdate>, upserts: Vec<Row>) -> Step {
    Step::Rows(TableRows { deletes, updates, upserts, ..TableRows::new(Arc::new(table.clone())) })
}

pub fn batch(steps: Vec<Step>, end: Option<&str>) -> Batch {
    Batch { steps, end: end.map(Position::new), staged: false }
}

/// Blocks of one row each.
pub fn blocks(rows: Vec<Vec<Option<String>>>) -> BlockStream<'static> {
    let blocks: Vec<Result<Block>> = rows.into_iter().map(|row| Ok(Block::new(copy_text(&row)))).collect();
    Box::pin(futures_util::stream::iter(blocks))
}

pub fn copy_text(row: &[Option<String>]) -> bytes::Bytes {
    let mut out = BytesMut::new();
    for (at, cell) in row.iter().enumerate() {
        if at > 0 {
            out.put_u8(b'\t');
        }
        encode_copy_cell(cell.as_deref().map(str::as_bytes), &mut out);
    }
    out.put_u8(b'\n');
    out.freeze()
}

pub fn texts(rows: &[&[Option<&str>]]) -> Vec<Vec<Option<String>>> {
    rows.iter().map(|row| row.iter().map(|cell| cell.map(str::to_owned)).collect()).collect()
}

/// A target in a folder of its own, with pipeline `p` at position `0`.
pub struct Place {
    pub folder: tempfile::TempDir,
    pub file: PathBuf,
    pub target: SqliteTarget,
}

impl Place {
    pub async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("copy.db");
        let target = open(&file);
        target.prepare("p", &Identity::new("source"), &Position::new("0"), false).await.unwrap();
        Self { folder, file, target }
    }

    pub async fn applier(&self) -> Box<dyn Applier> {
        self.target.open_applier("p").await.unwrap()
    }

    pub fn sql(&self, sql: &str) {
        self.connection().execute_batch(sql).unwrap();
    }

    pub fn connection(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(&self.file).unwrap()
    }

    /// `typeof:value` of every cell, as SQLite says it.
    pub fn stored(&self, query: &str) -> Vec<Vec<String>> {
        let connection = self.connection();
        let mut statement = connection.prepare(query).unwrap();
        let count = statement.column_count();
        let cells = |row: &rusqlite::Row<'_>| (0..count).map(|at| row.get_ref(at).map(show)).collect();
        statement.query_map([], cells).unwrap().collect::<rusqlite::Result<_>>().unwrap()
    }

    pub async fn read(&self, table: &TableSchema, range: &Range) -> Vec<Vec<Option<String>>> {
        let mut reader = self.target.open_tables().await.unwrap();
        read(&mut *reader, table, range).await.unwrap()
    }

    pub async fn position(&self) -> String {
        self.target.position("p").await.unwrap().unwrap().position.to_string()
    }
}

pub fn open(file: &Path) -> SqliteTarget {
    SqliteTarget::new(SqliteOptions { path: file.to_owned() }).unwrap()
}

fn show(value: rusqlite::types::ValueRef<'_>) -> String {
    use rusqlite::types::ValueRef;
    match value {
        ValueRef::Null => "null".into(),
        ValueRef::Integer(number) => format!("integer:{number}"),
        ValueRef::Real(number) => format!("real:{number:?}"),
        ValueRef::Text(text) => format!("text:{}", String::from_utf8_lossy(text)),
        ValueRef::Blob(bytes) => format!("blob:{bytes:02x?}"),
    }
}

/// All rows of a range, in key order.
pub async fn read(
    reader: &mut dyn TableReader,
    table: &TableSchema,
    range: &Range,
) -> Result<Vec<Vec<Option<String>>>> {
    let mut stream = reader.read(table, range, true).await?;
    let mut rows = Vec::new();
    while let Some(block) = stream.next().await {
        let block = block?;
        assert_eq!(block.lines().count() as u64, block.rows);
        for line in block.lines() {
            let mut row = Vec::new();
            decode_copy_row(line, &mut Vec::new(), |_, cell| {
                row.push(cell.map(|text| String::from_utf8(text.to_vec()).unwrap()));
            });
            rows.push(row);
        }
    }
    Ok(rows)
}

/// The cells in the form that says whether two values are equal.
pub fn canonical(table: &TableSchema, row: &[Option<String>]) -> Vec<u8> {
    let mut out = Vec::new();
    for (column, cell) in table.columns.iter().zip(row) {
        canonical_cell(&column.ty, cell.as_deref().map_or(Cell::Null, |text| Cell::Text(text.as_bytes())), &mut out);
    }
    out
}
