//! What stands in the way at a source, each with the statement that mends it. Changes nothing.

use crate::catalog::Entry;
use crate::connection::{from_pg, quote_name, quote_table};
use crate::publication::{self, Publication};
use crate::slot::{self, Slot};
use rowferry_api::{Finding, Result, SourceTable};
use std::collections::HashMap;
use tokio_postgres::{Client, Row};

const OLDEST: i32 = 120_000;

const SERVER: &str = "
    SELECT current_setting('server_version_num')::int4, current_setting('server_version'),
           current_setting('wal_level'), pg_is_in_recovery(),
           current_setting('max_replication_slots')::int8, (SELECT count(*) FROM pg_replication_slots),
           current_setting('max_wal_senders')::int8, (SELECT count(*) FROM pg_stat_replication),
           r.rolreplication OR r.rolsuper, r.rolsuper, current_user::text, current_database()::text,
           has_database_privilege(current_database(), 'CREATE'),
           coalesce(current_setting('max_slot_wal_keep_size', true), '-1')
    FROM pg_roles r WHERE r.rolname = current_user";

const RIGHTS: &str = "
    SELECT c.oid, has_table_privilege(c.oid, 'SELECT') AND has_schema_privilege(c.relnamespace, 'USAGE'),
           pg_has_role(c.relowner, 'USAGE')
    FROM pg_class c WHERE c.oid = ANY($1)";

/// Looks at the server, the slot, the publication, and each table.
pub(crate) async fn check(
    client: &Client,
    slot: &str,
    publication: &str,
    tables: &[SourceTable],
    entries: &[Entry],
) -> Result<Vec<Finding>> {
    let server = client.query_one(SERVER, &[]).await.map_err(|error| from_pg("look at the source's settings", error))?;
    let found_slot = slot::look(client, slot).await?;
    let found_publication = publication::look(client, publication).await?;
    let mut findings = Vec::new();
    findings.extend(settings(&server, found_slot.is_some()));
    findings.extend(about_slot(slot, found_slot.as_ref(), &server.get::<_, String>(11)));
    findings.extend(about_publication(publication, found_publication.as_ref(), tables, &server));
    let oids: Vec<u32> = entries.iter().map(|entry| entry.oid).collect();
    let rights = client.query(RIGHTS, &[&oids]).await.map_err(|error| from_pg("look at the rights on tables", error))?;
    let rights: HashMap<u32, &Row> = rights.iter().map(|row| (row.get(0), row)).collect();
    let by_name: HashMap<_, _> = entries.iter().map(|entry| (&entry.table.schema.name, entry)).collect();
    let covered = |table: &SourceTable| {
        found_publication.as_ref().is_some_and(|found| found.all_tables || found.tables.contains(&table.schema.name))
    };
    for table in tables {
        let Some(entry) = by_name.get(&table.schema.name) else { continue };
        let rights = rights.get(&entry.oid).map(|row| (row.get(1), row.get(2)));
        let user: String = server.get(10);
        findings.extend(about_table(table, entry, rights.unwrap_or((true, true)), covered(table), &user));
    }
    if !findings.iter().any(|finding| finding.subject.starts_with("table ")) {
        findings.push(Finding::ok("source tables", format!("{} tables can be read and followed", tables.len())));
    }
    Ok(findings)
}

fn settings(server: &Row, has_slot: bool) -> Vec<Finding> {
    let version: i32 = server.get(0);
    let wal_level: String = server.get(2);
    let (slots, used_slots, senders, used_senders): (i64, i64, i64, i64) =
        (server.get(4), server.get(5), server.get(6), server.get(7));
    let user: String = server.get(10);
    let mut findings = Vec::new();
    if version < OLDEST {
        let what = format!("PostgreSQL {} is too old", server.get::<_, String>(1));
        findings.push(Finding::blocked("source version", what, "PostgreSQL 12 to 18 can be replicated from."));
    } else {
        findings.push(Finding::ok("source version", format!("PostgreSQL {}", server.get::<_, String>(1))));
    }
    if wal_level == "logical" {
        findings.push(Finding::ok("source wal_level", "logical"));
    } else {
        let mend = "ALTER SYSTEM SET wal_level = logical; -- then restart the server";
        findings.push(Finding::blocked("source wal_level", format!("it is {wal_level}; the log must carry logical changes"), mend));
    }
    if server.get::<_, bool>(3) {
        let what = "it is a standby: the slot is lost when it is promoted, and publications are made on the primary";
        findings.push(Finding::warning("source role", what, None));
    }
    if !has_slot && used_slots >= slots {
        let mend = format!("ALTER SYSTEM SET max_replication_slots = {}; -- then restart the server", slots + 4);
        findings.push(Finding::blocked("source max_replication_slots", format!("all {slots} are in use"), mend));
    }
    if used_senders >= senders {
        let mend = format!("ALTER SYSTEM SET max_wal_senders = {}; -- then restart the server", senders + 4);
        findings.push(Finding::blocked("source max_wal_senders", format!("all {senders} are in use"), mend));
    }
    if !server.get::<_, bool>(8) {
        let mend = format!("ALTER ROLE {} REPLICATION;", quote_name(&user));
        findings.push(Finding::blocked("source rights", format!("user {user} may not replicate"), mend));
    }
    let keep: String = server.get(13);
    if keep != "-1" {
        let what = format!("max_slot_wal_keep_size is {keep}: past it the server gives the slot up and tables have to be compared again");
        findings.push(Finding::warning("source max_slot_wal_keep_size", what, None));
    }
    findings
}

