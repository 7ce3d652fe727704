//! What the run loop does about an error: one class for each kind, one reaction for each class. Pure.

use super::Until;
use rowferry_api::ErrorKind;

/// Tries in a row before a run that is to end by itself gives up, and before one that never got going does.
const MAX_TRIES: u32 = 8;
/// The same where somebody else holds what we need: our own connection of a moment ago may not be gone yet.
const MAX_TRIES_BUSY: u32 = 4;
/// Wait before the first new try, at most; doubled each time.
const FIRST_WAIT_MS: u64 = 1_000;
/// Longest wait between tries.
const LONGEST_WAIT_MS: u64 = 30_000;

/// Classes of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// An end is out of reach: tried again, for ever once it has been reached, and shown in `status` meanwhile.
    Unreachable,
    /// A deadlock, a timeout: tried again.
    Transient,
    /// Somebody else holds what we need: tried again a few times.
    Busy,
    /// The target refuses a row: bisected, and put aside or the pipeline halts before it, as `on_bad_row` says. What comes
    /// here has been through that: it halts the pipeline; of a copy, its table.
    BadRow,
    /// Tables do not fit: halts the table, and the pipeline where no single table is meant.
    Schema,
    /// The log is gone: halts, and says which command mends it.
    LogLost,
    /// Nothing that time mends: halts.
    Permanent,
}

/// The class of a kind.
pub(super) fn class(kind: ErrorKind) -> Class {
    match kind {
        ErrorKind::Unreachable => Class::Unreachable,
        ErrorKind::Transient => Class::Transient,
        ErrorKind::Busy => Class::Busy,
        ErrorKind::Unique | ErrorKind::BadRow => Class::BadRow,
        ErrorKind::Schema | ErrorKind::Stale => Class::Schema,
        ErrorKind::LogLost => Class::LogLost,
        ErrorKind::Denied | ErrorKind::Config | ErrorKind::Identity | ErrorKind::Protocol | ErrorKind::Other => {
            Class::Permanent
        }
    }
}

/// How far a run has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress {
    /// When it is to end.
    pub until: Until,
    /// It has moved at least once.
    pub was_up: bool,
    /// It has got past its start at least once.
    pub was_started: bool,
    /// Tries in a row that did not move it, this one among them.
    pub tries: u32,
}

/// Whether the run loop tries again.
pub(super) fn tries_again(class: Class, at: Progress) -> bool {
    let goes_on = at.was_up && at.until == Until::Stopped;
    match class {
        // At the start a wrong address is to be seen at once.
        Class::Unreachable => at.was_up && (goes_on || at.tries <= MAX_TRIES),
        Class::Transient => goes_on || at.tries <= MAX_TRIES,
        Class::Busy => at.was_started && at.tries <= MAX_TRIES_BUSY,
        Class::BadRow | Class::Schema | Class::LogLost | Class::Permanent => false,
    }
}

/// Whether an error of one table's copy halts that table only.
pub(super) fn halts_table(kind: ErrorKind) -> bool {
    match class(kind) {
        Class::BadRow => true,
        // A range that is none any more is left to the next copy before it comes to this.
        Class::Schema => kind != ErrorKind::Stale,
        // A right that is missing may be one on this table.
        Class::Permanent => kind == ErrorKind::Denied,
        Class::Unreachable | Class::Transient | Class::Busy | Class::LogLost => false,
    }
}

/// How long to wait before a try: half of an exponentially growing time, and a random share of the other half, so that many
/// that lost the same server do not come back in the same instant. `random` is from 0 to 1.
pub(super) fn wait_ms(tries: u32, random: f64) -> u64 {
    let most = (FIRST_WAIT_MS << tries.saturating_sub(1).min(10)).min(LONGEST_WAIT_MS);
    most / 2 + (random.clamp(0.0, 1.0) * (most / 2) as f64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(until: Until, was_up: bool, tries: u32) -> Progress {
        Progress { until, was_up, was_started: true, tries }
    }

    #[test]
    fn what_was_reached_is_waited_for_and_what_cannot_mend_itself_is_not() {
        let (stopped, caught_up) = (Until::Stopped, Until::CaughtUp);
        assert!(tries_again(Class::Unreachable, at(stopped, true, 1_000)));
        assert!(!tries_again(Class::Unreachable, at(caught_up, true, 9)));
        assert!(!tries_again(Class::Unreachable, at(stopped, false, 1)));
        assert!(
            tries_again(Class::Transient, at(stopped, false, 8))
                && !tries_again(Class::Transient, at(stopped, false, 9))
        );
        assert!(tries_again(Class::Busy, at(stopped, true, 4)) && !tries_again(Class::Busy, at(stopped, true, 5)));
        for class in [Class::BadRow, Class::Schema, Class::LogLost, Class::Permanent] {
            assert!(!tries_again(class, at(stopped, true, 1)), "{class:?}");
        }
    }

    #[test]
    fn waits_grow_to_a_bound_and_differ() {
        assert_eq!((wait_ms(1, 0.0), wait_ms(1, 1.0)), (500, 1_000));
        assert_eq!((wait_ms(3, 0.0), wait_ms(3, 1.0)), (2_000, 4_000));
        assert_eq!((wait_ms(99, 0.0), wait_ms(99, 1.0)), (15_000, 30_000));
    }
}
