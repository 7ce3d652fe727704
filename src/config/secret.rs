//! `${NAME}` and `${file:/run/secrets/x}` in texts, and keeping what they hold out of messages.

/// What could not be filled in, and what to do.
#[derive(Debug)]
pub(super) struct Missing {
    pub what: String,
    pub help: String,
}

/// The text with each `${...}` replaced: by an environment variable, or by a file's content without its last newline.
pub(super) fn fill(text: &str) -> Result<String, Missing> {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        out.push_str(&rest[..at]);
        let inside = &rest[at + 2..];
        let Some(end) = inside.find('}') else {
            return Err(Missing { what: "a ${ has no }".into(), help: "Close it: ${NAME}.".into() });
        };
        out.push_str(&value(&inside[..end])?);
        rest = &inside[end + 1..];
    }
    out.push_str(rest);
    Ok(out)
}

fn value(name: &str) -> Result<String, Missing> {
    if let Some(path) = name.strip_prefix("file:") {
        let content = std::fs::read_to_string(path).map_err(|error| Missing {
            what: format!("the file {path} cannot be read: {error}"),
            help: "Make the file readable for this user, or name another.".into(),
        })?;
        let line = content.strip_suffix('\n').unwrap_or(&content);
        return Ok(line.strip_suffix('\r').unwrap_or(line).to_owned());
    }
    std::env::var(name).map_err(|_| Missing {
        what: format!("the environment variable {name} is not set"),
        help: format!("Set it before the start: export {name}=..."),
    })
}

/// The same text with passwords replaced by stars, byte for byte, so that places in it stay right.
pub(super) fn black_out(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for (at, _) in text.match_indices("://") {
        let start = at + 3;
        let end = text[start..].find(['"', '\'', '\n', ' ']).map_or(text.len(), |end| start + end);
        let Some(host) = text[start..end].rfind('@').map(|host| start + host) else { continue };
        if let Some(colon) = text[start..host].find(':') {
            bytes[start + colon + 1..host].fill(b'*');
        }
    }
    for (at, word) in text.match_indices("password") {
        let after = at + word.len();
        let gap = text[after..].len() - text[after..].trim_start_matches([' ', '=', '"', '\'']).len();
        if !text[after..after + gap].contains('=') {
            continue;
        }
        let start = after + gap;
        let end = text[start..].find(['"', '\'', '\n', ' ', '&']).map_or(text.len(), |end| start + end);
        bytes[start..end].fill(b'*');
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
