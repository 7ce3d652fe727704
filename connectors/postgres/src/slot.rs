//! The replication slot: made once, looked at before every start, never replaced by itself.

mod holder;

use crate::connection::{ConnectOptions, END_WITH_CLIENT, from_pg};
use crate::log_reader::lost;
use crate::lsn::Lsn;
use crate::publication::server_version;
use crate::settle;
pub(crate) use holder::{claim, explain as explain_holder, wait_until_free};
use rowferry_api::{Error, ErrorKind, LogKept, Result, failpoint};
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Version 14: a slot can be moved without decoding. Before it `pg_replication_slot_advance` overlooks subtransactions that change a
/// table, and writes down for every slot what it believes: rows behind it would be read in an older form.
pub(crate) const MOVES_SLOTS: i32 = 140_000;
/// Version 17: slots are known to standbys.
const WITH_FAILOVER: i32 = 170_000;
/// A slot that waits this long for old transactions says so.
const SAY_AFTER: Duration = Duration::from_secs(10);
/// And gives up after this long.
const GIVE_UP_AFTER: Duration = Duration::from_secs(600);

/// How long our own reader may take to let the slot go, and how often that is tried: the server tells nobody.
const DROP_PATIENCE: Duration = Duration::from_secs(30);
const DROP_POLL: Duration = Duration::from_millis(100);

/// A slot as the server shows it.
#[derive(Debug)]
pub(crate) struct Slot {
    pub plugin: Option<String>,
    pub database: Option<String>,
    pub active_pid: Option<i32>,
    /// The reader, as it names itself.
    pub active_application: Option<String>,
    pub confirmed: Option<Lsn>,
    /// The server gave it up: dropped the log that it needs (13 and later say so), or the rows (16 and later).
    pub invalid: bool,
}

/// Looks a slot up. Changes nothing.
pub(crate) async fn look(client: &Client, name: &str) -> Result<Option<Slot>> {
    let failed = |error| from_pg(format!("look at slot \"{name}\""), error);
    let row = client
        .query_opt(
            "SELECT s.plugin::text, s.database::text, s.active_pid, a.application_name, s.confirmed_flush_lsn::text, \
                    coalesce(to_jsonb(s)->>'wal_status' = 'lost', false) OR to_jsonb(s)->>'invalidation_reason' IS NOT NULL \
                    OR coalesce((to_jsonb(s)->>'conflicting')::bool, false) \
             FROM pg_replication_slots s LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid WHERE s.slot_name = $1",
            &[&name],
        )
        .await
        .map_err(failed)?;
    let Some(row) = row else { return Ok(None) };
    let confirmed: Option<String> = row.get(4);
    Ok(Some(Slot {
        plugin: row.get(0),
        database: row.get(1),
        active_pid: row.get(2),
        active_application: row.get(3),
        confirmed: confirmed.as_deref().map(Lsn::parse).transpose()?,
        invalid: row.get(5),
    }))
}

/// What the server keeps for the slot. Versions before 13 say nothing of limits.
pub(crate) async fn kept(client: &Client, name: &str) -> Result<LogKept> {
    let statement = "SELECT greatest(0, pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() \
                                        ELSE pg_current_wal_insert_lsn() END, s.restart_lsn))::int8, \
                            to_jsonb(s)->>'wal_status', (to_jsonb(s)->>'safe_wal_size')::int8 \
                     FROM pg_replication_slots s WHERE s.slot_name = $1";
    let row = client.query_opt(statement, &[&name]).await;
    let row = row.map_err(|error| from_pg(format!("ask what slot \"{name}\" keeps"), error))?;
    let Some(row) = row else { return Ok(LogKept::default()) };
    let number = |at| row.get::<_, Option<i64>>(at).map(|bytes| u64::try_from(bytes).unwrap_or(0));
    Ok(LogKept { bytes: number(0), status: row.get(1), left_bytes: number(2), ..LogKept::default() })
}

/// Drops the slot once our own reader, which was just ended, has let it go.
pub(crate) async fn drop_own(client: &Client, name: &str) -> Result<()> {
    let until = tokio::time::Instant::now() + DROP_PATIENCE;
    loop {
        let statement = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1";
        match client.query_opt(statement, &[&name]).await {
            Ok(_) => return Ok(()),
            Err(error) if error.code() == Some(&SqlState::OBJECT_IN_USE) && tokio::time::Instant::now() < until => {
                tokio::time::sleep(DROP_POLL).await;
            }
            Err(error) => return Err(from_pg(format!("give up slot \"{name}\""), error)),
        }
    }
}

