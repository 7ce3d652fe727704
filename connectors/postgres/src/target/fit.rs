//! Whether a target and the tables that are there will do.

use super::{TargetTable, ddl, look};
use crate::connection::{from_pg, quote_name, quote_table};
use rowferry_api::{Error, ErrorKind, Finding, Result, TableSchema, TypeDefKind, is_wider};
use std::collections::BTreeSet;
use tokio_postgres::Client;

/// Refuses a table that cannot take the rows of a form, with every difference.
pub(super) async fn refuse_unfit(client: &Client, form: &TableSchema, have: &TargetTable) -> Result<()> {
    let differences = differences(client, form, have).await?;
    if differences.is_empty() {
        return Ok(());
    }
    let what = format!("use table {} of the target: {}", form.name, differences.join("; "));
    Err(Error::new(ErrorKind::Schema, what).hint(
        "Change the target's table to fit, set another `target` for it, or drop it there: a missing table is made.",
    ))
}

async fn differences(client: &Client, form: &TableSchema, have: &TargetTable) -> Result<Vec<String>> {
    let mut differences = Vec::new();
    for column in &form.columns {
        let wanted = ddl::native(column, form.dialect);
        match have.columns.iter().find(|have| have.name == column.name) {
            None => differences.push(format!("column {} {wanted} is missing", column.name)),
            Some(found) if found.generated => differences.push(format!("column {} is generated there", column.name)),
            Some(found) if !fits(&wanted, &found.native) => {
                differences.push(format!("column {} is {} there, and {wanted} is needed", column.name, found.native));
            }
            Some(found) if found.not_null && column.nullable => {
                differences.push(format!("column {} is NOT NULL there, and may be NULL at the source", column.name));
            }
            Some(_) => {}
        }
    }
    let known = |name: &str| form.columns.iter().chain(&form.computed).any(|column| column.name == name);
    for extra in have.columns.iter().filter(|have| !known(&have.name) && have.not_null && !have.has_default) {
        differences.push(format!(
            "column {} is NOT NULL there without a default, and the source has no such column",
            extra.name
        ));
    }
    if !has_unique_key(client, form).await? {
        let key: Vec<&str> = form.key_columns().map(|column| column.name.as_str()).collect();
        differences.push(format!("it has no primary key or unique index over exactly ({})", key.join(", ")));
    }
    Ok(differences)
}

fn fits(wanted: &str, found: &str) -> bool {
    is_wider(wanted, found) || found == "text"
}

async fn has_unique_key(client: &Client, form: &TableSchema) -> Result<bool> {
    let rows = client
        .query(
            "SELECT ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
                          JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum WHERE k.place <= i.indnkeyatts)
             FROM pg_index i WHERE i.indrelid = to_regclass($1::text) AND i.indisunique AND i.indimmediate AND i.indisvalid
               AND i.indpred IS NULL AND i.indexprs IS NULL",
            &[&quote_table(&form.name)],
        )
        .await
        .map_err(|error| from_pg(format!("look at the indexes of table {}", form.name), error))?;
    let key: BTreeSet<String> = form.key_columns().map(|column| column.name.clone()).collect();
    Ok(rows.iter().any(|row| row.get::<_, Vec<String>>(0).into_iter().collect::<BTreeSet<_>>() == key))
}

const SERVER: &str = "
    SELECT current_setting('server_version_num')::int4, current_setting('server_version'),
           pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on',
           has_database_privilege(current_database(), 'CREATE'), current_user::text, current_database()::text,
           to_regnamespace('rowferry') IS NOT NULL, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)";

