//! The net change of the batch that waits, worked out while the one before it is written. Pure.

use rowferry_api::Step;

/// What there is of the net change of one version of the batch.
#[derive(Debug, Default)]
pub(super) enum Ahead {
    #[default]
    Nothing,
    UnderWay(u64),
    Ready(u64, Vec<Step>),
}

impl Ahead {
    /// Whether it is to be worked out now; if so it is under way from here on.
    pub(super) fn begin(&mut self, version: u64) -> bool {
        let is_new = !matches!(self, Self::UnderWay(known) | Self::Ready(known, _) if *known == version);
        if is_new {
            *self = Self::UnderWay(version);
        }
        is_new
    }

    /// It has been worked out. That of a batch that has changed since counts for nothing.
    pub(super) fn end(&mut self, version: u64, net: Vec<Step>) {
        if self.is_under_way(version) {
            *self = Self::Ready(version, net);
        }
    }

    /// Whether it is not worth working it out once more, since it comes.
    pub(super) fn is_under_way(&self, version: u64) -> bool {
        matches!(self, Self::UnderWay(known) if *known == version)
    }

    /// The net change of this version, if it is there. Nothing is kept.
    pub(super) fn take(&mut self, version: u64) -> Option<Vec<Step>> {
        match std::mem::take(self) {
            Self::Ready(known, net) if known == version => Some(net),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_net_change_of_another_version_is_not_taken() {
        let mut ahead = Ahead::default();
        assert!(ahead.begin(1) && !ahead.begin(1) && ahead.is_under_way(1));
        assert!(ahead.begin(2), "the batch has changed");
        ahead.end(1, vec![Step::Truncate(Vec::new())]);
        assert!(ahead.is_under_way(2));
        ahead.end(2, Vec::new());
        assert!(!ahead.begin(2) && !ahead.is_under_way(2));
        assert_eq!(ahead.take(2).map(|net| net.len()), Some(0));
        assert!(ahead.take(2).is_none());

        assert!(ahead.begin(3));
        ahead.end(3, Vec::new());
        assert!(ahead.take(4).is_none());
        assert!(ahead.begin(4));
    }
}
