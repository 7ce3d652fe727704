//! Two ordered streams of rows, merged by key, and what is kept of the difference.

use super::rows::Rows;
use rowferry_api::{Key, Range, Result};
use std::cmp::Ordering;

/// Keys that are kept of a table.
const MAX_KEYS: usize = 100_000;

/// How a row differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// At both ends, with other cells.
    Differing,
    /// At the source only.
    Missing,
    /// At the target only.
    Extra,
}

impl Kind {
    pub(super) fn of(at_source: bool, at_target: bool) -> Self {
        match (at_source, at_target) {
            (true, false) => Self::Missing,
            (false, true) => Self::Extra,
            _ => Self::Differing,
        }
    }

    /// Whether it is at the source, and at the target.
    pub(super) fn presence(self) -> (bool, bool) {
        (self != Self::Extra, self != Self::Missing)
    }
}

/// Numbers of rows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counts {
    pub source_rows: u64,
    pub target_rows: u64,
    pub differing: u64,
    pub missing: u64,
    pub extra: u64,
}

impl Counts {
    fn add(&mut self, kind: Kind) {
        match kind {
            Kind::Differing => self.differing += 1,
            Kind::Missing => self.missing += 1,
            Kind::Extra => self.extra += 1,
        }
    }
}

type Parts = (Vec<(Key, Kind)>, Vec<(Range, Counts)>);

/// Rows that are not the same at both ends: by their keys, or, where they are too many, by the ranges they are in.
#[derive(Debug, Default, Clone)]
pub struct Differences {
    keys: Vec<(Key, Kind)>,
    ranges: Vec<(Range, Counts)>,
    counts: Counts,
}

impl Differences {
    pub(super) fn new(keys: Vec<(Key, Kind)>, ranges: Vec<(Range, Counts)>) -> Self {
        let mut counts = Counts::default();
        keys.iter().for_each(|(_, kind)| counts.add(*kind));
        for (_, range) in &ranges {
            counts.differing += range.differing;
            counts.missing += range.missing;
            counts.extra += range.extra;
        }
        Self { keys, ranges, counts }
    }

    /// Nothing differs.
    pub fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    /// How many rows differ.
    pub fn rows(&self) -> u64 {
        self.counts.differing + self.counts.missing + self.counts.extra
    }

    /// Rows at both ends with other cells.
    pub fn differing(&self) -> u64 {
        self.counts.differing
    }

    /// Rows at the source only.
    pub fn missing(&self) -> u64 {
        self.counts.missing
    }

    /// Rows at the target only.
    pub fn extra(&self) -> u64 {
        self.counts.extra
    }

    /// The keys that are known one by one.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter().map(|(key, _)| key)
    }

    /// The ranges in which too many rows differ to know their keys.
    pub fn ranges(&self) -> impl Iterator<Item = &Range> {
        self.ranges.iter().map(|(range, _)| range)
    }

    /// Keys, and ranges with what was counted in them.
    pub(super) fn into_parts(self) -> Parts {
        (self.keys, self.ranges)
    }
}

/// What a merge found.
#[derive(Debug)]
pub(super) struct Merged {
    pub counts: Counts,
    /// `None`: more than may be kept.
    pub keys: Option<Vec<(Key, Kind)>>,
    /// Rows did not come in the order that both ends share, so that rows may have missed each other.
    pub out_of_order: bool,
}

/// Merges both streams; `kept` keys are kept already.
pub(super) async fn merge(mut left: Rows<'_>, mut right: Rows<'_>, kept: usize) -> Result<Merged> {
    let mut merged = Merged { counts: Counts::default(), keys: Some(Vec::new()), out_of_order: false };
    let (mut has_left, mut has_right) = (left.advance().await?, right.advance().await?);
    while has_left || has_right {
        let order = match (has_left, has_right) {
            (true, true) => left.compare(&right),
            (true, false) => Ordering::Less,
            _ => Ordering::Greater,
        };
        match order {
            Ordering::Less => merged.note(left.key(), Kind::Missing, kept),
            Ordering::Greater => merged.note(right.key(), Kind::Extra, kept),
            Ordering::Equal if left.hash() != right.hash() => merged.note(left.key(), Kind::Differing, kept),
            Ordering::Equal => {}
        }
        if order != Ordering::Greater {
            merged.counts.source_rows += 1;
            merged.out_of_order |= !left.is_in_order();
            has_left = left.advance().await?;
        }
        if order != Ordering::Less {
            merged.counts.target_rows += 1;
            merged.out_of_order |= !right.is_in_order();
            has_right = right.advance().await?;
        }
    }
    Ok(merged)
}

impl Merged {
    fn note(&mut self, key: Key, kind: Kind, kept: usize) {
        self.counts.add(kind);
        match &mut self.keys {
            Some(keys) if kept + keys.len() < MAX_KEYS => keys.push((key, kind)),
            keys => *keys = None,
        }
    }
}
