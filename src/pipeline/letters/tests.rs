//! Letters against a real state directory.

use super::*;
use rowferry_api::{Dialect, RowBuilder, TableName};

struct Fixture {
    letters: Letters,
    dir: tempfile::TempDir,
}

fn open(dir: &std::path::Path, bounds: Bounds) -> Letters {
    let store = Store::open(dir).unwrap();
    let state = store.pipeline("p").unwrap();
    Letters { bounds, ..Letters::open(store, state).unwrap() }
}

impl Fixture {
    fn new(bounds: Bounds) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { letters: open(dir.path(), bounds), dir }
    }

    /// As the next process finds them.
    fn reopened(self) -> Self {
        let Self { letters, dir } = self;
        let bounds = letters.bounds;
        drop(letters);
        Self { letters: open(dir.path(), bounds), dir }
    }

    /// Ids and keys, and whether they are queued.
    async fn kept(&self) -> Vec<(u64, Vec<String>, bool)> {
        let page = self.letters.page(None, None, 1000).await.unwrap();
        let keys = |record: &DeadLetterRecord| {
            record.keys.iter().map(|key| key_of(key.clone()).unwrap().to_string()).collect::<Vec<_>>()
        };
        page.iter().map(|(id, record)| (*id, keys(record), record.queued)).collect()
    }
}

fn form() -> Arc<TableSchema> {
    Arc::new(TableSchema::new(TableName::new("public", "t"), Dialect::Postgres, Vec::new(), vec![0]))
}

fn key(text: &str) -> Key {
    Key::from_cells([Cell::Text(text.as_bytes())])
}

fn letter(keys: &[&str], row_bytes: usize) -> Letter {
    let mut builder = RowBuilder::new();
    builder.push(Cell::Text(&vec![b'x'; row_bytes]));
    let row = Some(builder.finish());
    let keys = keys.iter().map(|text| key(text)).collect();
    Letter { table: "public.t".into(), form: form(), op: "insert", keys, row, reason: "refused".into() }
}

fn said(expected: &[(u64, &[&str], bool)]) -> Vec<(u64, Vec<String>, bool)> {
    let keys = |keys: &[&str]| keys.iter().map(|key| format!("('{key}')")).collect();
    expected.iter().map(|(id, one, queued)| (*id, keys(one), *queued)).collect()
}

const FEW: Bounds = Bounds { letters: 3, bytes: 1 << 20 };

#[tokio::test]
async fn a_row_has_one_letter_and_settled_rows_leave_theirs() {
    let all = Fixture::new(FEW);
    all.letters.add(&[letter(&["a"], 1), letter(&["b", "c"], 1), letter(&["a"], 2)], None).await.unwrap();
    assert_eq!(all.kept().await, said(&[(1, &["b", "c"], false), (2, &["a"], false)]), "within one call too");
    all.letters.settle("public.t", Some(&[key("b")]), u64::MAX).await.unwrap();
    all.letters.add(&[letter(&["a"], 3)], None).await.unwrap();
    assert_eq!(all.kept().await, said(&[(1, &["c"], false), (3, &["a"], false)]));
    let all = all.reopened();
    all.letters.settle("public.t", Some(&[key("a"), key("c")]), 3).await.unwrap();
    assert_eq!(all.kept().await, said(&[(3, &["a"], false)]), "one that came later than what settles it stays");
    all.letters.settle("public.other", None, u64::MAX).await.unwrap();
    assert_eq!(all.letters.count("public.t"), 1);
    all.letters.settle("public.t", None, u64::MAX).await.unwrap();
    assert_eq!((all.letters.count("public.t"), all.letters.any()), (0, false));
    all.letters.add(&[letter(&["z"], 1)], None).await.unwrap();
    assert_eq!(all.kept().await, said(&[(4, &["z"], false)]), "no id comes twice");
}

#[tokio::test]
async fn queued_ones_go_when_the_table_is_in_step() {
    let all = Fixture::new(FEW);
    all.letters.add(&[letter(&["a"], 1), letter(&["b", "c"], 1), letter(&["d"], 1)], None).await.unwrap();
    all.letters.queue("public.t", Some(&[key("a"), key("b")])).await.unwrap();
    let all = all.reopened();
    assert_eq!(all.kept().await, said(&[(0, &["a"], true), (1, &["b", "c"], false), (2, &["d"], false)]));
    // Refused once more before that.
    all.letters.queue("public.t", Some(&[key("d")])).await.unwrap();
    all.letters.add(&[letter(&["d"], 1)], None).await.unwrap();
    all.letters.settle_queued("public.t").await.unwrap();
    assert_eq!(all.kept().await, said(&[(1, &["b", "c"], false), (3, &["d"], false)]));
    assert_eq!(all.letters.discard(&Which::Tables(vec!["public.t".into()])).await.unwrap(), 2);
    assert!(all.letters.ids(&Which::Ids(vec![1])).is_err());
}

#[tokio::test]
async fn their_number_and_their_bytes_are_bounded_and_a_large_row_is_left_out() {
    let all = Fixture::new(FEW);
    let three = [letter(&["a"], 1), letter(&["b"], 1), letter(&["c"], 1)];
    all.letters.add(&three, None).await.unwrap();
    let error = all.letters.add(&[letter(&["d"], 1)], None).await.unwrap_err();
    assert!(error.to_string().contains("4 of") && error.hint_text().unwrap().contains("dead-letters"), "{error}");
    all.letters.add(&[letter(&["c"], 2)], None).await.expect("it takes another one's place");
    all.letters.settle("public.t", None, u64::MAX).await.unwrap();

    let two = [letter(&["a"], 600_000), letter(&["b"], 600_000)];
    assert!(all.letters.add(&two, None).await.is_err(), "together more than a MiB");
    assert_eq!(all.kept().await, said(&[]), "none of those that do not fit together");
    all.letters.add(&[letter(&["a"], LARGEST_ROW_BYTES + 1)], None).await.unwrap();
    let page = all.letters.page(None, None, 1).await.unwrap();
    assert_eq!(page[0].1.row, Vec::<u8>::new());
}
