//! Cuts a statement into words, names, texts and symbols. Total: any text gives tokens, and never more than it has bytes.

use super::SqlMode;
use std::str::Chars;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A keyword, a name without quotes, or a number.
    Word(&'a str),
    /// A quoted name.
    Name(String),
    /// A string.
    Text(String),
    Symbol(char),
}

/// Ends with the statement, or at its semicolon.
pub(super) struct Tokens<'a> {
    rest: &'a str,
    mode: SqlMode,
    /// Within `/*! .. */`, whose inside is code.
    in_code_comment: bool,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(statement: &'a str, mode: SqlMode) -> Self {
        Self { rest: statement, mode, in_code_comment: false }
    }

    /// Blanks, comments, and the two ends of executable comments.
    fn skip_blanks(&mut self) {
        loop {
            self.rest =
                self.rest.trim_start_matches(|char: char| char.is_ascii_whitespace() || char.is_ascii_control());
            if let Some(after) = self.rest.strip_prefix("*/").filter(|_| self.in_code_comment) {
                self.in_code_comment = false;
                self.rest = after;
            } else if let Some(code) = self.rest.strip_prefix("/*M!").or_else(|| self.rest.strip_prefix("/*!")) {
                self.in_code_comment = true;
                self.rest = skip_version(code);
            } else if let Some(comment) = self.rest.strip_prefix("/*") {
                self.rest = comment.find("*/").map_or("", |end| &comment[end + 2..]);
            } else if self.rest.starts_with('#') || is_dash_comment(self.rest) {
                self.rest = self.rest.find('\n').map_or("", |end| &self.rest[end + 1..]);
            } else {
                return;
            }
        }
    }

    /// What stands up to the closing quote, which may be doubled inside. Without one, it is all the rest.
    fn quoted(&mut self, quote: char, escapes: bool) -> String {
        let mut text = String::new();
        let mut chars = self.rest.chars();
        while let Some(char) = chars.next() {
            if char == quote {
                let after = chars.as_str();
                match after.strip_prefix(quote) {
                    Some(_) => drop(chars.next()),
                    None => break,
                }
                text.push(quote);
            } else if char == '\\' && escapes {
                push_escaped(&mut text, &mut chars);
            } else {
                text.push(char);
            }
        }
        self.rest = chars.as_str();
        text
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        self.skip_blanks();
        let first = self.rest.chars().next().filter(|char| *char != ';')?;
        if is_word(first) {
            let end = self.rest.find(|char| !is_word(char)).unwrap_or(self.rest.len());
            let (word, rest) = self.rest.split_at(end);
            self.rest = rest;
            return Some(Token::Word(word));
        }
        self.rest = &self.rest[first.len_utf8()..];
        let escapes = !self.mode.has(SqlMode::NO_BACKSLASH_ESCAPES);
        Some(match first {
            '`' => Token::Name(self.quoted('`', false)),
            '"' if self.mode.has(SqlMode::ANSI_QUOTES) => Token::Name(self.quoted('"', false)),
            '"' | '\'' => Token::Text(self.quoted(first, escapes)),
            symbol => Token::Symbol(symbol),
        })
    }
}

/// Names without quotes may hold these, and all beyond ASCII (MySQL manual, "Schema Object Names").
fn is_word(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_' || char == '$' || !char.is_ascii()
}

/// `--` begins a comment only where a blank follows.
fn is_dash_comment(text: &str) -> bool {
    text.strip_prefix("--").is_some_and(|after| {
        after.chars().next().is_none_or(|char| char.is_ascii_whitespace() || char.is_ascii_control())
    })
}

/// Five digits, or six: `50003`, `100100`.
fn skip_version(code: &str) -> &str {
    let digits = code.bytes().take(6).take_while(u8::is_ascii_digit).count();
    if digits >= 5 { &code[digits..] } else { code }
}

/// MySQL manual, "String Literals", special character escape sequences.
fn push_escaped(text: &mut String, chars: &mut Chars<'_>) {
    match chars.next() {
        Some('0') => text.push('\0'),
        Some('b') => text.push('\u{8}'),
        Some('n') => text.push('\n'),
        Some('r') => text.push('\r'),
        Some('t') => text.push('\t'),
        Some('Z') => text.push('\u{1a}'),
        Some(char @ ('%' | '_')) => text.extend(['\\', char]),
        Some(char) => text.push(char),
        None => {}
    }
}
