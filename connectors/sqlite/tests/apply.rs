//! Batches against a model that applies row by row; transactions, parts and positions.

#![allow(clippy::unwrap_used)]

mod support;

use proptest::prelude::*;
use rowferry_api::*;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use support::*;

/// What one step does to one key.
#[derive(Debug, Clone)]
enum Change {
    Delete(u8),
    Upsert(u8, Option<String>, i64),
    /// Key before, key after, cells (`None`: unchanged).
    Update(u8, u8, Option<Option<String>>, Option<i64>),
    Truncate,
}

type Model = BTreeMap<u8, (Option<String>, i64)>;

fn change() -> impl Strategy<Value = Change> {
    let text = || prop::option::of("[a-c\\\\\t]{0,2}");
    prop_oneof![
        3 => (0..12u8).prop_map(Change::Delete),
        6 => (0..12u8, text(), any::<i64>()).prop_map(|(key, a, b)| Change::Upsert(key, a, b)),
        6 => (0..12u8, 0..12u8, any::<bool>(), prop::option::of(text()), prop::option::of(any::<i64>()))
            .prop_map(|(key, other, moves, a, b)| Change::Update(key, if moves { other } else { key }, a, b)),
        1 => Just(Change::Truncate),
    ]
}

/// Whole batches: steps, and whether the batch ends a transaction.
fn batches() -> impl Strategy<Value = Vec<(Vec<Vec<Change>>, bool)>> {
    let step = prop::collection::vec(change(), 0..6);
    prop::collection::vec((prop::collection::vec(step, 0..4), any::<bool>()), 1..8)
}

/// How a key is shown: a single number, or a number and a text.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    Number,
    Text,
    Composite,
}

impl Shape {
    fn key(self, key: u8) -> Vec<String> {
        match self {
            Self::Number => vec![(i64::from(key) - 5).to_string()],
            Self::Text => vec![format!("k{key:02}")],
            Self::Composite => vec![(key / 4).to_string(), format!("k{}", key % 4)],
        }
    }

    fn form(self) -> TableSchema {
        let keys = match self {
            Self::Number => vec![column("id", INT)],
            Self::Text => vec![column("id", Type::Text)],
            Self::Composite => vec![column("id", INT), column("id2", Type::Text)],
        };
        let count = keys.len();
        table("t \"x\"", count, keys.into_iter().chain([column("a", Type::Text), column("b", INT)]).collect())
    }

    fn to_key(self, number: u8) -> Key {
        key(&self.key(number).iter().map(String::as_str).collect::<Vec<_>>())
    }
}

/// The step for the connector, after the model has taken it too. Changes of a key that the step has are dropped.
fn step(shape: Shape, form: &TableSchema, changes: &[Change], model: &mut Model, missing: &mut Vec<Key>) -> Step {
    if changes.iter().any(|change| matches!(change, Change::Truncate)) {
        model.clear();
        return Step::Truncate(vec![std::sync::Arc::new(form.clone())]);
    }
    let mut used = HashSet::new();
    let mut once = |keys: &[u8]| {
        keys.iter().all(|key| !used.contains(key)) && keys.iter().all(|key| used.insert(*key) || keys.len() > 1)
    };
    let (mut deletes, mut updates, mut upserts) = (Vec::new(), Vec::new(), Vec::new());
    let mut writes = Vec::new();
    for change in changes {
        match change {
            Change::Delete(key) if once(&[*key]) => deletes.push(*key),
            Change::Upsert(key, a, b) if once(&[*key]) => writes.push((*key, a.clone(), *b)),
            Change::Update(key, after, a, b) if once(&[*key, *after]) => updates.push((*key, *after, a.clone(), *b)),
            _ => {}
        }
    }
    for key in &deletes {
        model.remove(key);
    }
    let mut partial = Vec::new();
    for (before, after, a, b) in updates {
        let old = model.get(&before).cloned();
        let there = model.get(&after).cloned();
        match there.or(old) {
            Some(mut cells) => {
                model.remove(&before);
                if let Some(a) = &a {
                    cells.0 = a.clone();
                }
                if let Some(b) = b {
                    cells.1 = b;
                }
                model.insert(after, cells);
            }
            None => missing.push(shape.to_key(after)),
        }
        let mut cells: Vec<Option<String>> = shape.key(after).into_iter().map(Some).collect();
        cells.push(a.unwrap_or_else(|| Some(UNCHANGED.into())));
        cells.push(Some(b.map_or(UNCHANGED.to_owned(), |b| b.to_string())));
        let row = row(&cells.iter().map(Option::as_deref).collect::<Vec<_>>());
        partial.push(PartialUpdate { key: shape.to_key(before), row });
    }
    for (key, a, b) in writes {
        let mut cells: Vec<Option<String>> = shape.key(key).into_iter().map(Some).collect();
        cells.extend([a.clone(), Some(b.to_string())]);
        upserts.push(row(&cells.iter().map(Option::as_deref).collect::<Vec<_>>()));
        model.insert(key, (a, b));
    }
    rows(form, deletes.into_iter().map(|key| shape.to_key(key)).collect(), partial, upserts)
}

