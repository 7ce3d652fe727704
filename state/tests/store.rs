//! The state directory as its users see it: what comes back, who is kept out, and what a damaged one says.

#![allow(clippy::unwrap_used)]

use rowferry_state::{
    AtTarget, CheckpointRecord, DeadLetterRecord, RequestRecord, SliceRecord, Store, TableRecord, TableState,
};
use std::fs;

fn table(state: TableState) -> TableRecord {
    TableRecord {
        state,
        reason: None,
        schema_json: "{}".into(),
        target: "t".into(),
        high: Some("0/10".into()),
        rows_copied: 1,
        rows_compared: 4,
        compares: true,
        rows_applied: 2,
        at_target: AtTarget::Made,
        source_id: 4,
        columns_seen: 5,
        again: false,
        finished: false,
        dropped: vec!["old".into()],
        traces: "traces".into(),
    }
}

fn slice(rows: u64) -> SliceRecord {
    SliceRecord { range_json: "\"whole\"".into(), done: rows > 0, high: None, rows, bytes: 8 }
}

fn letter(key: u8) -> DeadLetterRecord {
    DeadLetterRecord {
        table: "public.t".into(),
        position: None,
        at_us: 0,
        reason: "refused".into(),
        keys: vec![vec![key]],
        op: "insert".into(),
        row: vec![1, 2],
        schema_json: "{}".into(),
        queued: false,
    }
}

#[test]
fn what_was_synced_comes_back_after_a_new_start() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = CheckpointRecord { position: "0/AB".into(), committed_at_us: None, saved_at_us: 7 };
    {
        let store = Store::open(dir.path()).unwrap();
        let state = store.pipeline("shop").unwrap();
        state.set_checkpoint(&checkpoint).unwrap();
        state.set_table_anew("public.t", &table(TableState::Copying), &[slice(0), slice(0)]).unwrap();
        state.set_table("public.t", &table(TableState::Copying), &[(1, slice(9))]).unwrap();
        // Another pipeline, and a name that begins like the first.
        store.pipeline("shop2").unwrap().set_table_anew("public.t", &table(TableState::Pending), &[]).unwrap();
        state.set_table_anew("public.t2", &table(TableState::Copying), &[slice(1)]).unwrap();
        let (catching_up, halted) = (table(TableState::CatchingUp), table(TableState::Halted));
        state.set_tables([("public.t", &catching_up), ("public.t2", &halted)]).unwrap();
        store.sync().unwrap();
    }
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.pipelines().unwrap(), ["shop", "shop2"]);
    let state = store.pipeline("shop").unwrap();
    assert_eq!(state.checkpoint().unwrap(), Some(checkpoint));
    let tables = state.tables().unwrap();
    assert_eq!(
        tables,
        [("public.t".into(), table(TableState::CatchingUp)), ("public.t2".into(), table(TableState::Halted))]
    );
    assert_eq!(state.slices("public.t").unwrap(), [slice(0), slice(9)]);
    assert_eq!(state.slices("public.t2").unwrap(), [slice(1)]);
}

#[test]
fn a_table_written_anew_loses_its_slices_and_no_other_s() {
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path()).unwrap().pipeline("shop").unwrap();
    state.set_table_anew("a", &table(TableState::Copying), &[slice(1), slice(2), slice(3)]).unwrap();
    state.set_table_anew("a2", &table(TableState::Copying), &[slice(4)]).unwrap();
    state.set_table_anew("a", &table(TableState::Pending), &[slice(5)]).unwrap();
    assert_eq!(state.slices("a").unwrap(), [slice(5)]);
    assert_eq!(state.slices("a2").unwrap(), [slice(4)]);
    state.remove_table("a").unwrap();
    assert_eq!(state.tables().unwrap().len(), 1);
    assert_eq!((state.slices("a").unwrap().len(), state.slices("a2").unwrap().len()), (0, 1));
}

#[test]
fn requests_keep_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path()).unwrap().pipeline("shop").unwrap();
    let request =
        |table: &str| RequestRecord { kind: "resync".into(), table: Some(table.into()), detail: String::new() };
    for name in ["b", "a", "c"] {
        state.push_request(&request(name)).unwrap();
    }
    let requests = state.requests().unwrap();
    assert_eq!(requests.iter().map(|(_, request)| request.clone()).collect::<Vec<_>>(), ["b", "a", "c"].map(request));
    state.remove_request(requests[1].0).unwrap();
    state.push_request(&request("d")).unwrap();
    let left: Vec<_> = state.requests().unwrap().into_iter().map(|(_, request)| request).collect();
    assert_eq!(left, ["b", "c", "d"].map(request));
}

#[test]
fn dead_letters_are_written_and_removed_together_and_no_id_comes_twice() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let state = store.pipeline("shop").unwrap();
    // Another pipeline whose name begins like it.
    store.pipeline("shop2").unwrap().change_dead_letters(&[(7, letter(9))], &[]).unwrap();
    let all = |after| {
        let mut found = Vec::new();
        state.visit_dead_letters(after, |id, letter| {
            found.push((id, letter));
            true
        })?;
        Ok::<_, rowferry_state::Error>(found)
    };
    assert_eq!(state.next_dead_letter().unwrap(), 0);
    state.change_dead_letters(&[(0, letter(1)), (1, letter(2)), (256, letter(3))], &[]).unwrap();
    assert_eq!(all(None).unwrap(), [(0, letter(1)), (1, letter(2)), (256, letter(3))]);
    assert_eq!(all(Some(1)).unwrap(), [(256, letter(3))]);
    state.change_dead_letters(&[(1, letter(4))], &[0, 256]).unwrap();
    assert_eq!(all(None).unwrap(), [(1, letter(4))]);
    assert_eq!((state.dead_letter(1).unwrap(), state.dead_letter(256).unwrap()), (Some(letter(4)), None));
    assert_eq!(state.next_dead_letter().unwrap(), 257, "the id of a letter that is gone is not given again");
    let mut seen = 0;
    state.change_dead_letters(&[(300, letter(5))], &[]).unwrap();
    state
        .visit_dead_letters(None, |_, _| {
            seen += 1;
            false
        })
        .unwrap();
    assert_eq!(seen, 1, "a visit ends when it is told to");
}

#[test]
fn a_directory_in_use_is_busy_and_free_again_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(error.is_busy(), "{error}");
    drop(store);
    Store::open(dir.path()).unwrap();
}

#[test]
fn what_is_no_state_directory_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!Store::exists(dir.path()));
    let file = dir.path().join("file");
    fs::write(&file, "mine").unwrap();
    let error = Store::open(&file).unwrap_err();
    assert!(!error.is_busy() && error.to_string().contains("file"), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}

/// sled would begin an empty database in its place.
#[test]
fn a_damaged_database_is_no_fresh_start() {
    let dir = tempfile::tempdir().unwrap();
    {
        let store = Store::open(dir.path()).unwrap();
        store.pipeline("shop").unwrap().set_table_anew("t", &table(TableState::Streaming), &[]).unwrap();
        store.sync().unwrap();
    }
    let file = dir.path().join("db");
    let length = fs::metadata(&file).unwrap().len() as usize;
    fs::write(&file, vec![7u8; length]).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(error.to_string().contains("damaged") && error.mend().contains("target"), "{error}");
    // Neither is one that is gone.
    fs::remove_file(&file).unwrap();
    assert!(Store::open(dir.path()).is_err());
}
