//! A set of numbers as intervals that neither touch nor overlap.

use std::fmt;

/// Half-open intervals in order: each start < end < the next start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Intervals(Vec<(u64, u64)>);

impl Intervals {
    /// Adds the numbers from `start` on and below `end`.
    pub(super) fn add(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        // Most often the next number of the last interval.
        if let Some(last) = self.0.last_mut()
            && last.1 == start
        {
            last.1 = end;
            return;
        }
        // All that touch the new one become one with it.
        let from = self.0.partition_point(|interval| interval.1 < start);
        let to = self.0.partition_point(|interval| interval.0 <= end);
        let touching = &self.0[from..to];
        let start = touching.first().map_or(start, |first| first.0.min(start));
        let end = touching.last().map_or(end, |last| last.1.max(end));
        self.0.splice(from..to, [(start, end)]);
    }

    #[cfg(test)]
    pub(super) fn contains(&self, number: u64) -> bool {
        let after = self.0.partition_point(|interval| interval.0 <= number);
        after > 0 && number < self.0[after - 1].1
    }

    pub(super) fn is_subset(&self, other: &Self) -> bool {
        self.0.iter().all(|(start, end)| {
            let after = other.0.partition_point(|interval| interval.0 <= *start);
            after > 0 && *end <= other.0[after - 1].1
        })
    }

    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.0.iter().copied()
    }
}

/// `:1-5:7`.
impl fmt::Display for Intervals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (start, end) in &self.0 {
            write!(f, ":{start}")?;
            if end - start > 1 {
                write!(f, "-{}", end - 1)?;
            }
        }
        Ok(())
    }
}
