//! What went wrong between us and a server, and what that means for the engine.

use rowferry_api::{Error, ErrorKind};
use std::error::Error as StdError;
use std::io;
use tokio_postgres::error::{DbError, SqlState};

/// Why a server could not be reached, or what it refused.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server's own words.
    Server(Box<ServerError>),
    /// No TLS as it was asked for.
    Tls(String),
    /// The server asks for a password or a method that we do not have, or does not know the password itself.
    Login(String),
    /// The connection was refused, broke, or fell silent.
    Broken(String),
    /// The other side speaks something else.
    Protocol(String),
    /// We asked for something that cannot be.
    Other(String),
}

/// An ErrorResponse (PostgreSQL manual, "Error and Notice Message Fields").
#[derive(Debug)]
pub(crate) struct ServerError {
    pub(crate) state: SqlState,
    pub(crate) message: String,
    pub(crate) detail: Option<String>,
    /// The context: where in the server, and for COPY in which row, it happened.
    pub(crate) place: Option<String>,
    pub(crate) hint: Option<String>,
}

/// What an error of tokio-postgres means for the engine.
pub(crate) fn from_pg(context: impl Into<String>, error: tokio_postgres::Error) -> Error {
    Failure::from(error).into_error(context)
}

impl Failure {
    /// Whether the same server may take a connection that is not encrypted, where the mode allows one.
    pub(crate) fn may_pass_in_plain(&self) -> bool {
        match self {
            Self::Tls(_) => true,
            // No line of pg_hba.conf for an encrypted connection; a wrong password is 28P01.
            Self::Server(error) => error.state == SqlState::INVALID_AUTHORIZATION_SPECIFICATION,
            _ => false,
        }
    }

    pub(crate) fn into_error(self, context: impl Into<String>) -> Error {
        let context = context.into();
        let (kind, text, hint) = match self {
            Self::Server(error) => return error.into_error(&context),
            Self::Tls(text) => (ErrorKind::Config, text, TLS_HINT),
            Self::Login(text) => (ErrorKind::Denied, text, LOGIN_HINT),
            Self::Broken(text) => (ErrorKind::Unreachable, text, BROKEN_HINT),
            Self::Protocol(text) => return Error::new(ErrorKind::Protocol, format!("{context}: {text}")),
            Self::Other(text) => return Error::new(ErrorKind::Other, format!("{context}: {text}")),
        };
        Error::new(kind, format!("{context}: {text}")).hint(hint)
    }
}

const TLS_HINT: &str = "Check sslmode, sslrootcert, sslcert and sslkey: the server must speak TLS, its certificate must fit the mode \
                        (verify-full: name the host), and ours must be one that it takes.";
const LOGIN_HINT: &str = "Check user and password in the URL, and the method in the server's pg_hba.conf (trust, password, md5 and \
                          scram-sha-256 are spoken).";
const BROKEN_HINT: &str =
    "Check that the server runs, that host and port are right, and that nothing between blocks the way.";

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>()) {
            Some(tls) => Self::Tls(explain_tls(tls)),
            // rustls explains at length that a peer may be cut off; that is what a server that ends looks like.
            None if error.kind() == io::ErrorKind::UnexpectedEof => {
                Self::Broken("the server closed the connection".into())
            }
            None => Self::Broken(error.to_string()),
        }
    }
}

fn explain_tls(error: &rustls::Error) -> String {
    use rustls::{CertificateError, Error as Tls};
    match error {
        Tls::InvalidCertificate(CertificateError::UnknownIssuer) => {
            "TLS: the server's certificate is signed by an authority that we do not trust".into()
        }
        Tls::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => {
            format!("TLS: the server's certificate does not name this host ({error})")
        }
        // What `openssl x509 -req` makes unless it is given extensions.
        Tls::InvalidCertificate(CertificateError::Other(cause)) if cause.to_string().contains("UnsupportedCertVersion") => {
            "TLS: the server's certificate is of X.509 version 1, which cannot be verified; make one of version 3, with a \
             subjectAltName that names the host"
                .into()
        }
        Tls::AlertReceived(alert) => format!("TLS: the server refused ({alert:?})"),
        other => format!("TLS: {other}"),
    }
}

impl From<tokio_postgres::Error> for Failure {
    /// The kinds of tokio-postgres are private; its texts are one to one with them.
    fn from(error: tokio_postgres::Error) -> Self {
        if let Some(db) = error.as_db_error() {
            return Self::Server(Box::new(db.into()));
        }
        let said = error.to_string();
        let cause = error.source().map_or_else(|| said.clone(), ToString::to_string);
        match said.as_str() {
            "connection closed" | "timeout waiting for server" => Self::Broken(said),
            "error connecting to server" | "error communicating with the server" => Self::of_cause(error, Self::Broken),
            "error performing TLS handshake" => Self::of_cause(error, Self::Tls),
            "authentication error" => Self::Login(cause),
            "invalid configuration" if cause.contains("password") => {
                Self::Login("the server asks for a password".into())
            }
            "unexpected message from server" | "error parsing response from server" => Self::Protocol(cause),
            _ if cause == said => Self::Other(said),
            _ => Self::Other(format!("{said}: {cause}")),
        }
    }
}

