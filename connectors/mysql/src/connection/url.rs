//! The parameters of a `mysql://` URL.

use mysql_async::{ClientIdentity, Opts, OptsBuilder, SslOpts};
use percent_encoding::percent_decode_str;
use rowferry_api::{Error, ErrorKind, Result};
use std::path::PathBuf;

/// What a URL says.
pub(super) struct Parsed {
    pub(super) opts: Opts,
    /// Connect in plain where the server offers no TLS.
    pub(super) tls_is_optional: bool,
}

fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Config, format!("read the connection URL: {what}"))
        .hint("Write mysql://user:password@host:port/database?sslmode=..., special characters as %XX.")
}

pub(super) fn parse(text: &str) -> Result<Parsed> {
    let rest = text
        .strip_prefix("mysql://")
        .or_else(|| text.strip_prefix("mariadb://"))
        .ok_or_else(|| malformed("it does not begin with mysql://"))?;
    // A password may hold a question mark or an at sign that is not escaped.
    let (authority, tail) = match rest.rfind('@') {
        Some(at) if !rest[..at].contains('?') || rest[at..].contains('/') => (&rest[..at], &rest[at + 1..]),
        _ => ("", rest),
    };
    let (address, query) = tail.split_once('?').unwrap_or((tail, ""));
    let mut parameters = Parameters::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| malformed("a parameter has no value"))?;
        parameters.take(name, decoded(value)?)?;
    }
    let (host, database) = address.split_once('/').unwrap_or((address, ""));
    let (user, password) = match authority.split_once(':') {
        Some((user, password)) => (user, Some(decoded(password)?)),
        None => (authority, None),
    };
    let (host, port) = split_port(host)?;
    let user = decoded(user)?;
    let database = decoded(database)?;
    let mut builder = OptsBuilder::default()
        .ip_or_hostname(if host.is_empty() { "localhost".to_owned() } else { decoded(host)? })
        .tcp_port(port)
        .user(Some(user).filter(|user| !user.is_empty()))
        .pass(password)
        .prefer_socket(Some(false))
        .db_name(Some(database).filter(|database| !database.is_empty()));
    if let Some(socket) = parameters.socket.take() {
        builder = builder.socket(Some(socket)).prefer_socket(Some(true));
    }
    let (ssl, tls_is_optional) = parameters.tls()?;
    Ok(Parsed { opts: builder.ssl_opts(ssl).into(), tls_is_optional })
}

fn decoded(text: &str) -> Result<String> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| malformed("an escape is not UTF-8"))?;
    Ok(text.into_owned())
}

fn split_port(host: &str) -> Result<(&str, u16)> {
    let bad = || malformed("the port is no number");
    if let Some((inside, rest)) = host.strip_prefix('[').and_then(|host| host.split_once(']')) {
        let port = rest.strip_prefix(':').map_or(Ok(3306), |port| port.parse().map_err(|_| bad()))?;
        return Ok((inside, port));
    }
    match host.rsplit_once(':') {
        Some((host, port)) => Ok((host, port.parse().map_err(|_| bad())?)),
        None => Ok((host, 3306)),
    }
}

#[derive(Default)]
struct Parameters {
    mode: Option<String>,
    root: Option<String>,
    cert: Option<String>,
    key: Option<String>,
    socket: Option<String>,
}

impl Parameters {
    fn take(&mut self, name: &str, value: String) -> Result<()> {
        let place = match name {
            "sslmode" | "ssl-mode" | "ssl_mode" => &mut self.mode,
            "sslrootcert" | "ssl-ca" | "sslca" => &mut self.root,
            "sslcert" | "ssl-cert" => &mut self.cert,
            "sslkey" | "ssl-key" => &mut self.key,
            "socket" => &mut self.socket,
            _ => {
                return Err(malformed(&format!(
                    "unknown parameter {name}; sslmode, sslrootcert, sslcert, sslkey and socket are known"
                )));
            }
        };
        *place = Some(value);
        Ok(())
    }

    /// The modes of PostgreSQL's URLs and of MySQL's client.
    fn tls(self) -> Result<(Option<SslOpts>, bool)> {
        let mode = self.mode.unwrap_or_else(|| "prefer".into()).to_ascii_lowercase().replace('_', "-");
        let opts = || -> Result<SslOpts> {
            let mut opts = SslOpts::default();
            if let Some(root) = &self.root {
                opts = opts.with_root_certs(vec![PathBuf::from(root).into()]);
            }
            match (&self.cert, &self.key) {
                (Some(cert), Some(key)) => {
                    let identity = ClientIdentity::new(PathBuf::from(cert).into(), PathBuf::from(key).into());
                    opts = opts.with_client_identity(Some(identity));
                }
                (None, None) => {}
                _ => return Err(malformed("sslcert and sslkey go together")),
            }
            Ok(opts)
        };
        let unverified =
            |opts: SslOpts| opts.with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true);
        match mode.as_str() {
            "disable" | "disabled" => Ok((None, false)),
            "allow" | "prefer" | "preferred" => Ok((Some(unverified(opts()?)), true)),
            "require" | "required" => Ok((Some(unverified(opts()?)), false)),
            "verify-ca" => Ok((Some(opts()?.with_danger_skip_domain_validation(true)), false)),
            "verify-full" | "verify-identity" => Ok((Some(opts()?), false)),
            other => Err(malformed(&format!(
                "unknown sslmode {other}; disable, prefer, require, verify-ca and verify-full are known"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        let opts = |text| parse(text).map(|parsed| parsed.opts).unwrap();
        let plain = opts("mysql://root@127.0.0.1:3307/shop");
        assert_eq!((plain.user(), plain.pass(), plain.db_name()), (Some("root"), None, Some("shop")));
        assert_eq!((plain.ip_or_hostname(), plain.tcp_port()), ("127.0.0.1", 3307));
        let odd = opts("mysql://a%40b:p%3Aw@rd?x@db.example/?sslmode=disable");
        assert_eq!((odd.user(), odd.pass(), odd.db_name()), (Some("a@b"), Some("p:w@rd?x"), None));
        assert!(odd.ssl_opts().is_none());
        assert_eq!(opts("mariadb://u@[::1]/d").ip_or_hostname(), "::1");
        assert_eq!(opts("mysql://u@h/d?socket=/tmp/s.sock").socket(), Some("/tmp/s.sock"));
        assert!(parse("mysql://u@h/d").unwrap().tls_is_optional);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for bad in [
            "postgres://u@h/d",
            "mysql://u@h:x/d",
            "mysql://u@h/d?sslmode=maybe",
            "mysql://u@h/d?tls=1",
            "mysql://u@h/d?a",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(!format!("{}", parse("mysql://u:secret@h:x/d").err().unwrap()).contains("secret"));
    }
}
