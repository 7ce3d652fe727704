//! What a case's `expect` says, for sources of every kind.

use super::kind;
use crate::Kind;
use crate::mysql::Flavor;
use std::fs;
use std::path::Path;

/// The lines of a case's `expect`. Tables are named as the source's kind names them: with their schema in PostgreSQL,
/// without their database in MySQL.
#[derive(Debug, Default)]
pub struct Expect {
    into: Vec<Kind>,
    not: Vec<Kind>,
    sources: Vec<String>,
    /// The least version of a PostgreSQL source.
    pub since: u32,
    /// Options of a server of the case's own.
    pub server: Vec<String>,
    /// The tables that are carried; empty for all.
    pub tables: Vec<String>,
    /// Tables that are not compared.
    pub skip: Vec<String>,
    /// Tables that are halted after the changes, with a text of the reason.
    pub halted: Vec<(String, String)>,
    /// Texts of what `check` and `run` refuse.
    pub refused: Vec<String>,
    /// Tables with their names at the target.
    pub renamed: Vec<(String, String)>,
    /// Tables with the columns that travel.
    pub columns: Vec<(String, Vec<String>)>,
    /// Rows are compared, structure is not.
    pub loose: bool,
    /// Texts of ERROR lines that are no surprise.
    pub allowed_errors: Vec<String>,
}

impl Expect {
    /// Reads the file of a folder, if there is one; panics at a line that is not known.
    pub fn read(folder: &Path) -> Self {
        let mut expect = Self::default();
        let text = fs::read_to_string(folder.join("expect")).unwrap_or_default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            assert!(expect.take(word, rest), "{}: no such line in expect: {line}", folder.display());
        }
        expect
    }

    /// Whether the line was known.
    fn take(&mut self, word: &str, rest: &str) -> bool {
        let words = || rest.split(' ').map(str::to_owned).collect();
        let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
        let two = || (first.to_owned(), second.to_owned());
        match word {
            "into" => self.into = rest.split(' ').map(kind).collect(),
            "not" => self.not.push(kind(rest)),
            "source" => self.sources.push(rest.to_owned()),
            "since" => self.since = rest.parse().expect("a version"),
            "server" => self.server = words(),
            "tables" => self.tables = words(),
            "skip" => self.skip.push(rest.to_owned()),
            "halted" => self.halted.push(two()),
            "refused" => self.refused.push(rest.to_owned()),
            "target" => self.renamed.push(two()),
            "columns" => {
                self.columns.push((first.to_owned(), second.split(',').map(str::to_owned).collect()));
            }
            "loose" => self.loose = true,
            "allow-error" => self.allowed_errors.push(rest.to_owned()),
            _ => return false,
        }
        true
    }

    /// Whether the case is meant for a target of this kind.
    pub fn is_into(&self, kind: Kind) -> bool {
        (self.into.is_empty() || self.into.contains(&kind)) && !self.not.contains(&kind)
    }

    /// Whether the case is meant for such a source. `source mariadb 10.5`: one of these lines has to fit, if there are any.
    pub fn is_from(&self, flavor: Flavor) -> bool {
        let fits = |line: &String| {
            let (brand, version) = line.split_once(' ').unwrap_or((line, "0.0"));
            let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
            let least: (u16, u16) = (major.parse().expect("a version"), minor.parse().expect("a version"));
            assert!(["mysql", "mariadb"].contains(&brand), "no such source: {line}");
            (brand == "mariadb") == flavor.is_mariadb() && flavor.version() >= least
        };
        self.sources.is_empty() || self.sources.iter().any(fits)
    }

    /// The name that a table is to have at the target, if it has another one there.
    pub fn renamed_to(&self, table: &str) -> Option<&str> {
        self.renamed.iter().find(|(from, _)| from == table).map(|(_, to)| to.as_str())
    }

    /// The columns of a table that travel; empty for all.
    pub fn columns_of(&self, table: &str) -> Vec<String> {
        self.columns.iter().find(|(name, _)| name == table).map(|(_, columns)| columns.clone()).unwrap_or_default()
    }

    /// Whether a table is compared.
    pub fn compares(&self, table: &str, after_changes: bool) -> bool {
        let is_skipped = self.skip.iter().any(|name| name == table);
        let is_halted = after_changes && self.halted.iter().any(|(name, _)| name == table);
        !is_skipped && !is_halted
    }
}
