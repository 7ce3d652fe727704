//! Which rows of a table the target may have as the source does not have them where the log stands. Pure.
//!
//! A slice is read later than the log has come, so its rows are ahead until the log has passed the read. What moves
//! such a row to another key may take along cells of a later row: the new key is read again, which puts it ahead once more.
//! That ends only if rows are told apart: those that nothing has read lately move as they are.

use rowferry_api::{Key, Position};
use rowferry_state::TableState;
use std::collections::{HashMap, HashSet};

/// Keys that may be ahead of the log.
#[derive(Debug, Clone, Default)]
pub(super) struct Unsure {
    ranges: Ranges,
    /// Keys that wait to be read again or were and are ahead since, and how many slices hold each.
    keys: HashMap<Key, usize>,
    /// Keys that were read again, and the source's head after it.
    read: Vec<(Position, Vec<Key>)>,
}

/// How far the ranges are that hold the whole table.
#[derive(Debug, Clone, Default)]
enum Ranges {
    /// Some are still to be read.
    #[default]
    Unread,
    /// The last of them was read when the source's head was here or before.
    ReadBefore(Position),
    /// The log has passed that.
    Passed,
}

impl Unsure {
    /// No row is.
    pub(super) fn none() -> Self {
        Self { ranges: Ranges::Passed, ..Self::default() }
    }

    /// What an earlier run left. Keys that it has read again are taken for a part of the ranges.
    pub(super) fn restored(state: TableState, high: Option<Position>, queued: &HashSet<Key>) -> Self {
        let ranges = match (state, high) {
            (TableState::Streaming, _) => Ranges::Passed,
            (TableState::CatchingUp, Some(high)) => Ranges::ReadBefore(high),
            _ => Ranges::Unread,
        };
        Self { ranges, keys: queued.iter().map(|key| (key.clone(), 1)).collect(), read: Vec::new() }
    }

    /// Keys that are to be read again; each waits once.
    pub(super) fn add(&mut self, keys: &[Key]) {
        for key in keys {
            *self.keys.entry(key.clone()).or_default() += 1;
        }
    }

    /// Keys were read again before the source's head was `high`.
    pub(super) fn read_again(&mut self, keys: &[Key], high: &Position) {
        if !keys.is_empty() {
            self.read.push((high.clone(), keys.to_vec()));
        }
    }

    /// All ranges were read before the source's head was `high`. The first call counts.
    pub(super) fn ranges_read(&mut self, high: &Position) {
        if matches!(self.ranges, Ranges::Unread) {
            self.ranges = Ranges::ReadBefore(high.clone());
        }
    }

    /// The log has come to a place that `has_passed` knows of.
    pub(super) fn passes(&mut self, has_passed: impl Fn(&Position) -> bool) {
        if matches!(&self.ranges, Ranges::ReadBefore(high) if has_passed(high)) {
            self.ranges = Ranges::Passed;
        }
        let keys = &mut self.keys;
        self.read.retain(|(high, read)| {
            let passed = has_passed(high);
            for key in read.iter().filter(|_| passed) {
                if let Some(count) = keys.get_mut(key) {
                    *count -= 1;
                    if *count == 0 {
                        keys.remove(key);
                    }
                }
            }
            !passed
        });
    }

    /// Whether a key's row may be ahead.
    pub(super) fn holds(&self, key: &Key) -> bool {
        !matches!(self.ranges, Ranges::Passed) || self.keys.contains_key(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rowferry_api::Cell;

    fn key(text: &str) -> Key {
        Key::from_cells([Cell::Text(text.as_bytes())])
    }

    fn passed(place: &str) -> impl Fn(&Position) -> bool {
        move |high| high.as_str() <= place
    }

    #[test]
    fn a_row_is_sure_once_the_log_has_passed_all_reads_of_it() {
        let (a, b) = (key("a"), key("b"));
        let mut unsure = Unsure::default();
        assert!(unsure.holds(&a));
        unsure.add(std::slice::from_ref(&a));
        unsure.ranges_read(&Position::new("3"));
        unsure.ranges_read(&Position::new("9"));
        unsure.passes(passed("2"));
        assert!(unsure.holds(&b));
        unsure.passes(passed("3"));
        assert!(!unsure.holds(&b) && unsure.holds(&a));
        unsure.read_again(std::slice::from_ref(&a), &Position::new("5"));
        unsure.add(std::slice::from_ref(&a));
        unsure.passes(passed("5"));
        assert!(unsure.holds(&a), "it waits to be read once more");
        unsure.read_again(std::slice::from_ref(&a), &Position::new("7"));
        unsure.passes(passed("6"));
        assert!(unsure.holds(&a));
        unsure.passes(passed("7"));
        assert!(!unsure.holds(&a));
    }

    #[test]
    fn an_earlier_run_leaves_what_it_did_not_pass() {
        let (a, b) = (key("a"), key("b"));
        let queued = HashSet::from([a.clone()]);
        let mut streaming = Unsure::restored(TableState::Streaming, None, &queued);
        assert!(streaming.holds(&a) && !streaming.holds(&b));
        let mut catching_up = Unsure::restored(TableState::CatchingUp, Some(Position::new("4")), &queued);
        assert!(catching_up.holds(&b));
        catching_up.passes(passed("4"));
        assert!(!catching_up.holds(&b) && catching_up.holds(&a));
        assert!(Unsure::restored(TableState::Copying, Some(Position::new("4")), &queued).holds(&b));
        streaming.passes(passed("9"));
        assert!(streaming.holds(&a));
    }
}
