//! The merge on blocks made by hand, and what three reads of a row say.

use super::*;
use bytes::Bytes;
use proptest::prelude::*;
use rowferry_api::{Block, BlockStream, Column, Dialect, Fill, TableName, Type};
use std::collections::BTreeMap;

fn form() -> TableSchema {
    let column = |name: &str, ty| Column {
        id: 0,
        name: name.into(),
        ty,
        native: String::new(),
        nullable: true,
        default: None,
        identity: false,
        generated: None,
        fill: Fill::Null,
    };
    TableSchema::new(
        TableName::new("public", "t"),
        Dialect::Postgres,
        vec![column("id", Type::Int { bits: 64, unsigned: false }), column("v", Type::Text)],
        vec![0],
    )
}

/// MariaDB into MySQL: documents by what they mean. PostgreSQL into MariaDB: no minus zero.
#[test]
fn what_an_end_does_not_keep_counts_as_equal_and_nothing_else_does() {
    let hash = |ty: Type, text: &str, alike| {
        let mut form = form();
        form.columns[1].ty = ty;
        let mut rows = Rows::new(blocks(&[format!("1\t{text}\n")], 1), &form, alike);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert!(runtime.block_on(rows.advance()).unwrap());
        rows.hash()
    };
    let strict = Alike::default();
    let (documents, zeros) = (Alike { documents: true, zeros: false }, Alike { documents: false, zeros: true });
    let json = |text, alike| hash(Type::Json, text, alike);
    assert_eq!(json("{\"b\": 1.0, \"a\": 2}", documents), json("{\"a\":2,\"b\":1}", documents));
    assert_ne!(json("{\"b\": 1.0, \"a\": 2}", documents), json("{\"a\":2,\"b\":3}", documents));
    assert_ne!(json("[1, 2]", strict), json("[1,2]", strict));
    assert_eq!(json("no document", documents), json("no document", strict));
    assert_ne!(hash(Type::Text, "[1, 2]", documents), hash(Type::Text, "[1,2]", documents));
    let float = |text, alike| hash(Type::Float { bits: 64 }, text, alike);
    assert_eq!(float("-0", zeros), float("0", zeros));
    assert_ne!(float("-0", documents), float("0", documents));
    assert_ne!(float("-1", zeros), float("1", zeros));
}

fn blocks(lines: &[String], per_block: usize) -> BlockStream<'static> {
    let block = |lines: &[String]| Ok(Block::new(Bytes::from(lines.concat())));
    let blocks: Vec<Result<Block>> = lines.chunks(per_block).map(block).collect();
    Box::pin(futures_util::stream::iter(blocks))
}

fn merged(left: &[String], right: &[String], per_block: usize, kept: usize) -> merge::Merged {
    let form = form();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let rows = |lines| Rows::new(blocks(lines, per_block), &form, Alike::default());
    runtime.block_on(merge(rows(left), rows(right), kept)).unwrap()
}

fn key(id: i64) -> Key {
    Key::from_cells([Cell::Text(id.to_string().as_bytes())])
}

proptest! {
    #[test]
    fn what_differs_is_what_a_map_says(
        left in prop::collection::btree_map(-20i64..20, "[ab]{0,1}", 0..20),
        right in prop::collection::btree_map(-20i64..20, "[ab]{0,1}", 0..20),
        per_block in 1..5usize,
    ) {
        let lines = |rows: &BTreeMap<i64, String>| -> Vec<String> {
            rows.iter().map(|(id, value)| format!("{id}\t{value}\n")).collect()
        };
        let merged = merged(&lines(&left), &lines(&right), per_block, 0);
        let ids: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).collect();
        let wanted: Vec<_> = ids
            .into_iter()
            .filter(|id| left.get(id) != right.get(id))
            .map(|id| (key(*id), Kind::of(left.contains_key(id), right.contains_key(id))))
            .collect();
        let count = |kind| wanted.iter().filter(|(_, other)| *other == kind).count() as u64;
        prop_assert_eq!(merged.counts, Counts {
            source_rows: left.len() as u64,
            target_rows: right.len() as u64,
            differing: count(Kind::Differing),
            missing: count(Kind::Missing),
            extra: count(Kind::Extra),
        });
        prop_assert_eq!(merged.keys.unwrap(), wanted);
        prop_assert!(!merged.out_of_order);
    }
}

#[test]
fn too_many_keys_are_counted_only() {
    let lines = ["1\ta\n", "2\ta\n"].map(String::from);
    let found = merged(&lines, &[], 1, 99_999);
    assert_eq!((found.keys, found.counts.missing), (None, 2));
    assert_eq!(merged(&lines, &[], 1, 99_998).keys.unwrap().len(), 2);
}