/// Refuses a slot that no longer has what follows `resume`. One that is in use passes: it may be by us.
pub(crate) async fn refuse_lost(client: &Client, name: &str, resume: Lsn) -> Result<()> {
    match look(client, name).await? {
        None => {
            Err(lost(format!("resume at {resume}: slot \"{name}\" is gone, and with it what the source changed since")))
        }
        Some(slot) if slot.invalid => Err(lost(format!(
            "resume at {resume}: the server gave slot \"{name}\" up, since the log or the rows that it held back grew beyond a \
             limit (max_slot_wal_keep_size, idle_replication_slot_timeout)"
        ))),
        Some(Slot { confirmed: Some(confirmed), .. }) if confirmed > resume => Err(lost(format!(
            "resume at {resume}: slot \"{name}\" has passed {confirmed} already; what lies between is lost to this pipeline"
        ))),
        Some(slot) => {
            refuse_foreign(client, name, &slot).await?;
            refuse_future(client, resume).await
        }
    }
}

/// A server that was restored from a backup would come to this position again, with another history before it. A standby
/// may only be behind: it restarts with what it has replayed again.
async fn refuse_future(client: &Client, resume: Lsn) -> Result<()> {
    let statement = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_insert_lsn() END::text";
    let row = client.query_one(statement, &[]).await.map_err(|error| from_pg("ask for the end of the log", error))?;
    let Some(end) = row.get::<_, Option<&str>>(0) else { return Ok(()) };
    let end = Lsn::parse(end)?;
    if end >= resume {
        return Ok(());
    }
    Err(lost(format!(
        "resume at {resume}: the source's log ends at {end} already, so it went back in time (restored from a backup?)"
    )))
}

async fn refuse_foreign(client: &Client, name: &str, slot: &Slot) -> Result<()> {
    let row = client.query_one("SELECT current_database()::text", &[]).await;
    let database: String = row.map_err(|error| from_pg("ask for the database's name", error))?.get(0);
    match foreign(slot, &database) {
        None => Ok(()),
        Some(what) => Err(Error::new(ErrorKind::Config, format!("use slot \"{name}\": {what}")).hint(format!(
            "Name another `slot`; one of plugin pgoutput in database {database} is made if it is missing."
        ))),
    }
}

/// What makes a slot useless for this database, if anything does.
pub(crate) fn foreign(slot: &Slot, database: &str) -> Option<String> {
    match (slot.plugin.as_deref(), slot.database.as_deref()) {
        (Some("pgoutput"), Some(of)) if of == database => None,
        (Some(plugin), Some(of)) => Some(format!("it is of plugin {plugin} in database {of}")),
        _ => Some("it is a physical slot".into()),
    }
}

/// Where a slot's log starts.
pub(crate) struct SlotStart {
    pub at: Lsn,
    /// The slot was there, and may hold what was logged long ago.
    pub is_older: bool,
}

/// Makes the slot, or takes one that is there and idle; returns where its log starts. One that the server has given up leads
/// nowhere any more and is made again. Transactions below `mark` may have begun before the publication was made.
pub(crate) async fn create(
    client: &Client,
    options: &ConnectOptions,
    name: &str,
    publication: &str,
    mark: i64,
) -> Result<SlotStart> {
    wait_until_free(client, name).await?;
    if let Some(slot) = look(client, name).await? {
        refuse_foreign(client, name, &slot).await?;
        if slot.invalid {
            tracing::warn!(slot = name, "the server has given the slot up: it is dropped and made again");
            let dropped = client.execute("SELECT pg_drop_replication_slot($1)", &[&name]).await;
            dropped.map_err(|error| from_pg(format!("drop slot \"{name}\", which the server has given up"), error))?;
        } else if let Some(confirmed) = slot.confirmed {
            return Ok(match may_precede(client, name, publication).await? {
                true => SlotStart { at: advance(client, options, name, mark).await?, is_older: false },
                false => SlotStart { at: confirmed, is_older: true },
            });
        }
    }
    let start = make(options, name).await?;
    failpoint!("postgres.slot_made");
    Ok(SlotStart { at: start, is_older: false })
}

/// Whether the slot may start before the publication was made, by this process or by one that ended before it could move
/// the slot. What was logged before cannot be decoded with it.
async fn may_precede(client: &Client, name: &str, publication: &str) -> Result<bool> {
    let row = client
        .query_opt(
            "SELECT age(p.xmin) <= age(s.catalog_xmin) AND NOT pg_is_in_recovery() FROM pg_publication p, pg_replication_slots s \
             WHERE p.pubname = $1 AND s.slot_name = $2",
            &[&publication, &name],
        )
        .await
        .map_err(|error| from_pg(format!("compare slot \"{name}\" with its publication"), error))?;
    Ok(row.and_then(|row| row.get(0)).unwrap_or(false))
}

