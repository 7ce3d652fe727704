//! What went wrong between us and a server, and what that means for the engine.

use mysql_async::{DriverError, Error as MysqlError, IoError, ServerError};
use rowferry_api::{Error, ErrorKind};

/// The server went away: said of a connection that is of no more use.
pub(crate) const SERVER_GONE: &str = "the server closed the connection";

/// What an error of mysql_async means for the engine.
pub(crate) fn from_mysql(context: impl Into<String>, error: MysqlError) -> Error {
    let context = context.into();
    let said = |kind: ErrorKind, text: String| Error::new(kind, format!("{context}: {text}"));
    match error {
        MysqlError::Server(error) => from_server(&context, &error),
        MysqlError::Io(IoError::Io(error)) => said(ErrorKind::Unreachable, error.to_string()).hint(BROKEN_HINT),
        MysqlError::Io(error) => said(ErrorKind::Config, error.to_string()).hint(TLS_HINT),
        MysqlError::Driver(DriverError::ConnectionClosed) => said(ErrorKind::Unreachable, SERVER_GONE.into()),
        MysqlError::Driver(DriverError::NoClientSslFlagFromServer) => {
            said(ErrorKind::Config, "the server does not offer TLS".into()).hint(TLS_HINT)
        }
        MysqlError::Driver(DriverError::UnknownAuthPlugin { name }) => {
            said(ErrorKind::Denied, format!("the server asks for the login method {name}, which is not spoken"))
                .hint("Give the user mysql_native_password or caching_sha2_password.")
        }
        MysqlError::Driver(error) => said(ErrorKind::Protocol, error.to_string()),
        MysqlError::Url(error) => said(ErrorKind::Config, error.to_string()),
        MysqlError::Other(error) => said(ErrorKind::Other, error.to_string()),
    }
}

/// The server's own code, if it was the server that refused.
pub(crate) fn server_code(error: &MysqlError) -> Option<u16> {
    match error {
        MysqlError::Server(error) => Some(error.code),
        _ => None,
    }
}

const TLS_HINT: &str = "Check sslmode, sslrootcert, sslcert and sslkey: the server must speak TLS, and its certificate must fit the mode \
                        (verify-full: name the host).";
const BROKEN_HINT: &str =
    "Check that the server runs, that host and port are right, and that nothing between blocks the way.";

fn from_server(context: &str, error: &ServerError) -> Error {
    from_code(context, error.code, &error.message)
}

/// What a server's code and message mean, whether it refused or warned.
pub(crate) fn from_code(context: &str, code: u16, message: &str) -> Error {
    let (kind, hint) = meaning(code);
    let message = match (kind, message.split_once(" for key ")) {
        // The server names the values that are there twice.
        (ErrorKind::Unique, Some((_, key))) => format!("another row has the same values under the key {key}"),
        _ => message.to_owned(),
    };
    let error = Error::new(kind, format!("{context}: {message} ({code})"));
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// What a code means (MySQL manual, "Server Error Message Reference"; MariaDB knowledge base, "MariaDB Error Codes").
fn meaning(code: u16) -> (ErrorKind, Option<&'static str>) {
    match code {
        1045 | 1698 | 1251 | 1130 | 4151 => {
            (ErrorKind::Denied, Some("Check user, password and the host that the user may come from."))
        }
        1044 | 1142 | 1143 | 1227 | 1370 | 1410 => {
            (ErrorKind::Denied, Some("Grant the right to the user, or connect as one who has it."))
        }
        1049 => (ErrorKind::Denied, Some("Check the database's name in the URL.")),
        // 1412: a table was altered behind a snapshot.
        // 1148, 3948, 4166: lines of fields are not taken any more, which the next connection is told.
        1148 | 3948 | 4166 | 1412 | 1205 | 1213 | 1637 | 1689 | 1317 | 3024 | 1969 | 3572 => {
            (ErrorKind::Transient, None)
        }
        1062 | 1586 | 1761 | 1762 => (ErrorKind::Unique, None),
        1290 | 1836 | 1792 | 4181 => {
            (ErrorKind::Config, Some("The server is read-only: connect to the one that takes writes."))
        }
        1040 | 1203 | 1226 => (ErrorKind::Unreachable, Some("Raise max_connections, or close other connections.")),
        1021 | 1114 | 3 | 1026 => {
            (ErrorKind::Unreachable, Some("The server's disk or table is full: make room there."))
        }
        1053 | 1077 | 1079 | 1080 | 1152 | 1153 | 1158..=1161 | 1184 | 1927 | 2006 | 2013 => {
            (ErrorKind::Unreachable, None)
        }
        // Values that do not fit, constraints and triggers that refuse.
        1048 | 1216 | 1217 | 1264 | 1265 | 1292 | 1364 | 1366 | 1367 | 1406 | 1411 | 1416 | 1425 | 1438 | 1441
        | 1451 | 1452 | 1525 | 1644 | 1690 | 3140 | 3141 | 3156 | 3819 | 4025 | 3854 | 3903 | 1300 | 1301 | 4078
        | 1118 | 1267 => (ErrorKind::BadRow, None),
        1050 | 1051 | 1054 | 1060 | 1061 | 1068..=1072 | 1091 | 1146 | 1109 | 1136 | 1215 | 1110 | 3730 | 1822 => {
            (ErrorKind::Schema, None)
        }
        1236 => (ErrorKind::LogLost, None),
        _ => (ErrorKind::Other, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_the_kind_that_the_engine_reacts_to() {
        use ErrorKind::*;
        let expected = [
            (1045, Denied),
            (1142, Denied),
            (1213, Transient),
            (1205, Transient),
            (1062, Unique),
            (1264, BadRow),
            (1366, BadRow),
            (1048, BadRow),
            (1406, BadRow),
            (1054, Schema),
            (1146, Schema),
            (1236, LogLost),
            (1053, Unreachable),
            (1290, Config),
            (1064, Other),
        ];
        for (code, kind) in expected {
            assert_eq!(meaning(code).0, kind, "{code}");
        }
    }
}
