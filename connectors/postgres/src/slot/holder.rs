//! Who holds a slot, and whether to wait for them.
//!
//! The server holds a slot on behalf of a client that is gone until it notices: at once where it sends, later where it
//! decodes or waits. A client that lives sends status updates, so one that sends none is waited for.

use super::GIVE_UP_AFTER;
use crate::connection::from_pg;
use rowferry_api::{Error, ErrorKind, Result};
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// How often the server is asked.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a reader that is gone may leave its claim behind.
const CLAIM_WITHIN: Duration = Duration::from_secs(5);
/// By default a server hangs up on a silent client after a minute.
const LEFT_OVER_FOR: Duration = Duration::from_secs(75);
/// Updates may still be on their way from a client that is gone: one look may see them, not several.
const UPDATES_OF_THE_LIVING: u32 = 2;

/// A process of the server that has a slot.
#[derive(Debug)]
struct Holder {
    pid: i32,
    /// Its kind, its client's name, its age, and what it waits for.
    what: String,
    /// By the client's clock.
    updated_at_us: Option<i64>,
    /// It is still making the slot, which waits for other transactions.
    makes_it: bool,
}

const HOLDER: &str = "
    SELECT s.active_pid,
           concat(coalesce(a.backend_type, 'process'), ' of \"', a.application_name, '\", connected ',
                  extract(epoch FROM clock_timestamp() - a.backend_start)::int8, ' s ago', ', in ' || a.wait_event),
           (extract(epoch FROM r.reply_time) * 1000000)::int8,
           coalesce(a.query LIKE '%pg_create_logical_replication_slot%' AND a.backend_type = 'client backend', false)
    FROM pg_replication_slots s
    LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid LEFT JOIN pg_stat_replication r ON r.pid = s.active_pid
    WHERE s.slot_name = $1 AND s.active_pid IS NOT NULL";

async fn look(client: &Client, name: &str) -> Result<Option<Holder>> {
    let row = client.query_opt(HOLDER, &[&name]).await;
    let row = row.map_err(|error| from_pg(format!("ask who holds slot \"{name}\""), error))?;
    Ok(row.map(|row| Holder { pid: row.get(0), what: row.get(1), updated_at_us: row.get(2), makes_it: row.get(3) }))
}

/// Waits until nobody holds a slot; returns at once if it is not there. A client that lives is
/// [`Busy`](rowferry_api::ErrorKind::Busy) as soon as it is seen to.
pub(crate) async fn wait_until_free(client: &Client, name: &str) -> Result<()> {
    let Some(mut holder) = look(client, name).await? else { return Ok(()) };
    tracing::info!(slot = name, pid = holder.pid, holder = %holder.what, "the slot is held; waiting for it to be let go");
    let since = Instant::now();
    let mut updates = 0;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(now) = look(client, name).await? else { return Ok(()) };
        if now.pid == holder.pid && now.updated_at_us != holder.updated_at_us {
            updates += 1;
        }
        let limit = if now.makes_it { GIVE_UP_AFTER } else { LEFT_OVER_FOR };
        if updates >= UPDATES_OF_THE_LIVING || since.elapsed() > limit {
            return Err(taken(name, &now));
        }
        holder = now;
    }
}

fn taken(name: &str, holder: &Holder) -> Error {
    let Holder { pid, what, .. } = holder;
    let what = format!("use slot \"{name}\": the server's process {pid} ({what}) holds it for another client");
    Error::new(ErrorKind::Busy, what).hint(format!(
        "Stop the other client, or name another `slot`. A connection that is only left over can be ended: SELECT \
         pg_terminate_backend({pid});"
    ))
}

/// Keeps other readers of ours away from a slot as long as the connection lives: a slot is not held at the server while a
/// backlog of it is read. One that is held so is [`Busy`](rowferry_api::ErrorKind::Busy).
pub(crate) async fn claim(client: &Client, name: &str) -> Result<()> {
    let lock = format!("SET lock_timeout = {}", CLAIM_WITHIN.as_millis());
    client.batch_execute(&lock).await.map_err(|error| from_pg("set lock_timeout", error))?;
    let claim = "SELECT pg_advisory_lock(hashtextextended('rowferry reads slot ' || $1, 0))";
    match client.query(claim, &[&name]).await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
            let what = format!("use slot \"{name}\": another rowferry reads its backlog");
            Err(Error::new(ErrorKind::Busy, what).hint("Stop the other one, or name another `slot`."))
        }
        Err(error) => Err(from_pg(format!("claim slot \"{name}\""), error)),
    }
}

/// What a refusal means: somebody took the slot since it was looked at.
pub(crate) async fn explain(client: &Client, name: &str, error: Error) -> Error {
    match look(client, name).await {
        Ok(Some(holder)) => taken(name, &holder),
        _ => error.hint(format!("Another client reads slot \"{name}\". Stop it, or name another `slot`.")),
    }
}
