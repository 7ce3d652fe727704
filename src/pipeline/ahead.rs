//! The batch that waits is made ready while the one before it is written: its net change is worked out, and where the target gains
//! from it, a second applier brings the rows near their tables.

use super::apply::refuses_rows;
use crate::net::net_changes;
use futures_util::future::BoxFuture;
use rowferry_api::{Applier, Change, Error, ErrorKind, Result, Step};
use std::time::Duration;

/// What one version of the batch comes to.
#[derive(Debug)]
pub(super) struct Net {
    pub steps: Vec<Step>,
    /// The twin has brought their rows near.
    pub staged: bool,
}

/// What there is of it.
#[derive(Debug, Default)]
pub(super) enum Ahead {
    #[default]
    Nothing,
    UnderWay(u64),
    Ready(u64, Net),
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
    pub(super) fn end(&mut self, version: u64, net: Net) {
        if self.is_under_way(version) {
            *self = Self::Ready(version, net);
        }
    }

    /// Whether it is not worth working it out once more, since it comes.
    pub(super) fn is_under_way(&self, version: u64) -> bool {
        matches!(self, Self::UnderWay(known) if *known == version)
    }

    /// The net change of this version, if it is there. Nothing is kept.
    pub(super) fn take(&mut self, version: u64) -> Option<Net> {
        match std::mem::take(self) {
            Self::Ready(known, net) if known == version => Some(net),
            _ => None,
        }
    }
}

/// The applier that takes turns with the one that writes.
pub(super) enum Twin {
    Closed(BoxFuture<'static, Result<Box<dyn Applier>>>),
    Open(Box<dyn Applier>),
}

impl Twin {
    /// Brings the rows of these steps near; returns whether there were any. A target that has no room for a second connection, or does
    /// not answer it within `patience`, is no reason to stop: then there is no twin any more.
    async fn stage(self, steps: &[Step], patience: Duration) -> (Option<Self>, bool) {
        let has_upserts = |step: &Step| matches!(step, Step::Rows(rows) if !rows.upserts.is_empty());
        if !steps.iter().any(has_upserts) {
            return (Some(self), false);
        }
        let result = match tokio::time::timeout(patience, self.try_stage(steps)).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(ErrorKind::Unreachable, format!("no answer for {patience:?}"))),
        };
        match result {
            Ok((twin, staged)) => (Some(twin), staged),
            Err(error) => {
                tracing::warn!(%error, "the target is written to by one connection only from now on");
                (None, false)
            }
        }
    }

    async fn try_stage(self, steps: &[Step]) -> Result<(Self, bool)> {
        let mut applier = match self {
            Self::Closed(opening) => opening.await?,
            Self::Open(applier) => applier,
        };
        let another = applier.twin();
        match (applier.stage(steps).await, another) {
            (Ok(staged), _) => Ok((Self::Open(applier), staged)),
            // The one that applies finds the row and says which it is.
            (Err(error), Some(another)) if refuses_rows(&error) => Ok((Self::Closed(another), false)),
            (Err(error), _) => Err(error),
        }
    }
}

/// Makes changes ready, with the twin if it is free and answers within `patience`.
pub(super) async fn make_ready(changes: Vec<Change>, twin: Option<Twin>, patience: Duration) -> (Net, Option<Twin>) {
    let steps = net_changes(&changes);
    drop(changes);
    let (twin, staged) = match twin {
        Some(twin) => twin.stage(&steps, patience).await,
        None => (None, false),
    };
    (Net { steps, staged }, twin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(steps: Vec<Step>) -> Net {
        Net { steps, staged: false }
    }

    #[test]
    fn the_net_change_of_another_version_is_not_taken() {
        let mut ahead = Ahead::default();
        assert!(ahead.begin(1) && !ahead.begin(1) && ahead.is_under_way(1));
        assert!(ahead.begin(2), "the batch has changed");
        ahead.end(1, net(vec![Step::Truncate(Vec::new())]));
        assert!(ahead.is_under_way(2));
        ahead.end(2, net(Vec::new()));
        assert!(!ahead.begin(2) && !ahead.is_under_way(2));
        assert_eq!(ahead.take(2).map(|net| net.steps.len()), Some(0));
        assert!(ahead.take(2).is_none());

        assert!(ahead.begin(3));
        ahead.end(3, net(Vec::new()));
        assert!(ahead.take(4).is_none());
        assert!(ahead.begin(4));
    }
}
