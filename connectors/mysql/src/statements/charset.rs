//! Character sets and collations: what a statement names, and what it means where it stands.

use super::cursor::Cursor;

/// A character set as it holds for a column, a table or a database. `utf8` is told as `utf8mb3`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Charset {
    pub(crate) name: String,
    /// If it was named; else the character set's default.
    pub(crate) collation: Option<String>,
}

/// What a statement says of a character set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct CharsetSpec {
    pub(crate) charset: Option<String>,
    pub(crate) collation: Option<String>,
    /// `CHARACTER SET DEFAULT`: that of the database.
    pub(crate) of_database: bool,
    /// The column attribute `BINARY`: the character set's `_bin` collation.
    pub(crate) bin: bool,
}

impl Charset {
    /// From names as the catalog tells them.
    pub(crate) fn new(name: &str, collation: Option<&str>) -> Self {
        Self { name: canonical(name), collation: collation.map(canonical_collation) }
    }

    /// From a collation's name, which begins with its character set's.
    pub(crate) fn of_collation(collation: &str) -> Option<Self> {
        let collation = canonical_collation(collation);
        let prefix = collation.split('_').next()?;
        max_bytes(prefix)?;
        Some(Self { name: prefix.to_owned(), collation: Some(collation) })
    }

    /// The most bytes that a character takes. `None` for a character set that is not known.
    pub(crate) fn max_bytes(&self) -> Option<u64> {
        max_bytes(&self.name)
    }

    pub(crate) fn is_binary(&self) -> bool {
        self.name == "binary"
    }
}

impl CharsetSpec {
    #[cfg(test)]
    pub(crate) fn named(charset: &str) -> Self {
        Self { charset: Some(charset.to_owned()), ..Self::default() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Reads `[DEFAULT] CHARACTER SET [=] x`, `CHARSET x`, `COLLATE y`. `None` if none of them stands here;
    /// `Some(false)` if one does and is not understood.
    pub(super) fn read(&mut self, cursor: &mut Cursor<'_>) -> Option<bool> {
        let start = cursor.clone();
        cursor.eat("DEFAULT");
        if cursor.eat_all(&["CHARACTER", "SET"]) || cursor.eat_all(&["CHAR", "SET"]) || cursor.eat("CHARSET") {
            cursor.eat_symbol('=');
            if cursor.eat("DEFAULT") {
                self.of_database = true;
                return Some(true);
            }
            self.charset = cursor.name_or_text();
            return Some(self.charset.is_some());
        }
        if cursor.eat("COLLATE") {
            cursor.eat_symbol('=');
            if cursor.eat("DEFAULT") {
                return Some(true);
            }
            self.collation = cursor.name_or_text();
            return Some(self.collation.is_some());
        }
        *cursor = start;
        None
    }

    /// What it means where `default` holds for what is not said. `None` if that cannot be told.
    pub(crate) fn resolve(&self, default: Option<&Charset>, of_database: Option<&Charset>) -> Option<Charset> {
        let mut found = match (&self.charset, &self.collation) {
            (Some(charset), collation) => Charset::new(charset, collation.as_deref()),
            (None, Some(collation)) => match Charset::of_collation(collation) {
                Some(charset) => charset,
                // MariaDB's uca1400 collations stand for those of any Unicode character set.
                None if is_prefixed_later(collation) => {
                    let default = if self.of_database { of_database } else { default };
                    Charset::new(&default?.name, Some(collation))
                }
                None => return None,
            },
            (None, None) if self.of_database => of_database?.clone(),
            (None, None) => default?.clone(),
        };
        if self.bin && !found.is_binary() && self.collation.is_none() {
            found.collation = Some(format!("{}_bin", found.name));
        }
        found.max_bytes()?;
        Some(found)
    }
}

fn is_prefixed_later(collation: &str) -> bool {
    collation.to_ascii_lowercase().starts_with("uca1400_")
}

fn canonical(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    if name == "utf8" { "utf8mb3".to_owned() } else { name }
}

fn canonical_collation(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    match name.strip_prefix("utf8_") {
        Some(rest) => format!("utf8mb3_{rest}"),
        None => name,
    }
}

/// `SHOW CHARACTER SET` of MySQL 9.7 and MariaDB 11.8.
fn max_bytes(name: &str) -> Option<u64> {
    Some(match name {
        "latin1" | "binary" | "ascii" | "latin2" | "latin5" | "latin7" | "armscii8" | "cp1250" | "cp1251"
        | "cp1256" | "cp1257" | "cp850" | "cp852" | "cp866" | "dec8" | "geostd8" | "greek" | "hebrew" | "hp8"
        | "keybcs2" | "koi8r" | "koi8u" | "macce" | "macroman" | "swe7" | "tis620" => 1,
        "big5" | "cp932" | "euckr" | "gb2312" | "gbk" | "sjis" | "ucs2" => 2,
        "utf8mb3" | "ujis" | "eucjpms" => 3,
        "utf8mb4" | "utf16" | "utf16le" | "utf32" | "gb18030" => 4,
        _ => return None,
    })
}