/// No position is held yet, so nothing is skipped. A new slot would wait for the same transactions.
async fn advance(client: &Client, options: &ConnectOptions, name: &str, mark: i64) -> Result<Lsn> {
    match tokio::time::timeout(GIVE_UP_AFTER, settle::wait(client, options, mark)).await {
        Ok(settled) => settled?,
        Err(_) => return Err(gave_up(options, &format!("move slot \"{name}\" behind the new publication")).await),
    }
    if server_version(client).await? < MOVES_SLOTS {
        let dropped = client.query_one("SELECT pg_drop_replication_slot($1)", &[&name]).await;
        dropped.map_err(|error| from_pg(format!("make slot \"{name}\" anew"), error))?;
        return make(options, name).await;
    }
    let row = client
        .query_one("SELECT end_lsn::text FROM pg_replication_slot_advance($1, pg_current_wal_lsn())", &[&name])
        .await
        .map_err(|error| from_pg(format!("move slot \"{name}\" behind the new publication"), error))?;
    Lsn::parse(row.get(0))
}

/// On a connection of its own with a limit that the server keeps: before version 14 it goes on waiting where a client hangs
/// up, and would leave behind a slot that nobody reads.
async fn make(options: &ConnectOptions, name: &str) -> Result<Lsn> {
    let failed = |error| from_pg(format!("create slot \"{name}\""), error);
    let client = options.connect().await?;
    let limit = format!("SET statement_timeout = {}; {END_WITH_CLIENT}", GIVE_UP_AFTER.as_millis());
    client.batch_execute(&limit).await.map_err(failed)?;
    let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&name];
    // Standbys that synchronize slots keep a copy of it, so that a promoted one goes on with it.
    let is_primary = "SELECT NOT pg_is_in_recovery()";
    let can_fail_over = server_version(&client).await? >= WITH_FAILOVER
        && client.query_one(is_primary, &[]).await.map_err(failed)?.get(0);
    let more = if can_fail_over { ", failover => true" } else { "" };
    let statement = format!("SELECT lsn::text FROM pg_create_logical_replication_slot($1, 'pgoutput'{more})");
    let made = client.query_one(statement.as_str(), &parameters);
    tokio::pin!(made);
    let row = tokio::select! {
        row = &mut made => row,
        () = tokio::time::sleep(SAY_AFTER) => {
            let open = open_transactions(options).await;
            tracing::warn!(slot = name, open = %open, "creating the slot waits for transactions that are still open");
            made.await
        }
    };
    match row {
        Ok(row) => Lsn::parse(row.get(0)),
        Err(error) if error.code() == Some(&SqlState::QUERY_CANCELED) => {
            Err(gave_up(options, &format!("create slot \"{name}\"")).await)
        }
        Err(error) => Err(failed(error)),
    }
}

async fn gave_up(options: &ConnectOptions, context: &str) -> Error {
    let what = format!("{context}: transactions that were open did not end in {} s", GIVE_UP_AFTER.as_secs());
    let open = open_transactions(options).await;
    Error::new(ErrorKind::Transient, what).hint(format!("A slot starts between transactions. End these: {open}."))
}

/// The oldest transactions that have written, for a message. A standby waits for its primary instead.
pub(crate) async fn open_transactions(options: &ConnectOptions) -> String {
    let Ok(client) = options.connect().await else {
        return "unknown".into();
    };
    let rows = client
        .query(
            "SELECT what FROM (
                 SELECT format('pid %s (%s, %s s)', pid, coalesce(nullif(application_name, ''), usename),
                               extract(epoch FROM clock_timestamp() - xact_start)::int8) AS what, xact_start AS since
                 FROM pg_stat_activity
                 WHERE backend_xid IS NOT NULL AND pid <> pg_backend_pid() AND backend_type = 'client backend'
                 UNION ALL
                 SELECT format('prepared transaction %L in database %s (%s s)', gid, database,
                               extract(epoch FROM clock_timestamp() - prepared)::int8), prepared
                 FROM pg_prepared_xacts
                 UNION ALL
                 SELECT 'on a standby: SELECT pg_log_standby_snapshot() on the primary starts it', now() WHERE pg_is_in_recovery()
             ) t ORDER BY since LIMIT 5",
            &[],
        )
        .await
        .unwrap_or_default();
    rows.iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>().join(", ")
}
