//! SQL texts, statement by statement, as a client program runs a file.
//!
//! A statement ends at `;` outside of quotes and comments; there is no DELIMITER. A comment line `-- session NAME` goes
//! on in another connection, which is opened when it is first named: transactions that overlap need two.

use super::database::connect;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error};
use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// A statement of a text that the server refused.
#[derive(Debug)]
pub(super) struct Failure {
    line: usize,
    statement: String,
    pub(super) error: Error,
}

#[derive(Debug, PartialEq)]
enum Step<'a> {
    /// The line that it begins in, from 1 on.
    Statement(usize, &'a str),
    Session(&'a str),
}

pub(super) async fn run_file(url: &str, file: &Path) {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    if let Err(Failure { line, statement, error }) = try_run_text(url, &text).await {
        panic!("{}:{line}: {error}\n{}", file.display(), statement.chars().take(400).collect::<String>());
    }
}

pub(super) async fn run_text(url: &str, sql: &str) {
    if let Err(Failure { line, statement, error }) = try_run_text(url, sql).await {
        panic!("line {line}: {error} in: {}", statement.chars().take(400).collect::<String>());
    }
}

pub(super) async fn try_run_text(url: &str, sql: &str) -> Result<(), Failure> {
    let mut sessions = HashMap::<&str, Conn>::new();
    let mut session = "";
    for step in steps(sql) {
        match step {
            Step::Session(name) => session = name,
            Step::Statement(line, statement) => {
                if !sessions.contains_key(session) {
                    sessions.insert(session, connect(url).await);
                }
                let client = sessions.get_mut(session).expect("opened above");
                let failure = |error| Failure { line, statement: statement.to_owned(), error };
                client.query_drop(statement).await.map_err(failure)?;
            }
        }
    }
    for client in sessions.into_values() {
        let _ = client.disconnect().await;
    }
    Ok(())
}

fn steps(sql: &str) -> Vec<Step<'_>> {
    let mut steps = Vec::new();
    let mut at = 0;
    while at < sql.len() {
        let rest = &sql[at..];
        if let Some(length) = comment(rest) {
            steps.extend(rest[..length].strip_prefix("-- session ").map(|name| Step::Session(name.trim())));
            at += length;
        } else if rest.starts_with(|char: char| char.is_whitespace() || char == ';') {
            at += rest.chars().next().map_or(0, char::len_utf8);
        } else {
            let length = statement(rest);
            steps.push(Step::Statement(sql[..at].matches('\n').count() + 1, rest[..length].trim_end()));
            at += length;
        }
    }
    steps
}

/// The bytes up to the `;` that ends it.
fn statement(text: &str) -> usize {
    let mut at = 0;
    while let Some(char) = text[at..].chars().next() {
        at += match char {
            ';' => return at,
            '\'' | '"' | '`' => quoted(&text[at..], char),
            _ => comment(&text[at..]).unwrap_or(char.len_utf8()),
        };
    }
    at
}

/// The bytes of a comment at the front, with its line's end. One with an exclamation mark is SQL for some servers.
fn comment(text: &str) -> Option<usize> {
    let until = |end: &str| text.find(end).map_or(text.len(), |at| at + end.len());
    if text.starts_with('#') || text.starts_with("-- ") || text.starts_with("--\n") {
        return Some(until("\n"));
    }
    (text.starts_with("/*") && !text.starts_with("/*!") && !text.starts_with("/*M!")).then(|| until("*/"))
}

/// The bytes of a quoted text at the front. A doubled quote inside leaves and enters again.
fn quoted(text: &str, quote: char) -> usize {
    let mut chars = text.char_indices().skip(1);
    while let Some((at, char)) = chars.next() {
        match char {
            '\\' if quote != '`' => drop(chars.next()),
            char if char == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_end_outside_of_quotes_and_comments() {
        let sql =
            "-- first; one\nSELECT ';', \"a\\\";\", `;`; /* ; */ SELECT 'it''s;' -- x;\n , 2;\n-- session b\n\nCOMMIT";
        let expected = [
            Step::Statement(2, "SELECT ';', \"a\\\";\", `;`"),
            Step::Statement(2, "SELECT 'it''s;' -- x;\n , 2"),
            Step::Session("b"),
            Step::Statement(6, "COMMIT"),
        ];
        assert_eq!(steps(sql), expected);
    }
}
