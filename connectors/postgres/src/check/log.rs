//! The slot and the publication.

use super::{Asked, server::Server};
use crate::connection::{quote_name, quote_table};
use crate::publication::Publication;
use crate::slot::{self, Slot};
use rowferry_api::Finding;

/// How we name ourselves to a server.
const OURSELVES: &str = "rowferry";

pub(super) fn about_slot(name: &str, slot: Option<&Slot>, server: &Server) -> Finding {
    let subject = format!("source slot {name}");
    let Some(slot) = slot else {
        return Finding::ok(subject, "it will be made");
    };
    if let Some(what) = slot::foreign(slot, &server.database) {
        let mend = format!(
            "name another `slot`; one of plugin pgoutput in database {} is made if it is missing",
            server.database
        );
        return Finding::blocked(subject, what, mend);
    }
    if slot.invalid {
        let what =
            "the server has given it up: it no longer holds the log. One is made in its place when the log starts anew";
        return Finding::warning(subject, what, Some("rowferry resync --all".into()));
    }
    let Some(pid) = slot.active_pid else {
        return Finding::ok(subject, "it is there and free");
    };
    let application = slot.active_application.as_deref().unwrap_or("another client");
    let what = format!("it is in use: process {pid} of the server reads it for {application}");
    let mend = format!(
        "stop the other client or name another `slot`; a connection that is only left over: SELECT pg_terminate_backend({pid});"
    );
    // That may be the pipeline that is being looked at.
    if application == OURSELVES {
        Finding::warning(subject, what, Some(mend))
    } else {
        Finding::blocked(subject, what, mend)
    }
}

pub(super) fn about_publication(asked: &Asked<'_>, publication: Option<&Publication>, server: &Server) -> Vec<Finding> {
    let name = asked.publication;
    let subject = format!("source publication {name}");
    let quoted = quote_name(name);
    let list = |missing: &dyn Fn(&rowferry_api::TableName) -> bool| {
        let names = asked.tables.iter().map(|table| &table.schema.name).filter(|name| missing(name));
        names.map(|name| format!("ONLY {}", quote_table(name))).collect::<Vec<_>>().join(", ")
    };
    let Some(found) = publication else {
        if server.standby {
            let mend = format!(
                "on the primary: CREATE PUBLICATION {quoted} FOR TABLE {} WITH (publish_via_partition_root = true);",
                list(&|_| true)
            );
            return vec![Finding::blocked(subject, "it is missing, and a standby cannot make it", mend)];
        }
        if !server.may_create {
            let (user, database) = (quote_name(&server.user), quote_name(&server.database));
            let mend = format!("GRANT CREATE ON DATABASE {database} TO {user};");
            return vec![Finding::blocked(
                subject,
                format!("it is missing, and user {} may not make it", server.user),
                mend,
            )];
        }
        return vec![Finding::ok(subject, "it will be made")];
    };
    let mut findings = Vec::new();
    if let Some((what, mend)) = found.missing_operations(name) {
        findings.push(Finding::blocked(subject.clone(), what, mend));
    }
    let addable = |table: &rowferry_api::SourceTable| {
        !found.tables.contains(&table.schema.name) && found.conflict(name, table).is_none()
    };
    if asked.tables.iter().any(addable) && (!found.owned || server.standby) {
        let who = if server.standby { "on the primary" } else { "as its owner" };
        let mend =
            format!("{who}: ALTER PUBLICATION {quoted} ADD TABLE {};", list(&|name| !found.tables.contains(name)));
        findings.push(Finding::blocked(
            subject.clone(),
            "it lacks tables, and only its owner can add them, on the primary",
            mend,
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(subject, "it is there"));
    }
    findings
}
