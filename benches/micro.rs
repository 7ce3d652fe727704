//! The inner loops by themselves: a row of the log decoded, changes made net, a row encoded for COPY.
//!
//!     cargo bench -p rowferry-benches --bench micro

use bytes::{BufMut, Bytes, BytesMut};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use rowferry::net::net_changes;
use rowferry_api::{Cell, Change, Column, Dialect, Fill, Key, Op, Row, TableName, TableSchema, Type, encode_copy_cell};
use rowferry_postgres::pgoutput::{Message, decode};
use std::sync::Arc;

/// Changes of one round.
const CHANGES: usize = 8_192;
const RELATION: u32 = 16_384;
const COLUMNS: [(&str, Type, &str); 8] = [
    ("id", Type::Int { bits: 64, unsigned: false }, "bigint"),
    ("a", Type::Int { bits: 32, unsigned: false }, "integer"),
    ("t", Type::Text, "text"),
    ("n", Type::Numeric, "numeric"),
    ("v", Type::Text, "text"),
    ("j", Type::Json, "jsonb"),
    ("c", Type::TimestampTz, "timestamp with time zone"),
    ("d", Type::TimestampTz, "timestamp with time zone"),
];

fn main() {
    divan::main();
}

fn texts(id: usize) -> [String; 8] {
    let at = "2026-01-02 03:04:05.678901+00".to_owned();
    let json = format!("{{\"k\": {id}, \"tags\": [\"a\", \"b\"]}}");
    let number = format!("{id}.1428571428571429");
    [id.to_string(), "42".into(), format!("text {id}"), number, "x".repeat(40), json, at.clone(), at]
}

/// An Insert as the server sends it.
fn insert(id: usize) -> Bytes {
    let mut message = BytesMut::new();
    message.put_u8(b'I');
    message.put_u32(RELATION);
    message.put_u8(b'N');
    message.put_u16(8);
    for text in texts(id) {
        message.put_u8(b't');
        message.put_u32(u32::try_from(text.len()).expect("a short text"));
        message.put_slice(text.as_bytes());
    }
    message.freeze()
}

fn row(id: usize) -> Row {
    match decode(insert(id), |_| Some(8)) {
        Ok(Message::Insert { new, .. }) => new,
        other => panic!("{other:?}"),
    }
}

fn table() -> Arc<TableSchema> {
    let column = |&(name, ref ty, native): &(&str, Type, &str)| Column {
        id: 0,
        name: name.to_owned(),
        ty: ty.clone(),
        native: native.to_owned(),
        nullable: name != "id",
        default: None,
        identity: false,
        generated: None,
        fill: Fill::Null,
    };
    Arc::new(TableSchema::new(
        TableName::new("public", "t"),
        Dialect::Postgres,
        COLUMNS.iter().map(column).collect(),
        vec![0],
    ))
}

#[divan::bench]
fn decode_insert(bencher: Bencher<'_, '_>) {
    let messages: Vec<Bytes> = (0..CHANGES).map(insert).collect();
    let bytes: usize = messages.iter().map(Bytes::len).sum();
    bencher.counter(ItemsCount::new(CHANGES)).counter(BytesCount::new(bytes)).bench_local(|| {
        for message in &messages {
            let _ = divan::black_box(decode(message.clone(), |_| Some(8)));
        }
    });
}

/// Updates of ever fewer rows: each is written once, with its last cells.
#[divan::bench(args = [CHANGES, 1_024, 100])]
fn net_updates(bencher: Bencher<'_, '_>, keys: usize) {
    let table = table();
    let update = |number: usize| {
        let id = number % keys;
        let key = Key::from_cells([Cell::Text(id.to_string().as_bytes())]);
        Change { table: table.clone(), op: Op::Update { key, after: row(id) } }
    };
    let changes: Vec<Change> = (0..CHANGES).map(update).collect();
    bencher.counter(ItemsCount::new(CHANGES)).bench_local(|| net_changes(divan::black_box(&changes)));
}

#[divan::bench]
fn net_inserts(bencher: Bencher<'_, '_>) {
    let table = table();
    let changes: Vec<Change> =
        (0..CHANGES).map(|id| Change { table: table.clone(), op: Op::Insert(row(id)) }).collect();
    bencher.counter(ItemsCount::new(CHANGES)).bench_local(|| net_changes(divan::black_box(&changes)));
}

#[divan::bench]
fn encode_copy(bencher: Bencher<'_, '_>) {
    let rows: Vec<Row> = (0..CHANGES).map(row).collect();
    let bytes: usize = rows.iter().map(|row| row.as_bytes().len()).sum();
    bencher.counter(ItemsCount::new(CHANGES)).counter(BytesCount::new(bytes)).bench_local(|| {
        let mut out = BytesMut::with_capacity(bytes + bytes / 8);
        for row in &rows {
            for cell in row.cells() {
                match cell {
                    Cell::Text(text) => encode_copy_cell(Some(text), &mut out),
                    _ => encode_copy_cell(None, &mut out),
                }
                out.put_u8(b'\t');
            }
        }
        out
    });
}
