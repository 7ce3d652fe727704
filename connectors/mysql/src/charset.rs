//! Character sets of the server: text of the log to UTF-8.
//!
//! The log has a column's text in the column's own character set, a SELECT has it in the connection's, converted by the
//! server. So that both agree, sets of one to three bytes that are not built in are decoded with a table that the
//! server itself made: [`Charsets::queries`] says what to ask it, [`Charsets::learn`] takes the answers. Bytes that are no text
//! of their set are errors, never replaced.

mod table;
#[cfg(test)]
mod tests;

use rowferry_api::{Error, ErrorKind, Result};
use std::collections::HashMap;
use std::sync::Arc;
use table::Table;

/// How text becomes UTF-8.
#[derive(Debug, Clone)]
pub(crate) enum Charset {
    /// UTF-8, of at most 3 or 4 bytes a character.
    Utf8 {
        max_char_bytes: u32,
    },
    Ascii,
    /// Windows-1252, with control characters where that has none.
    Latin1,
    /// Big-endian; UCS-2 too.
    Utf16 {
        max_char_bytes: u32,
    },
    Utf16Le,
    Utf32,
    /// Learned from the server.
    Table(Arc<Table>),
    Gb18030,
}

impl Charset {
    /// A set that needs nothing from the server.
    fn built_in(name: &str) -> Option<Self> {
        match name {
            "utf8mb4" => Some(Self::Utf8 { max_char_bytes: 4 }),
            "utf8" | "utf8mb3" => Some(Self::Utf8 { max_char_bytes: 3 }),
            "ascii" => Some(Self::Ascii),
            "latin1" => Some(Self::Latin1),
            "utf16" => Some(Self::Utf16 { max_char_bytes: 4 }),
            "ucs2" => Some(Self::Utf16 { max_char_bytes: 2 }),
            "utf16le" => Some(Self::Utf16Le),
            "utf32" => Some(Self::Utf32),
            "gb18030" => Some(Self::Gb18030),
            _ => None,
        }
    }

    /// The most bytes of a character: what a column's length in characters is multiplied with.
    pub(crate) fn max_char_bytes(&self) -> u32 {
        match self {
            Self::Ascii | Self::Latin1 => 1,
            Self::Utf16Le | Self::Utf32 | Self::Gb18030 => 4,
            Self::Utf8 { max_char_bytes } | Self::Utf16 { max_char_bytes } => *max_char_bytes,
            Self::Table(table) => table.max_char_bytes(),
        }
    }

    /// The text itself, if it is UTF-8 as it stands.
    #[inline]
    pub(crate) fn borrow<'a>(&self, text: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Self::Utf8 { .. } => std::str::from_utf8(text).is_ok().then_some(text),
            Self::Ascii | Self::Latin1 | Self::Gb18030 => text.is_ascii().then_some(text),
            Self::Table(table) if table.holds_ascii() => text.is_ascii().then_some(text),
            _ => None,
        }
    }

    /// Appends the text in UTF-8; `None` if it is no text of this set.
    pub(crate) fn decode(&self, text: &[u8], out: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Utf8 { .. } => out.extend_from_slice(std::str::from_utf8(text).ok()?.as_bytes()),
            Self::Ascii => out.extend_from_slice(text.is_ascii().then_some(text)?),
            Self::Latin1 => text.iter().for_each(|byte| push_char(out, latin1(*byte))),
            Self::Utf16 { .. } => push_utf16(text, u16::from_be_bytes, out)?,
            Self::Utf16Le => push_utf16(text, u16::from_le_bytes, out)?,
            Self::Utf32 => {
                let (chars, rest) = text.as_chunks::<4>();
                for char in chars {
                    push_char(out, char::from_u32(u32::from_be_bytes(*char))?);
                }
                return rest.is_empty().then_some(());
            }
            Self::Table(table) => table.decode(text, out)?,
            Self::Gb18030 => {
                let text = encoding_rs::GB18030.decode_without_bom_handling_and_without_replacement(text)?;
                out.extend_from_slice(text.as_bytes());
            }
        }
        Some(())
    }
}

/// The sets that a table's columns are in.
#[derive(Debug, Clone, Default)]
pub(crate) struct Charsets {
    learned: HashMap<String, Charset>,
}

impl Charsets {
    /// The set of this name; one that has to be learned first is an error.
    pub(crate) fn get(&self, name: &str) -> Result<Charset> {
        let learned = || self.learned.get(name).cloned();
        Charset::built_in(name).or_else(learned).ok_or_else(|| {
            Error::new(ErrorKind::Schema, format!("the character set \"{name}\" is not known"))
                .hint("convert the column to utf8mb4")
        })
    }

    /// The statements whose answers [`learn`](Self::learn) takes; none if the set is built in or learned already. Each
    /// answers one row with one column of text.
    pub(crate) fn queries(&self, name: &str) -> Vec<String> {
        if Charset::built_in(name).is_some() || self.learned.contains_key(name) {
            return Vec::new();
        }
        table::queries(name)
    }

    /// Takes the answers to [`queries`](Self::queries) in their order.
    pub(crate) fn learn(&mut self, name: &str, answers: &[String]) -> Result<()> {
        let table = Table::read(answers).ok_or_else(|| {
            Error::new(
                ErrorKind::Protocol,
                format!("the server's table of its character set \"{name}\" cannot be read"),
            )
            .hint("convert the columns in this character set to utf8mb4")
        })?;
        self.learned.insert(name.to_owned(), Charset::Table(Arc::new(table)));
        Ok(())
    }
}

/// One character of the server's latin1.
pub(crate) fn latin1(byte: u8) -> char {
    const FROM_0X80: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}', '\u{90}', '‘',
        '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    match byte {
        0x80..=0x9f => FROM_0X80[usize::from(byte - 0x80)],
        _ => char::from(byte),
    }
}

fn push_char(out: &mut Vec<u8>, char: char) {
    out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
}

fn push_utf16(text: &[u8], unit: fn([u8; 2]) -> u16, out: &mut Vec<u8>) -> Option<()> {
    let (units, rest) = text.as_chunks::<2>();
    for char in char::decode_utf16(units.iter().map(|bytes| unit(*bytes))) {
        push_char(out, char.ok()?);
    }
    rest.is_empty().then_some(())
}