/// Looks at the server and at the tables that are there. Changes nothing.
pub(super) async fn check(client: &Client, tables: &[TableSchema]) -> Result<Vec<Finding>> {
    let server =
        client.query_one(SERVER, &[]).await.map_err(|error| from_pg("look at the target's settings", error))?;
    let version: i32 = server.get(0);
    let mut findings = Vec::new();
    let version_text = format!("PostgreSQL {}", server.get::<_, String>(1));
    findings.push(if version < 120_000 {
        Finding::blocked(
            "target version",
            format!("{version_text} is too old"),
            "PostgreSQL 12 to 18 can be written to.",
        )
    } else {
        Finding::ok("target version", version_text)
    });
    if server.get(2) {
        let mend = "name the primary, or set default_transaction_read_only = off";
        findings.push(Finding::blocked("target", "it is read-only", mend));
    }
    let (user, database): (String, String) = (server.get(4), server.get(5));
    let may_create: bool = server.get(3);
    if !may_create && !server.get::<_, bool>(6) {
        let mend = format!("GRANT CREATE ON DATABASE {} TO {};", quote_name(&database), quote_name(&user));
        findings.push(Finding::blocked(
            "target rights",
            format!("user {user} may not create the schema rowferry"),
            mend,
        ));
    }
    for form in tables {
        findings.extend(about_table(client, form, may_create).await?);
    }
    if client.batch_execute("SET session_replication_role = replica").await.is_err() {
        let mend = if version >= 150_000 {
            format!("GRANT SET ON PARAMETER session_replication_role TO {};", quote_name(&user))
        } else {
            "connect as a superuser".into()
        };
        let what = "triggers and foreign keys of the target's own tables act on what is written, since session_replication_role \
                    may not be set; foreign keys that rowferry makes are deferrable";
        findings.push(Finding::warning("target rights", what, Some(mend)));
    }
    findings.extend(extensions(client, tables).await?);
    Ok(findings)
}

async fn about_table(client: &Client, form: &TableSchema, may_create: bool) -> Result<Vec<Finding>> {
    let subject = format!("table {}", form.name);
    let Some(have) = look(client, &form.name).await? else {
        let row = client
            .query_one(
                "SELECT n.oid IS NOT NULL, coalesce(has_schema_privilege(n.oid, 'CREATE'), false) FROM (SELECT to_regnamespace($1::text) AS oid) n",
                &[&quote_name(&form.name.schema)],
            )
            .await
            .map_err(|error| from_pg("look at a schema of the target", error))?;
        let (exists, may): (bool, bool) = (row.get(0), row.get(1));
        if (exists && may) || (!exists && may_create) {
            return Ok(Vec::new());
        }
        let mend = if exists {
            format!("GRANT CREATE ON SCHEMA {} TO CURRENT_USER;", quote_name(&form.name.schema))
        } else {
            format!("CREATE SCHEMA {};", quote_name(&form.name.schema))
        };
        return Ok(vec![Finding::blocked(subject, "it may not be created in the target", mend)]);
    };
    if form.key.is_empty() {
        return Ok(Vec::new());
    }
    let differences = differences(client, form, &have).await?;
    let mend =
        "change the target's table to fit, set another `target` for it, or drop it there: a missing table is made";
    let blocked = |what| Finding::blocked(subject.clone(), format!("the target's table does not fit: {what}"), mend);
    Ok(differences.into_iter().map(blocked).collect())
}

async fn extensions(client: &Client, tables: &[TableSchema]) -> Result<Vec<Finding>> {
    let missing = ddl::missing_extensions(client, tables.iter().flat_map(|form| &form.types)).await?;
    let uses = |extension: &str| {
        let has = |form: &&TableSchema| {
            form.types
                .iter()
                .any(|def| matches!(&def.kind, TypeDefKind::Extension { extension: name } if name == extension))
        };
        tables.iter().filter(has).map(|form| form.name.to_string()).collect::<Vec<_>>().join(", ")
    };
    let finding = |extension: &String| {
        let what = format!(
            "extension {extension} is not installed there: columns of its types in {} become text",
            uses(extension)
        );
        Finding::warning(
            "target extensions",
            what,
            Some(format!("install {extension} on the target's server before the start")),
        )
    };
    Ok(missing.iter().map(finding).collect())
}
