//! What stands in the way at a source, each with the statement that mends it. Changes nothing.

mod log;
mod server;
mod tables;

use crate::catalog::Entry;
use crate::connection::from_pg;
use crate::publication;
use crate::slot;
use rowferry_api::{Finding, Result, Severity, SourceTable};
use server::Server;
use tokio_postgres::Client;

/// What a check is about.
pub(crate) struct Asked<'a> {
    pub slot: &'a str,
    pub publication: &'a str,
    /// As the engine wants them, with the keys that the configuration names.
    pub tables: &'a [SourceTable],
    /// What the catalog has of them.
    pub entries: &'a [Entry],
}

/// Looks at the server, the slot, the publication, and each table, in a few statements.
pub(crate) async fn check(client: &Client, asked: &Asked<'_>) -> Result<Vec<Finding>> {
    let row = client.query_one(server::SERVER, &[]).await;
    let server = Server::from(&row.map_err(|error| from_pg("look at the source's settings", error))?);
    let slot = slot::look(client, asked.slot).await?;
    let publication = publication::look(client, asked.publication).await?;
    let mut findings = server.findings(slot.is_some());
    findings.push(log::about_slot(asked.slot, slot.as_ref(), &server));
    findings.extend(log::about_publication(asked, publication.as_ref(), &server));
    let found = tables::check(client, asked, publication.as_ref(), &server).await?;
    if found.iter().all(|finding| finding.severity != Severity::Blocked) && !asked.tables.is_empty() {
        findings.push(Finding::ok("source tables", format!("{} tables can be read and followed", asked.tables.len())));
    }
    findings.extend(found);
    Ok(findings)
}