impl Failure {
    fn of_cause(error: tokio_postgres::Error, otherwise: impl Fn(String) -> Self) -> Self {
        let said = error.to_string();
        match error.into_source().map(|cause| cause.downcast::<io::Error>()) {
            Some(Ok(cause)) => (*cause).into(),
            Some(Err(cause)) => otherwise(cause.to_string()),
            None => otherwise(said),
        }
    }
}

impl From<&DbError> for ServerError {
    fn from(db: &DbError) -> Self {
        let owned = |part: Option<&str>| part.map(ToOwned::to_owned);
        Self {
            state: db.code().clone(),
            message: db.message().to_owned(),
            detail: owned(db.detail()),
            place: owned(db.where_()),
            hint: owned(db.hint()),
        }
    }
}

impl ServerError {
    pub(crate) fn into_error(self, context: &str) -> Error {
        let (kind, hint) = meaning(&self.state);
        let mut text = self.message;
        // Both may hold values of a row.
        let detail = self.detail.filter(|_| kind != ErrorKind::Unique);
        let place = self.place.filter(|_| kind == ErrorKind::BadRow);
        for part in [detail, place].into_iter().flatten() {
            text = format!("{text} ({})", part.lines().next().unwrap_or_default());
        }
        let error = Error::new(kind, format!("{context}: {text}"));
        match self.hint.or(hint.map(ToOwned::to_owned)) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// What a code means (PostgreSQL manual, "PostgreSQL Error Codes").
fn meaning(state: &SqlState) -> (ErrorKind, Option<&'static str>) {
    let code = state.code();
    match (code.get(..2).unwrap_or_default(), code) {
        ("28", _) => (ErrorKind::Denied, Some("Check user, password and the server's pg_hba.conf.")),
        (_, "3D000") => (ErrorKind::Denied, Some("Check the database's name in the URL.")),
        (_, "42501") => (ErrorKind::Denied, Some("Grant the right to the user, or connect as one who has it.")),
        ("40", _) | (_, "55P03" | "57014") => (ErrorKind::Transient, None),
        (_, "55006") => (ErrorKind::Busy, None),
        (_, "23505") => (ErrorKind::Unique, None),
        (_, "25006") => {
            (ErrorKind::Config, Some("The server is read-only (a standby, or default_transaction_read_only)."))
        }
        (_, "55000") => (ErrorKind::Config, None),
        (_, "53300") => (
            ErrorKind::Unreachable,
            Some("Raise max_connections (or the limit of the role or database), or close other connections."),
        ),
        (_, "53100") => (ErrorKind::Unreachable, Some("The server's disk is full: make room there.")),
        // 25P03 and 25P04 are timeouts that end a whole session.
        ("08" | "53" | "57" | "58", _) | (_, "25P03" | "25P04") => (ErrorKind::Unreachable, None),
        // 54000: a value too large for an index; 44000: a view's check; P0001: a trigger's refusal.
        ("22" | "23", _) | (_, "54000" | "44000" | "P0001") => (ErrorKind::BadRow, None),
        (
            _,
            "42P01" | "42703" | "42804" | "42704" | "3F000" | "42P10" | "2BP01" | "42883" | "42P07" | "42701" | "42710",
        ) => (ErrorKind::Schema, None),
        _ => (ErrorKind::Other, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(code: &str) -> Error {
        let owned = |text: &str| Some(text.to_owned());
        ServerError {
            state: SqlState::from_code(code),
            message: "refused".into(),
            detail: owned("Key (id)=(secret)"),
            place: owned("COPY t, line 1: secret"),
            hint: None,
        }
        .into_error("write")
    }

    #[test]
    fn codes_have_the_kind_that_the_engine_reacts_to() {
        use ErrorKind::*;
        let expected = [
            ("40001", Transient),
            ("40P01", Transient),
            ("55P03", Transient),
            ("57014", Transient),
            ("08006", Unreachable),
            ("57P01", Unreachable),
            ("57P03", Unreachable),
            ("28P01", Denied),
            ("28000", Denied),
            ("42501", Denied),
            ("3D000", Denied),
            ("23505", Unique),
            ("23502", BadRow),
            ("23503", BadRow),
            ("23514", BadRow),
            ("22P02", BadRow),
            ("23P01", BadRow),
            ("42P01", Schema),
            ("42703", Schema),
            ("42804", Schema),
            ("55006", Busy),
            ("53200", Unreachable),
            ("53300", Unreachable),
            ("25006", Config),
            ("XX000", Other),
            ("0A000", Other),
        ];
        for (code, kind) in expected {
            assert_eq!(error(code).kind(), kind, "{code}");
        }
    }

    #[test]
    fn values_stand_only_in_errors_about_a_row() {
        assert!(!error("23505").to_string().contains("secret"));
        assert!(!error("42P01").to_string().contains("line 1"));
        assert!(error("23502").to_string().contains("secret"));
    }

    #[test]
    fn a_connection_that_ends_is_unreachable_and_a_bad_certificate_is_not() {
        let ended =
            io::Error::new(io::ErrorKind::UnexpectedEof, "peer closed connection without sending TLS close_notify");
        assert_eq!(Failure::from(ended).into_error("read").kind(), ErrorKind::Unreachable);
        let bad = io::Error::new(
            io::ErrorKind::InvalidData,
            rustls::Error::InvalidCertificate(rustls::CertificateError::Expired),
        );
        assert_eq!(Failure::from(bad).into_error("read").kind(), ErrorKind::Config);
    }
}
