//! What the log has said must be seen by the reads that follow.
//!
//! A server writes a commit down, hands it to its log's readers, waits for its synchronous standbys, and only then shows its rows to
//! others (PostgreSQL manual, "synchronous_commit"). Changes of a table that is not copied yet are dropped, and a read that came
//! in between would miss them for good. So a read waits until no transaction that the log's reader has received is in progress.

use crate::connection::from_pg;
use rowferry_api::{Error, ErrorKind, Patience, Result};
use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard};
use tokio_postgres::Client;

const HINT: &str = "Look for commits that wait for a synchronous standby (pg_stat_activity: wait_event SyncRep).";
/// A transaction holds the lock on its own id until it is visible.
const WAITING: &str = "
    SELECT l.transactionid::text::int8::oid FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
    WHERE l.locktype = 'transactionid' AND l.mode = 'ExclusiveLock' AND l.granted AND a.wait_event = 'SyncRep'";
/// So many of the last ones are kept.
const MOST: usize = 1 << 16;

/// The last transactions that the log's reader has received.
#[derive(Debug, Default)]
pub struct Delivered(Mutex<VecDeque<u32>>);

impl Delivered {
    /// A transaction has been received.
    pub(crate) fn add(&self, xid: u32) {
        let mut xids = self.lock();
        if xids.len() >= MOST {
            xids.pop_front();
        }
        xids.push_back(xid);
    }

    /// Takes in the transactions that wait for a standby: an earlier process may have received them. Those of other users are seen by
    /// who may read all statistics.
    pub(crate) async fn add_waiting(&self, client: &Client) -> Result<()> {
        let rows = client.query(WAITING, &[]).await;
        let rows = rows.map_err(|error| from_pg("ask which commits wait for a standby", error))?;
        rows.iter().for_each(|row| self.add(row.get(0)));
        Ok(())
    }

    /// Waits until the statements that follow on any connection see everything that has been received by now.
    pub(crate) async fn wait(&self, client: &Client) -> Result<()> {
        let mut xids: Vec<u32> = self.lock().iter().copied().collect();
        let known: HashSet<u32> = xids.iter().copied().collect();
        let mut patience = Patience::begin();
        while !xids.is_empty() {
            let row = client.query_one("SELECT txid_current_snapshot()::text", &[]).await;
            let snapshot: String =
                row.map_err(|error| from_pg("ask which transactions are in progress", error))?.get(0);
            let in_progress = InProgress::parse(&snapshot)
                .ok_or_else(|| Error::new(ErrorKind::Protocol, format!("read the snapshot \"{snapshot}\"")))?;
            xids.retain(|xid| in_progress.has(*xid));
            if !xids.is_empty() {
                tokio::time::sleep(patience.next_pause(HINT)?).await;
            }
        }
        self.lock().retain(|xid| !known.contains(xid));
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<u32>> {
        self.0.lock().expect("no code panics while it holds this")
    }
}

/// The transactions that a snapshot does not see.
struct InProgress {
    /// Those that began before the last one that has ended.
    listed: HashSet<u32>,
    /// All from this one on.
    from: u32,
}

impl InProgress {
    /// `xmin:xmax:xip,xip`, in 64 bits of which the log has 32.
    fn parse(snapshot: &str) -> Option<Self> {
        let low = |text: &str| text.parse::<u64>().ok().map(|xid| xid as u32);
        let mut parts = snapshot.split(':').skip(1);
        let from = low(parts.next()?)?;
        let listed = parts.next()?.split(',').filter(|text| !text.is_empty()).map(low);
        Some(Self { listed: listed.collect::<Option<_>>()?, from })
    }

    fn has(&self, xid: u32) -> bool {
        // Ids go round: half of them are later than any one.
        self.listed.contains(&xid) || xid.wrapping_sub(self.from) < 1 << 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_says_what_is_in_progress() {
        let snapshot = InProgress::parse("4294967300:4294967310:4294967300,4294967303").unwrap();
        let found: Vec<u32> = (0..20).filter(|xid| snapshot.has(*xid)).collect();
        assert_eq!(found, [4, 7, 14, 15, 16, 17, 18, 19]);
        assert!(!snapshot.has(u32::MAX));
        assert!(InProgress::parse("10:10:").unwrap().listed.is_empty());
        assert!(InProgress::parse("10").is_none());
    }

    #[test]
    fn the_last_ones_are_kept() {
        let delivered = Delivered::default();
        (0..MOST as u32 + 2).for_each(|xid| delivered.add(xid));
        let xids = delivered.lock();
        assert_eq!((xids.len(), xids.front().copied()), (MOST, Some(2)));
    }
}
