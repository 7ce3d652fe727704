//! Ways into the decoders for fuzzers: each reads bytes to the end, and gives nothing back. No part of the interface.

use crate::keys::{number, part_after, prefix};
use crate::record::{Record, decode, payload_of, sealed};
use crate::{
    AtTarget, CheckpointRecord, DeadLetterRecord, FormRecord, FormsRecord, OriginRecord, RequestRecord, SliceRecord,
    TableRecord, TableState,
};

/// The bytes as a record of every kind, as they lie on the disk and as the payload of one whose checksum is right.
pub fn record(bytes: &[u8]) {
    one::<OriginRecord>(bytes);
    one::<CheckpointRecord>(bytes);
    one::<TableRecord>(bytes);
    one::<SliceRecord>(bytes);
    one::<RequestRecord>(bytes);
    one::<DeadLetterRecord>(bytes);
    one::<FormsRecord>(bytes);
}

fn one<R: Record>(bytes: &[u8]) {
    let _ = decode::<R>(bytes);
    let _ = decode::<R>(&sealed(R::VERSION, bytes));
}

/// The bytes as a key.
pub fn key(bytes: &[u8]) {
    for start in [prefix(&[]), prefix(&["p"]), prefix(&["slice", "shop"])] {
        let _ = part_after(bytes, &start);
        let _ = part_after(&[&start, bytes].concat(), &start);
    }
    let _ = number(bytes);
}

/// Payloads of valid records, to start from.
pub fn payloads() -> Vec<Vec<u8>> {
    let text = |text: &str| text.to_owned();
    let schema_json = text(r#"{"name":{"schema":"public","name":"orders"},"columns":[]}"#);
    let forms =
        ["0/1", "0/2", "0/3"].map(|after| FormRecord { after: Some(text(after)), schema_json: schema_json.clone() });
    let table = TableRecord {
        state: TableState::CatchingUp,
        reason: Some(text("the key changed")),
        schema_json: schema_json.clone(),
        target: text("public.orders"),
        high: Some(text("0/16B3748")),
        rows_copied: 7,
        rows_compared: 9,
        compares: true,
        rows_applied: 8,
        at_target: AtTarget::Made,
        source_id: 16_384,
        columns_seen: 5,
        again: false,
        finished: true,
        dropped: vec!["old".into()],
        traces: text("{\"node\":16384}"),
    };
    let letter = DeadLetterRecord {
        table: text("public.orders"),
        position: None,
        at_us: -1,
        reason: text("too long"),
        keys: vec![b"t\x00\x00\x00\x017".to_vec()],
        op: text("insert"),
        row: b"t\x00\x00\x00\x017n".to_vec(),
        queued: false,
        schema_json,
    };
    let slice =
        SliceRecord { range_json: text(r#"{"Pages":[0,9]}"#), done: true, high: Some(text("0/2")), rows: 3, bytes: 99 };
    let origin = OriginRecord {
        source: text("7000/1"),
        target: text("sqlite:1"),
        source_name: text("shop at db:5432"),
        target_name: text("shop.db"),
        branch: Some(text("1")),
    };
    let request = RequestRecord { kind: text("resync"), table: Some(text("public.orders")), detail: String::new() };
    let checkpoint = CheckpointRecord { position: text("0/16B3748"), committed_at_us: Some(-1), saved_at_us: i64::MAX };
    vec![
        payload_of(&FormsRecord { forms: forms.to_vec() }),
        payload_of(&table),
        payload_of(&letter),
        payload_of(&slice),
        payload_of(&origin),
        payload_of(&request),
        payload_of(&checkpoint),
    ]
}
