//! Takes values out of what a server said of a row. Pure.
//!
//! Servers put values into quotes and parentheses, and names too. A quoted word stays where it is a name that we know or where
//! the word before says that it is one. What is left is searched for the row's own values, for messages that a trigger of
//! the target wrote. Rather too much is taken out than too little: the whole text is kept, and shown where it is asked for.

/// What stands in a value's place.
const HIDDEN: &str = "…";
/// A value shorter than this is not searched for: it would be found in any word.
const SHORTEST_VALUE: usize = 3;
/// What servers and rowferry say before a name.
const BEFORE_A_NAME: [&str; 14] = [
    "column",
    "constraint",
    "relation",
    "table",
    "schema",
    "type",
    "key",
    "index",
    "trigger",
    "function",
    "domain",
    "enum",
    "database",
    "pipeline",
];

/// `reason` without values. `names` are words that are no values: of the table and its columns. `values` are the row's own.
pub(crate) fn redacted<'a>(
    reason: &str,
    names: impl Fn(&str) -> bool,
    values: impl Iterator<Item = &'a str>,
) -> String {
    // First of all: one may hold the signs that are looked for below.
    let mut known = reason.to_owned();
    for value in values.filter(|value| value.len() >= SHORTEST_VALUE && !is_name(value, &names)) {
        if known.contains(value) {
            known = known.replace(value, HIDDEN);
        }
    }
    let mut out = String::with_capacity(known.len());
    let mut rest = known.as_str();
    while let Some(at) = rest.find(['\'', '"', '`', '(']) {
        let (before, from) = rest.split_at(at);
        push_plain(before, &mut out);
        let (open, inner) = from.split_at(1);
        let Some((content, after)) = enclosed(open, inner) else {
            // It is not closed: what was cut off may be a value.
            out.push_str(open);
            out.push_str(HIDDEN);
            return out;
        };
        let close = if open == "(" { ")" } else { open };
        let stays = match open {
            "(" => is_code(content),
            _ => is_name(content, &names) || follows_a_noun(&out),
        };
        out.push_str(open);
        out.push_str(if stays { content } else { HIDDEN });
        out.push_str(close);
        rest = after;
    }
    push_plain(rest, &mut out);
    out
}

/// What stands between an opening sign and its closing one, and what follows. Parentheses of a value may nest and need not
/// pair: all up to the last one goes, unless the first pair is an error's number.
fn enclosed<'a>(open: &str, inner: &'a str) -> Option<(&'a str, &'a str)> {
    let first = inner.find(if open == "(" { ")" } else { open })?;
    let end = if open == "(" && !is_code(&inner[..first]) { inner.rfind(')')? } else { first };
    Some((&inner[..end], &inner[end + 1..]))
}

/// An error's number or SQLSTATE.
fn is_code(content: &str) -> bool {
    (4..=5).contains(&content.len()) && content.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}

fn is_name(content: &str, names: &impl Fn(&str) -> bool) -> bool {
    content.split('.').all(|part| names(part.trim_matches(['"', '`'])))
}

fn follows_a_noun(before: &str) -> bool {
    let word = before.trim_end().rsplit(|char: char| !char.is_alphabetic()).next().unwrap_or_default();
    before.ends_with(' ') && BEFORE_A_NAME.contains(&word.to_ascii_lowercase().as_str())
}

/// Text outside of quotes, without numbers.
fn push_plain(text: &str, out: &mut String) {
    for word in text.split_inclusive(|char: char| char.is_whitespace() || ",;:".contains(char)) {
        let bare = word.trim_end_matches(|char: char| char.is_whitespace() || ",;:.".contains(char));
        if bare.starts_with(|char: char| char.is_ascii_digit() || char == '-' || char == '+')
            && bare.contains(|char: char| char.is_ascii_digit())
        {
            out.push_str(HIDDEN);
            out.push_str(&word[bare.len()..]);
        } else {
            out.push_str(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(reason: &str, expected: &str) {
        let names = |word: &str| ["public", "t", "v", "price"].contains(&word);
        assert_eq!(redacted(reason, names, ["it's secret", "secret", "ab", "price"].into_iter()), expected);
    }

    #[test]
    fn values_go_and_names_stay() {
        check(
            "write rows of public.t: new row for relation \"t\" violates check constraint \"t_v_check\" (Failing row contains (1, x (y), z).)",
            "write rows of public.t: new row for relation \"t\" violates check constraint \"t_v_check\" (…)",
        );
        check("duplicate key value (Key (id)=(5) already exists.)", "duplicate key value (…)");
        check("invalid input syntax for type integer: \"12x\"", "invalid input syntax for type integer: \"…\"");
        check("value \"99999999999\" is out of range for type integer", "value \"…\" is out of range for type integer");
        check(
            "Incorrect integer value: 'abc' for column 'v' at row 1 (1366)",
            "Incorrect integer value: '…' for column 'v' at row … (1366)",
        );
        check("Check constraint 't_chk_1' is violated. (3819)", "Check constraint 't_chk_1' is violated. (3819)");
        check("CONSTRAINT `c` failed for `shop`.`t`", "CONSTRAINT `c` failed for `…`.`t`");
        check("price of secret is 17, not -3", "price of … is …, not …");
        check("'it's secret' for column 'v' of ab", "'…' for column 'v' of ab");
        check("an opened 'value that is cut", "an opened '…");
    }
}