fn in_model(shape: Shape, model: &Model) -> Vec<Vec<Option<String>>> {
    let row = |(key, (a, b)): (&u8, &(Option<String>, i64))| {
        shape.key(*key).into_iter().map(Some).chain([a.clone(), Some(b.to_string())]).collect()
    };
    model.iter().map(row).collect()
}

async fn against_model(shape: Shape, batches: Vec<(Vec<Vec<Change>>, bool)>) {
    let place = Place::new().await;
    let form = shape.form();
    let mut applier = place.applier().await;
    applier.create(&form).await.unwrap();
    let mut model = Model::new();
    let mut committed = Model::new();
    let mut position = "0".to_owned();
    for (number, (steps, ends)) in batches.into_iter().enumerate() {
        let mut missing = Vec::new();
        let steps = steps.iter().map(|changes| step(shape, &form, changes, &mut model, &mut missing)).collect();
        let end = ends.then(|| (number + 1).to_string());
        let applied = applier.apply(&batch(steps, end.as_deref())).await.unwrap();
        assert_eq!(applied.missing.into_iter().map(|(_, key)| key).collect::<Vec<_>>(), missing);
        if let Some(end) = end {
            committed = model.clone();
            position = end;
        }
        assert_eq!(place.read(&form, &Range::Whole).await, in_model(shape, &committed));
        assert_eq!(place.position().await, position);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn batches_do_what_a_model_does(
        shape in prop::sample::select(vec![Shape::Number, Shape::Text, Shape::Composite]),
        batches in batches(),
    ) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(against_model(shape, batches));
    }
}

fn items() -> TableSchema {
    table("items", 1, vec![column("id", INT), column("name", Type::Text), column("n", INT)])
}

fn upsert(form: &TableSchema, cells: &[Option<&str>]) -> Step {
    rows(form, vec![], vec![], vec![row(cells)])
}

#[tokio::test]
async fn a_failed_part_leaves_the_parts_before_it() {
    let place = Place::new().await;
    let form = items();
    let mut applier = place.applier().await;
    applier.create(&form).await.unwrap();
    applier.apply(&batch(vec![upsert(&form, &[Some("1"), Some("a"), None])], None)).await.unwrap();
    let bad = vec![upsert(&form, &[Some("2"), Some("b"), None]), upsert(&form, &[Some("3"), None, Some("x")])];
    assert_eq!(applier.apply(&batch(bad.clone(), None)).await.unwrap_err().kind(), ErrorKind::BadRow);
    assert_eq!(applier.apply(&batch(bad, Some("1"))).await.unwrap_err().kind(), ErrorKind::BadRow);
    assert_eq!(place.position().await, "0");
    applier.apply(&batch(vec![upsert(&form, &[Some("4"), None, None])], None)).await.unwrap();
    applier.apply(&batch(vec![], Some("2"))).await.unwrap();
    assert_eq!(place.stored("SELECT id FROM items"), [["integer:1"], ["integer:4"]]);
    assert_eq!(place.position().await, "2");
}

