//! The parameters of a connection text that tokio-postgres does not know or would read otherwise than libpq.

use rowferry_api::{Error, ErrorKind, Result};

/// What was taken out of a connection text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct TlsParameters {
    pub(crate) mode: Option<String>,
    pub(crate) root: Option<String>,
    pub(crate) cert: Option<String>,
    pub(crate) key: Option<String>,
}

impl TlsParameters {
    /// Keeps the value of a parameter that is ours; false if it is not.
    fn take(&mut self, name: &str, value: &str) -> bool {
        let place = match name {
            "sslmode" => &mut self.mode,
            "sslrootcert" => &mut self.root,
            "sslcert" => &mut self.cert,
            "sslkey" => &mut self.key,
            _ => return false,
        };
        *place = Some(value.to_owned());
        true
    }
}

/// Takes the TLS parameters out of a URL or `key=value` text; returns what is left for tokio-postgres.
pub(crate) fn take_tls(text: &str) -> Result<(String, TlsParameters)> {
    let mut tls = TlsParameters::default();
    let rest = if text.starts_with("postgres://") || text.starts_with("postgresql://") {
        from_url(text, &mut tls)?
    } else {
        from_pairs(text, &mut tls)?
    };
    Ok((rest, tls))
}

pub(crate) fn malformed(what: &str) -> Error {
    Error::new(ErrorKind::Config, format!("read the connection URL: {what}"))
        .hint("Write postgres://user:password@host:port/database?sslmode=..., special characters as %XX.")
}

/// libpq's names for the parameters that tokio-postgres names otherwise; an error for those that would be ignored.
fn known_name(name: &str) -> Result<&str> {
    match name {
        "keepalives_count" => Ok("keepalives_retries"),
        "sslnegotiation" | "load_balance_hosts" => Err(malformed(&format!("{name} is not supported; leave it out"))),
        other => Ok(other),
    }
}

fn from_url(text: &str, tls: &mut TlsParameters) -> Result<String> {
    // A password may hold a question mark that is not escaped, and a parameter behind the database an @.
    let authority = text.find("://").map_or(0, |at| at + 3);
    let is_in_query = |at: &usize| {
        let before = &text[authority..*at];
        before.find('/').is_some_and(|slash| before[slash..].contains('?'))
    };
    let credentials = text.find('@').filter(|at| !is_in_query(at)).map_or(0, |at| at + 1);
    let Some(query_at) = text[credentials..].find('?').map(|at| credentials + at) else {
        return Ok(text.to_owned());
    };
    let mut kept = Vec::new();
    for pair in text[query_at + 1..].split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| malformed("a parameter has no value"))?;
        let name = known_name(name)?;
        if !tls.take(name, &percent_decoded(value)) {
            // tokio-postgres takes the first @ for the end of the credentials, wherever it stands.
            kept.push(format!("{name}={}", value.replace('@', "%40")));
        }
    }
    let base = &text[..query_at];
    Ok(if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) })
}

fn from_pairs(text: &str, tls: &mut TlsParameters) -> Result<String> {
    let mut kept = String::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or_else(|| malformed("it is neither a URL nor key=value pairs"))?;
        let (value, after) = pair_value(after.trim_start())?;
        let name = known_name(name.trim_end())?;
        if !tls.take(name, &value) {
            let escaped = value.replace('\\', "\\\\").replace('\'', "\\'");
            kept.push_str(&format!("{name}='{escaped}' "));
        }
        rest = after.trim_start();
    }
    Ok(kept)
}

/// A value, in single quotes or up to the next blank, with backslash escapes; and what follows it.
fn pair_value(text: &str) -> Result<(String, &str)> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut chars = text.char_indices().skip(usize::from(quoted));
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' => value.extend(chars.next().map(|(_, char)| char)),
            '\'' if quoted => return Ok((value, &text[at + 1..])),
            char if !quoted && char.is_whitespace() => return Ok((value, &text[at..])),
            char => value.push(char),
        }
    }
    if quoted { Err(malformed("a quoted value does not end")) } else { Ok((value, "")) }
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match (bytes[at], hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn taken(text: &str) -> (String, TlsParameters) {
        take_tls(text).unwrap()
    }

    #[test]
    fn a_url_keeps_what_is_not_ours() {
        let (rest, tls) = taken("postgres://u:p?w@h/db?sslmode=verify-ca&application_name=x&sslrootcert=%2Fa%20b.pem");
        assert_eq!(rest, "postgres://u:p?w@h/db?application_name=x");
        assert_eq!((tls.mode.as_deref(), tls.root.as_deref()), (Some("verify-ca"), Some("/a b.pem")));
        assert_eq!(taken("postgres://h/db?keepalives_count=2").0, "postgres://h/db?keepalives_retries=2");
    }

    #[test]
    fn an_at_sign_in_a_parameter_hides_none_of_them() {
        let (rest, tls) = taken("postgres://db/shop?user=bob@corp&sslmode=require");
        assert_eq!((rest.as_str(), tls.mode.as_deref()), ("postgres://db/shop?user=bob%40corp", Some("require")));
        let config: tokio_postgres::Config = rest.parse().unwrap();
        assert_eq!((config.get_user(), config.get_dbname()), (Some("bob@corp"), Some("shop")));
    }

    #[test]
    fn pairs_keep_blanks_and_escapes_in_values() {
        let (rest, tls) = taken(r"host=h  password = 'a  b\'c://' sslmode=require user=x\ y");
        assert_eq!(rest, r"host='h' password='a  b\'c://' user='x y' ");
        assert_eq!(tls.mode.as_deref(), Some("require"));
        assert!(take_tls("host=h password='open").is_err());
        assert!(take_tls("just text").is_err());
    }

    #[test]
    fn what_would_be_ignored_is_refused() {
        assert!(take_tls("postgres://h/db?sslnegotiation=direct").is_err());
        assert!(take_tls("host=a,b load_balance_hosts=random").is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}", url in any::<bool>()) {
            let _ = take_tls(&if url { format!("postgres://{text}") } else { text });
        }
    }
}
