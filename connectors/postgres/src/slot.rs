//! The replication slot: made once, looked at before every start, never replaced by itself.

use crate::connection::{ConnectOptions, from_pg};
use crate::log_reader::lost;
use crate::lsn::Lsn;
use rowferry_api::{Error, ErrorKind, Result};
use std::time::Duration;
use tokio_postgres::Client;

/// A slot that waits this long for old transactions says so.
const SAY_AFTER: Duration = Duration::from_secs(10);
/// And gives up after this long.
const GIVE_UP_AFTER: Duration = Duration::from_secs(600);

/// A slot as the server shows it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub plugin: Option<String>,
    pub database: Option<String>,
    pub active_pid: Option<i32>,
    pub confirmed: Option<Lsn>,
    /// The server dropped the log that it needs (13 and later say so).
    pub invalid: bool,
}

pub(crate) async fn look(client: &Client, name: &str) -> Result<Option<Slot>> {
    let failed = |error| from_pg(format!("look at slot \"{name}\""), error);
    let row = client
        .query_opt(
            "SELECT plugin::text, database::text, active_pid, confirmed_flush_lsn::text, to_jsonb(s)->>'wal_status', \
                    coalesce(to_jsonb(s)->>'invalidation_reason', '') \
             FROM pg_replication_slots s WHERE slot_name = $1",
            &[&name],
        )
        .await
        .map_err(failed)?;
    let Some(row) = row else { return Ok(None) };
    let confirmed: Option<String> = row.get(3);
    let wal_status: Option<String> = row.get(4);
    let reason: String = row.get(5);
    Ok(Some(Slot {
        plugin: row.get(0),
        database: row.get(1),
        active_pid: row.get(2),
        confirmed: confirmed.as_deref().map(Lsn::parse).transpose()?,
        invalid: wal_status.as_deref() == Some("lost") || !reason.is_empty(),
    }))
}

/// Refuses a slot that no longer has what follows `resume`.
pub(crate) async fn refuse_lost(client: &Client, name: &str, resume: Lsn) -> Result<()> {
    match look(client, name).await? {
        None => Err(lost(format!(
            "resume at {resume}: slot \"{name}\" is gone, and with it what the source changed since"
        ))),
        Some(slot) if slot.invalid => Err(lost(format!(
            "resume at {resume}: the server gave slot \"{name}\" up, since the log that it held grew beyond max_slot_wal_keep_size"
        ))),
        Some(Slot { confirmed: Some(confirmed), .. }) if confirmed > resume => Err(lost(format!(
            "resume at {resume}: slot \"{name}\" has passed {confirmed} already; what lies between is lost to this pipeline"
        ))),
        Some(slot) => refuse_foreign(client, name, &slot).await,
    }
}

async fn refuse_foreign(client: &Client, name: &str, slot: &Slot) -> Result<()> {
    let database: String = client
        .query_one("SELECT current_database()::text", &[])
        .await
        .map_err(|error| from_pg("ask for the database's name", error))?
        .get(0);
    if slot.plugin.as_deref() != Some("pgoutput") || slot.database.as_deref() != Some(database.as_str()) {
        let what = format!(
            "use slot \"{name}\": it is of plugin {} in database {}",
            slot.plugin.as_deref().unwrap_or("none (physical)"),
            slot.database.as_deref().unwrap_or("none")
        );
        return Err(Error::new(ErrorKind::Config, what)
            .hint(format!("Name another `slot`; one of plugin pgoutput in database {database} is made if it is missing.")));
    }
    Ok(())
}

/// Makes the slot, or takes one that is there and idle; returns where its log starts.
pub(crate) async fn create(client: &Client, options: &ConnectOptions, name: &str) -> Result<Lsn> {
    if let Some(slot) = look(client, name).await? {
        refuse_foreign(client, name, &slot).await?;
        if slot.invalid {
            return Err(Error::new(ErrorKind::Config, format!("use slot \"{name}\": the server has given it up"))
                .hint(format!("Drop it, it is of no more use: SELECT pg_drop_replication_slot('{name}');")));
        }
        if let Some(pid) = slot.active_pid {
            return Err(taken(name, pid));
        }
        if let Some(confirmed) = slot.confirmed {
            return Ok(confirmed);
        }
    }
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&name];
    let made = client.query_one("SELECT lsn::text FROM pg_create_logical_replication_slot($1, 'pgoutput')", &parameters);
    tokio::pin!(made);
    let row = tokio::select! {
        row = &mut made => row,
        () = tokio::time::sleep(SAY_AFTER) => {
            say_what_it_waits_for(options, name).await;
            tokio::time::timeout(GIVE_UP_AFTER, &mut made).await.map_err(|_| {
                Error::new(ErrorKind::Transient, format!("create slot \"{name}\": old transactions did not end"))
                    .hint("A slot starts between transactions: end those that have been open for long (pg_stat_activity).")
            })?
        }
    };
    let row = row.map_err(|error| from_pg(format!("create slot \"{name}\""), error))?;
    Lsn::parse(row.get(0))
}

/// The error of a slot that is read by another process.
pub(crate) fn taken(name: &str, pid: i32) -> Error {
    Error::new(ErrorKind::Busy, format!("use slot \"{name}\": the server's process {pid} reads it for another client")).hint(
        format!(
            "Stop the other client, or name another `slot`. A connection that is only left over can be ended: SELECT \
             pg_terminate_backend({pid});"
        ),
    )
}

async fn say_what_it_waits_for(options: &ConnectOptions, name: &str) {
    let Ok(client) = options.connect().await else { return };
    let rows = client
        .query(
            "SELECT pid, extract(epoch FROM now() - xact_start)::int8 FROM pg_stat_activity \
             WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() ORDER BY xact_start LIMIT 3",
            &[],
        )
        .await
        .unwrap_or_default();
    let open: Vec<String> =
        rows.iter().map(|row| format!("pid {} ({} s)", row.get::<_, i32>(0), row.get::<_, Option<i64>>(1).unwrap_or(0))).collect();
    tracing::warn!(slot = name, open = %open.join(", "), "creating the slot waits for transactions that are still open");
}