#[tokio::test]
async fn a_failed_first_part_leaves_nothing_open() {
    let place = Place::new().await;
    let form = items();
    let mut applier = place.applier().await;
    applier.create(&form).await.unwrap();
    let bad = vec![upsert(&form, &[Some("1"), None, None]), upsert(&form, &[Some("x"), None, None])];
    applier.apply(&batch(bad, None)).await.unwrap_err();
    // Another writer of this target does not wait.
    place.applier().await.apply(&batch(vec![], Some("1"))).await.unwrap();
    assert_eq!(place.stored("SELECT count(*) FROM items"), [["integer:0"]]);
}

#[tokio::test]
async fn what_is_rolled_back_or_dropped_was_never_there() {
    let place = Place::new().await;
    let form = items();
    let mut applier = place.applier().await;
    applier.create(&form).await.unwrap();
    let part = batch(vec![upsert(&form, &[Some("1"), None, None])], None);
    applier.apply(&part).await.unwrap();
    applier.rollback().await.unwrap();
    applier.rollback().await.unwrap();
    applier.apply(&part).await.unwrap();
    drop(applier);
    let mut applier = place.applier().await;
    applier.apply(&batch(vec![upsert(&form, &[Some("2"), None, None])], Some("1"))).await.unwrap();
    assert_eq!(place.stored("SELECT id FROM items"), [["integer:2"]]);
}

#[tokio::test]
async fn a_dropped_call_is_never_half_of_a_transaction() {
    let place = Place::new().await;
    let form = items();
    let mut applier = place.applier().await;
    applier.create(&form).await.unwrap();
    applier.apply(&batch(vec![upsert(&form, &[Some("1"), None, None])], None)).await.unwrap();
    let part = batch(vec![upsert(&form, &[Some("2"), None, None])], None);
    {
        let mut call = applier.apply(&part);
        let once = std::future::poll_fn(|context| std::task::Poll::Ready(call.as_mut().poll(context).is_pending()));
        assert!(once.await);
    }
    let error = applier.apply(&batch(vec![], Some("1"))).await.unwrap_err();
    assert!(error.to_string().contains("lost"), "{error}");
    applier.rollback().await.unwrap();
    applier.apply(&batch(vec![], Some("1"))).await.unwrap();
    assert_eq!(place.stored("SELECT count(*) FROM items"), [["integer:0"]]);
}