fn about_slot(name: &str, slot: Option<&Slot>, database: &str) -> Option<Finding> {
    let subject = format!("source slot {name}");
    let Some(slot) = slot else { return Some(Finding::ok(subject, "it will be made")) };
    if slot.plugin.as_deref() != Some("pgoutput") || slot.database.as_deref() != Some(database) {
        return Some(Finding::blocked(
            subject,
            "it is of another plugin or another database",
            "name another `slot` in the configuration; it is made if it is missing",
        ));
    }
    if slot.invalid {
        let mend = format!("SELECT pg_drop_replication_slot('{name}'); -- then rowferry resync --all");
        return Some(Finding::blocked(subject, "the server has given it up: it no longer holds the log", mend));
    }
    let pid = slot.active_pid?;
    let mend = format!(
        "stop the other client or name another `slot`; a connection that is only left over: SELECT pg_terminate_backend({pid});"
    );
    Some(Finding::blocked(subject, format!("it is in use: process {pid} reads it for another client"), mend))
}

fn about_publication(
    name: &str,
    publication: Option<&Publication>,
    tables: &[SourceTable],
    server: &Row,
) -> Vec<Finding> {
    let subject = format!("source publication {name}");
    let mut findings = Vec::new();
    let Some(found) = publication else {
        if !server.get::<_, bool>(12) && !server.get::<_, bool>(9) {
            let (user, database): (String, String) = (server.get(10), server.get(11));
            let mend = format!("GRANT CREATE ON DATABASE {} TO {};", quote_name(&database), quote_name(&user));
            findings.push(Finding::blocked(subject, format!("user {user} may not create it"), mend));
        }
        return findings;
    };
    if found.operations.contains(&false) {
        let mend = format!("ALTER PUBLICATION {} SET (publish = 'insert, update, delete, truncate');", quote_name(name));
        findings.push(Finding::blocked(subject.clone(), "it does not publish every operation", mend));
    }
    for table in tables.iter().filter(|table| found.narrowed.contains(&table.schema.name)) {
        let name = quote_table(&table.schema.name);
        findings.push(Finding::blocked(
            format!("table {}", table.schema.name),
            format!("publication {} carries only some of its rows or columns", quote_name(&subject["source publication ".len()..])),
            format!("publish {name} without a column list and without WHERE, or name another `publication`"),
        ));
    }
    findings
}

fn about_table(
    table: &SourceTable,
    entry: &Entry,
    (may_select, owns): (bool, bool),
    covered: bool,
    user: &str,
) -> Vec<Finding> {
    let form = &table.schema;
    let name = quote_table(&form.name);
    let subject = format!("table {}", form.name);
    let user = quote_name(user);
    let mut findings = Vec::new();
    if !may_select {
        let mend = format!("GRANT USAGE ON SCHEMA {} TO {user}; GRANT SELECT ON {name} TO {user};", quote_name(&form.name.schema));
        findings.push(Finding::blocked(subject.clone(), "it may not be read", mend));
    }
    if !owns && !covered {
        let mend = format!(
            "ALTER TABLE {name} OWNER TO {user}; -- or as its owner: ALTER PUBLICATION ... ADD TABLE {name};"
        );
        findings.push(Finding::blocked(subject.clone(), "only its owner can add it to a publication", mend));
    }
    if form.key.is_empty() {
        let mend = format!(
            "ALTER TABLE {name} ADD PRIMARY KEY (...);\nor, with a unique index over columns that are NOT NULL: ALTER TABLE {name} \
             REPLICA IDENTITY USING INDEX ...;\nor ALTER TABLE {name} REPLICA IDENTITY FULL; and `key = [...]` for it in the \
             configuration;\nor leave it out: \"!{}\" in `tables`",
            form.name
        );
        findings.push(Finding::blocked(
            subject,
            "it has no primary key and no replica identity that names its rows; in a publication its updates and deletes would fail",
            mend,
        ));
        return findings;
    }
    let lacks: Vec<&str> = form
        .key_columns()
        .map(|column| column.name.as_str())
        .filter(|column| !entry.identity_columns.iter().any(|have| have == column))
        .collect();
    if !lacks.is_empty() {
        let (what, mend) = match entry.identity {
            'n' => (
                "its replica identity is NOTHING: updates and deletes carry no key, and fail in a publication".to_owned(),
                format!("ALTER TABLE {name} REPLICA IDENTITY DEFAULT; -- or FULL, where it has no primary key"),
            ),
            _ => (
                format!("its replica identity does not hold the key's columns {}", lacks.join(", ")),
                format!("ALTER TABLE {name} REPLICA IDENTITY FULL; -- or DEFAULT, if the primary key is the key"),
            ),
        };
        findings.push(Finding::blocked(subject, what, mend));
    }
    findings
}
