//! Waits for the transactions that may have changed a table before the log carried it.
//!
//! A publication counts for the changes that are made after it, not for all of a transaction that commits after it.

use crate::connection::{ConnectOptions, from_pg};
use crate::slot::open_transactions;
use rowferry_api::Result;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Client;

/// Nothing tells of the end of another's transaction, so the server is asked.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// After so long it is said what is waited for.
const SAY_AFTER: Duration = Duration::from_secs(10);

/// An id above those of all transactions that have one by now. It is taken, not read from a snapshot: a snapshot's xmax is
/// one past the last id that has ended, and a transaction that began later and still runs is at or above it. A standby cannot
/// take one.
pub(crate) async fn mark(client: &Client) -> Result<i64> {
    let statement = "SELECT CASE WHEN pg_is_in_recovery() THEN txid_snapshot_xmax(txid_current_snapshot()) \
                     ELSE txid_current() END";
    number(client, statement).await
}

/// Returns once every transaction below the mark has ended, however long that takes.
pub(crate) async fn wait(client: &Client, options: &ConnectOptions, mark: i64) -> Result<()> {
    let began = Instant::now();
    let mut said = false;
    while number(client, "SELECT txid_snapshot_xmin(txid_current_snapshot())").await? < mark {
        if !said && began.elapsed() >= SAY_AFTER {
            said = true;
            let open = open_transactions(options).await;
            tracing::warn!(open = %open, "tables that the log carries anew wait for transactions that are still open");
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    Ok(())
}

async fn number(client: &Client, statement: &str) -> Result<i64> {
    let row = client.query_one(statement, &[]).await;
    Ok(row.map_err(|error| from_pg("ask for the open transactions", error))?.get(0))
}