#[tokio::test]
async fn a_position_that_somebody_else_moved_is_busy() {
    let place = Place::new().await;
    let form = items();
    let mut applier = place.applier().await;
    applier.create(&form).await.unwrap();
    applier.apply(&batch(vec![], Some("1"))).await.unwrap();
    let other = open(&place.file);
    other.open_applier("p").await.unwrap().apply(&batch(vec![], Some("2"))).await.unwrap();
    let error = applier.apply(&batch(vec![upsert(&form, &[Some("1"), None, None])], Some("3"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy, "{error}");
    assert_eq!(place.stored("SELECT count(*) FROM items"), [["integer:0"]]);
    assert_eq!(place.position().await, "2");
    place.sql("DELETE FROM rowferry_positions");
    assert_eq!(applier.apply(&batch(vec![], Some("3"))).await.unwrap_err().kind(), ErrorKind::Identity);
}

#[tokio::test]
async fn refusals_have_the_kind_that_the_engine_decides_from() {
    let place = Place::new().await;
    let mut form = items();
    form.columns[2].nullable = false;
    form.indexes.push(index("by_name", true, &["name"]));
    let mut applier = place.applier().await;
    applier.create(&form).await.unwrap();
    assert_eq!(applier.finish(&form).await.unwrap(), []);
    applier.apply(&batch(vec![upsert(&form, &[Some("1"), Some("a"), Some("1")])], Some("1"))).await.unwrap();
    let mut check = async |cells: &[Option<&str>], kind| {
        let error = applier.apply(&batch(vec![upsert(&form, cells)], Some("2"))).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    };
    check(&[Some("2"), Some("a"), Some("1")], ErrorKind::Unique).await;
    check(&[Some("2"), Some("b"), None], ErrorKind::BadRow).await;
    check(&[None, Some("b"), Some("1")], ErrorKind::BadRow).await;
    check(&[Some("2"), Some("b"), Some("9223372036854775808")], ErrorKind::BadRow).await;
    check(&[Some("2"), Some("b"), Some(UNCHANGED)], ErrorKind::BadRow).await;
    check(&[Some("2"), Some("b")], ErrorKind::Protocol).await;
    place.sql("DROP TABLE items");
    check(&[Some("2"), Some("b"), Some("1")], ErrorKind::Schema).await;
    assert_eq!(place.position().await, "1");
}

#[tokio::test]
async fn a_column_that_was_dropped_since_is_left_out() {
    let place = Place::new().await;
    let form = items();
    let mut applier = place.applier().await;
    applier.create(&form).await.unwrap();
    applier.apply(&batch(vec![upsert(&form, &[Some("1"), Some("a"), Some("1")])], Some("1"))).await.unwrap();
    place.sql("ALTER TABLE items DROP COLUMN name");
    let update = PartialUpdate { key: key(&["1"]), row: row(&[Some("5"), Some("x"), Some(UNCHANGED)]) };
    let steps = vec![upsert(&form, &[Some("2"), Some("a"), Some("2")]), rows(&form, vec![], vec![update], vec![])];
    applier.apply(&batch(steps, Some("2"))).await.unwrap();
    assert_eq!(
        place.stored("SELECT * FROM items ORDER BY id"),
        [["integer:2", "integer:2"], ["integer:5", "integer:1"]]
    );
}

#[tokio::test]
async fn a_file_that_was_replaced_is_not_written_to() {
    let place = Place::new().await;
    let mut applier = place.applier().await;
    applier.apply(&batch(vec![], Some("1"))).await.unwrap();
    std::fs::rename(&place.file, place.folder.path().join("moved.db")).unwrap();
    let error = applier.apply(&batch(vec![], Some("2"))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Identity, "{error}");
}

#[tokio::test]
async fn several_appliers_take_turns() {
    let place = Place::new().await;
    let form = items();
    let mut applier = place.applier().await;
    applier.create(&form).await.unwrap();
    applier.apply(&batch(vec![upsert(&form, &[Some("1"), None, None])], None)).await.unwrap();
    let mut other = place.applier().await;
    let form2 = form.clone();
    let waiting = tokio::spawn(async move {
        other
            .replace(&form2, &Range::Native("x".into()), blocks(texts(&[&[Some("2"), None, None]])))
            .await
            .unwrap()
            .rows
    });
    tokio::task::yield_now().await;
    applier.apply(&batch(vec![], Some("1"))).await.unwrap();
    assert_eq!(waiting.await.unwrap(), 1);
    assert_eq!(place.stored("SELECT id FROM items"), [["integer:1"], ["integer:2"]]);
}

/// A process lets go of all its locks on a file when it closes any of its descriptors of that file.
#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_check_keeps_the_locks_of_a_writer() {
    let place = Place::new().await;
    let form = items();
    let mut applier = place.applier().await;
    applier.create(&form).await.unwrap();
    applier.apply(&batch(vec![upsert(&form, &[Some("1"), None, None])], Some("1"))).await.unwrap();
    // What the kernel says of each descriptor of the file.
    let locks = || {
        let mut locks = BTreeSet::new();
        for entry in std::fs::read_dir("/proc/self/fd").unwrap() {
            let fd = entry.unwrap();
            if std::fs::read_link(fd.path()).is_ok_and(|file| file == place.file) {
                let info = format!("/proc/self/fdinfo/{}", fd.file_name().to_str().unwrap());
                let info = std::fs::read_to_string(info).unwrap();
                let held = info.lines().filter_map(|line| line.strip_prefix("lock:")?.split_once(": "));
                locks.extend(held.map(|(_, lock)| lock.to_owned()));
            }
        }
        locks
    };
    let before = locks();
    assert!(!before.is_empty());
    place.target.check(&[form]).await.unwrap();
    assert_eq!(locks(), before);
}