#[test]
fn rows_out_of_order_are_noticed() {
    let sorted = ["2\ta\n", "10\ta\n"].map(String::from);
    let as_text = ["10\ta\n", "2\ta\n"].map(String::from);
    assert!(!merged(&sorted, &sorted, 1, 0).out_of_order);
    assert!(merged(&sorted, &as_text, 1, 0).out_of_order);
}

#[test]
fn a_row_of_other_cells_is_an_error() {
    let form = form();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut rows = Rows::new(blocks(&["1\n".into()], 1), &form, Alike::default());
    assert_eq!(runtime.block_on(rows.advance()).unwrap_err().kind(), ErrorKind::Protocol);
}

#[test]
fn rows_that_share_a_key_equal_no_row() {
    let form = form();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let of = |lines: &[&str]| {
        let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        runtime.block_on(hashes(Rows::new(blocks(&lines, 10), &form, Alike::default()))).unwrap()
    };
    let one = of(&["1\ta\n"]);
    assert_eq!(one.keys().copied().collect::<Vec<_>>(), [rows::key_id(&form, &key(1))]);
    assert_ne!(of(&["1\ta\n", "1\ta\n"]), one);
}

/// What becomes of a row that was missing at the target, by what three reads of it say: the rows that are counted at
/// both ends, and what it is taken for.
fn judged(first: Option<u128>, here: Option<u128>, then: Option<u128>) -> (u64, u64, &'static str) {
    let mut comparison = Comparison { source_rows: 1, ..Comparison::default() };
    let before = Suspect::new((key(1), Kind::Missing));
    comparison.judge(&before, first.as_ref(), here.as_ref(), then.as_ref());
    let verdict = match comparison.suspects.first() {
        None => "equal",
        Some(Suspect { moving: true, .. }) => "moving",
        Some(Suspect { kind: Kind::Differing, .. }) => "differing",
        Some(Suspect { kind: Kind::Missing, .. }) => "missing",
        Some(Suspect { kind: Kind::Extra, .. }) => "extra",
    };
    (comparison.source_rows, comparison.target_rows, verdict)
}

#[test]
fn three_reads_tell_what_is_real() {
    assert_eq!(judged(Some(1), Some(1), Some(1)), (1, 1, "equal"), "it has arrived");
    assert_eq!(judged(None, None, None), (0, 0, "equal"), "it is gone at both ends");
    assert_eq!(judged(Some(1), Some(1), Some(2)), (1, 1, "equal"), "the target has what the source had");
    assert_eq!(judged(Some(1), Some(1), None), (0, 0, "equal"), "deleted after the target was read");
    assert_eq!(judged(Some(1), Some(2), Some(2)), (1, 1, "equal"), "the target is ahead of the first read");
    assert_eq!(judged(Some(1), None, Some(1)), (1, 0, "missing"));
    assert_eq!(judged(Some(1), Some(2), Some(1)), (1, 1, "differing"));
    assert_eq!(judged(None, Some(1), None), (0, 1, "extra"));
    assert_eq!(judged(Some(1), Some(2), Some(3)), (1, 1, "moving"));
}

#[test]
fn rows_that_move_count_as_the_same_at_both_ends() {
    let mut comparison = Comparison { source_rows: 5, target_rows: 4, ..Comparison::default() };
    comparison.suspects = vec![Suspect { moving: true, ..Suspect::new((key(1), Kind::Missing)) }];
    let found = comparison.ended();
    assert_eq!((found.source_rows, found.target_rows, found.moving), (5, 5, 1));
    assert!(found.differences.is_empty());
}

#[test]
fn a_report_names_samples_and_what_else_is_to_be_said() {
    let counts = Counts { missing: 200_000, ..Counts::default() };
    let found = Found {
        source_rows: 200_003,
        target_rows: 3,
        differences: Differences::new(vec![(key(7), Kind::Differing)], vec![(Range::Whole, counts)]),
        moving: 0,
    };
    let report = TableReport::of("public.t", &found);
    assert_eq!((report.differing, report.missing, report.extra), (1, 200_000, 0));
    let document = serde_json::to_value(&report).unwrap();
    assert_eq!(document["status"], "differ");
    assert_eq!(document["samples"][0], "('7')");
    let text = render(&[report, TableReport::skipped("public.other", "it has no key")]);
    assert!(
        text.contains("DIFFER") && text.contains("too many rows differ") && text.contains("it has no key"),
        "{text}"
    );
    let widths: Vec<usize> = text.lines().filter(|line| line.starts_with("public")).map(str::len).collect();
    assert_eq!(widths[0], widths[1], "{text}");
}
