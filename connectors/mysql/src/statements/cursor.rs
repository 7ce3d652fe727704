//! A place among a statement's tokens.

use super::SqlMode;
use super::tokens::Token;
use rowferry_api::TableName;

#[derive(Clone)]
pub(super) struct Cursor<'t> {
    tokens: &'t [Token<'t>],
    at: usize,
    default_schema: &'t str,
    pub(super) mode: SqlMode,
}

impl<'t> Cursor<'t> {
    pub(super) fn new(tokens: &'t [Token<'t>], default_schema: &'t str, mode: SqlMode) -> Self {
        Self { tokens, at: 0, default_schema, mode }
    }

    pub(super) fn default_schema(&self) -> &'t str {
        self.default_schema
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at >= self.tokens.len()
    }

    pub(super) fn peek(&self) -> Option<&'t Token<'t>> {
        self.tokens.get(self.at)
    }

    pub(super) fn next(&mut self) -> Option<&'t Token<'t>> {
        let token = self.peek()?;
        self.at += 1;
        Some(token)
    }

    /// The next tokens are these words.
    pub(super) fn starts(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(offset, expected)| {
            matches!(self.tokens.get(self.at + offset), Some(Token::Word(word)) if word.eq_ignore_ascii_case(expected))
        })
    }

    pub(super) fn starts_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.starts(&[word]))
    }

    pub(super) fn starts_symbol(&self, symbol: char) -> bool {
        self.peek() == Some(&Token::Symbol(symbol))
    }

    pub(super) fn eat_all(&mut self, words: &[&str]) -> bool {
        let found = self.starts(words);
        if found {
            self.at += words.len();
        }
        found
    }

    pub(super) fn eat(&mut self, word: &str) -> bool {
        self.eat_all(&[word])
    }

    pub(super) fn eat_any(&mut self, words: &[&str]) -> bool {
        words.iter().any(|word| self.eat(word))
    }

    pub(super) fn eat_symbol(&mut self, symbol: char) -> bool {
        let found = self.starts_symbol(symbol);
        if found {
            self.at += 1;
        }
        found
    }

    /// The next token, or the whole group if it opens a parenthesis. One that does not close holds all the rest.
    pub(super) fn skip_one(&mut self) {
        if self.group().is_none() {
            self.at = if self.starts_symbol('(') { self.tokens.len() } else { self.at + 1 };
        }
    }

    /// What stands in parentheses here. `None`, and no step, if there are none or they do not close.
    pub(super) fn group(&mut self) -> Option<Cursor<'t>> {
        if !self.starts_symbol('(') {
            return None;
        }
        let mut depth = 0_usize;
        for (offset, token) in self.tokens[self.at..].iter().enumerate() {
            match token {
                Token::Symbol('(') => depth += 1,
                Token::Symbol(')') => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let inside = &self.tokens[self.at + 1..self.at + offset];
                self.at += offset + 1;
                return Some(Self { tokens: inside, at: 0, ..*self });
            }
        }
        None
    }

    /// What stands up to the next comma outside of parentheses, and a step behind it. `None` at the end.
    pub(super) fn part(&mut self) -> Option<Cursor<'t>> {
        if self.is_at_end() {
            return None;
        }
        let start = self.at;
        while !self.is_at_end() && !self.starts_symbol(',') {
            self.skip_one();
        }
        let part = &self.tokens[start..self.at.min(self.tokens.len())];
        self.eat_symbol(',');
        Some(Self { tokens: part, at: 0, ..*self })
    }

    pub(super) fn name(&mut self) -> Option<String> {
        let name = match self.peek()? {
            Token::Word(word) => (*word).to_owned(),
            Token::Name(name) if !name.is_empty() => name.clone(),
            Token::Name(_) | Token::Text(_) | Token::Symbol(_) => return None,
        };
        self.at += 1;
        Some(name)
    }

    /// `table`, `schema.table`, or `.table`.
    pub(super) fn table(&mut self) -> Option<TableName> {
        let first = if self.starts_symbol('.') { self.default_schema.to_owned() } else { self.name()? };
        if self.eat_symbol('.') {
            return Some(TableName::new(first, self.name()?));
        }
        Some(TableName::new(self.default_schema, first))
    }

    /// A column's name, which may have the table's before it.
    pub(super) fn column(&mut self) -> Option<String> {
        self.eat_symbol('.');
        let mut name = self.name()?;
        while self.eat_symbol('.') {
            name = self.name()?;
        }
        Some(name)
    }

    /// A name of a character set or collation, which may be written as a string.
    pub(super) fn name_or_text(&mut self) -> Option<String> {
        if let Some(Token::Text(text)) = self.peek() {
            self.at += 1;
            return Some(text.clone());
        }
        self.name()
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let Some(Token::Word(word)) = self.peek() else { return None };
        let number = word.parse().ok()?;
        self.at += 1;
        Some(number)
    }

    /// The rest stands there unread.
    pub(super) fn skip_all(&mut self) {
        self.at = self.tokens.len();
    }

    pub(super) fn eat_if_exists(&mut self) -> bool {
        self.eat_all(&["IF", "EXISTS"])
    }

    pub(super) fn eat_if_not_exists(&mut self) -> bool {
        self.eat_all(&["IF", "NOT", "EXISTS"])
    }

    /// MariaDB's `WAIT n` and `NOWAIT`.
    pub(super) fn eat_wait(&mut self) {
        if self.eat("WAIT") {
            self.number();
        } else {
            self.eat("NOWAIT");
        }
    }
}
