//! Whether a slot still has what follows a position, and what a refusal to stream means.
//!
//! Decided by SQLSTATE and by the catalog, never by a message's words: servers speak their administrator's language.

use crate::connection::{Failure, from_pg};
use crate::lsn::Lsn;
use crate::slot;
use rowferry_api::{Error, ErrorKind, Result};
use std::time::Duration;
use tokio_postgres::Client;

/// The log no longer has what we need.
pub(crate) fn lost(what: String) -> Error {
    Error::new(ErrorKind::LogLost, what).hint(
        "`rowferry resync --all` starts the log anew and compares and copies every table again over what the target has.",
    )
}

/// Whether the slot moved on past `start`. Asked once the slot is ours: from then on nobody else moves it, and asked
/// before it is only a look.
pub(super) async fn refuse_passed(client: &Client, name: &str, start: Lsn) -> Result<()> {
    match slot::look(client, name).await?.and_then(|slot| slot.confirmed) {
        Some(confirmed) if confirmed > start => Err(lost(format!(
            "read from {start}: slot \"{name}\" has passed {confirmed} already; what lies between is lost to this pipeline"
        ))),
        _ => Ok(()),
    }
}

/// What the server's refusal to start means.
pub(super) async fn explain_start(client: &Client, name: &str, failure: Failure, context: &str) -> Error {
    let code = code_of(&failure);
    let error = failure.into_error(context);
    let found = || slot::look(client, name);
    match code.as_str() {
        "55006" => slot::explain_holder(client, name, error).await,
        "42704" => lost(format!("{error}: the slot is gone")),
        "58P01" => lost(error.to_string()),
        "55000" if found().await.is_ok_and(|slot| slot.is_some_and(|slot| slot.invalid)) => lost(error.to_string()),
        _ => error,
    }
}

/// What an end of the stream means.
pub(super) fn explain_end(failure: Failure, publication: &str, context: &str) -> Error {
    match code_of(&failure).as_str() {
        // A segment of the log is gone.
        "58P01" => lost(failure.into_error(context).to_string()),
        // The slot is decoded with the catalog of its time.
        "42704" => without_publication(failure, publication, context),
        "XX000" => decoding_failed(failure, context),
        _ => failure.into_error(context),
    }
}

/// An internal error. Decoding begins anew with each connection, with other things in the server's caches.
fn decoding_failed(failure: Failure, context: &str) -> Error {
    let text = failure.into_error(context).to_string();
    Error::new(ErrorKind::Transient, text).hint(
        "The server failed to decode its own log; its minor updates mend such errors. If it fails at each start, drop the \
         slot and run `rowferry resync --all`.",
    )
}

/// PostgreSQL 18 warns of a publication that is missing, and goes on without the tables that it carries.
pub(super) fn explain_notice(failure: Failure, publication: &str, context: &str) -> Option<Error> {
    (code_of(&failure) == "55000").then(|| without_publication(failure, publication, context))
}

fn without_publication(failure: Failure, publication: &str, context: &str) -> Error {
    let text = failure.into_error(context).to_string();
    Error::new(ErrorKind::Config, text).hint(format!(
        "Publication \"{publication}\" was not there yet, or no longer, when this part of the log was written. Create it, \
         drop the slot, and run `rowferry resync --all`."
    ))
}

fn code_of(failure: &Failure) -> String {
    match failure {
        Failure::Server(error) => error.state.code().to_owned(),
        _ => String::new(),
    }
}

/// After how long the server hangs up on a silent client; `None`: never.
pub(super) async fn sender_timeout(client: &Client) -> Result<Option<Duration>> {
    let row = client
        .query_one("SELECT setting::int8 FROM pg_settings WHERE name = 'wal_sender_timeout'", &[])
        .await
        .map_err(|error| from_pg("ask for wal_sender_timeout", error))?;
    let timeout_ms: i64 = row.get(0);
    Ok(u64::try_from(timeout_ms).ok().filter(|timeout| *timeout > 0).map(Duration::from_millis))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::Frame;

    /// As PostgreSQL 15 sent it of a table that was truncated.
    #[test]
    fn an_internal_error_is_tried_again() {
        let body = "SERROR\0VERROR\0CXX000\0Mcould not map filenode \"base/5/21828\" to relation OID\0\0";
        let error = explain_end(Frame { tag: b'E', body: body.into() }.error(), "p", "read the log");
        assert_eq!(error.kind(), ErrorKind::Transient);
        assert!(error.to_string().contains("21828"), "{error}");
    }

    /// As PostgreSQL 18 sends it.
    #[test]
    fn a_publication_that_is_skipped_ends_the_stream_and_other_notices_do_not() {
        let notice = |code: &str| {
            let body = format!("SWARNING\0VWARNING\0C{code}\0Mskipped loading publication \"p\"\0\0");
            explain_notice(Frame { tag: b'N', body: body.into() }.error(), "p", "read the log")
        };
        let error = notice("55000").unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.hint_text().unwrap().contains("\"p\""), "{error}");
        assert!(notice("01000").is_none());
    }
}
