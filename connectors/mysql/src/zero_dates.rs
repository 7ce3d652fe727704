//! Dates that are none: `0000-00-00`, `2024-00-10`. MySQL holds them, most stores cannot.
//!
//! What becomes of them is declared: `halt` hands them on as they are, and a target that cannot hold one refuses the row;
//! `null` makes them NULL, counted by column in the log; `text` makes the whole column text at the target.

use rowferry_api::{Column, Error, ErrorKind, Result, SourceTable, TableName, TableSchema, Type};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What becomes of a date that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    /// It goes on as it is.
    Halt,
    /// NULL.
    Null,
    /// The column is text.
    Text,
}

/// The policies, and how often NULL took a value's place.
#[derive(Debug)]
pub(crate) struct ZeroDates {
    /// `None`: none was declared, which is [`Policy::Halt`].
    usual: Option<Policy>,
    /// By `database.table.column`.
    columns: HashMap<String, Policy>,
    nulls: Mutex<HashMap<String, Arc<AtomicU64>>>,
}

impl ZeroDates {
    /// Reads `halt`, or `null, shop.orders.sent_at=text`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut policies = Self { usual: None, columns: HashMap::new(), nulls: Mutex::default() };
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            match part.split_once('=') {
                Some((column, policy)) if column.split('.').count() >= 3 => {
                    policies.columns.insert(column.trim().to_owned(), policy_of(policy.trim())?);
                }
                Some(_) => return Err(malformed(part)),
                None => policies.usual = Some(policy_of(part)?),
            }
        }
        Ok(policies)
    }

    /// What holds for a column; `None` if it is of a type without such dates.
    pub(crate) fn policy(&self, table: &TableName, column: &Column) -> Option<Policy> {
        is_of_dates(column).then(|| self.declared(table, column).unwrap_or(Policy::Halt))
    }

    fn declared(&self, table: &TableName, column: &Column) -> Option<Policy> {
        self.columns.get(&format!("{table}.{}", column.name)).copied().or(self.usual)
    }

    /// Columns of dates, as `database.table.column`, of which nothing is declared.
    pub(crate) fn undeclared(&self, tables: &[SourceTable]) -> Vec<String> {
        let of_table = |table: &SourceTable| {
            let name = table.schema.name.clone();
            let columns = table.schema.columns.iter().filter(|column| is_of_dates(column));
            let bare = columns.filter(|column| self.declared(&name, column).is_none());
            bare.map(|column| format!("{name}.{}", column.name)).collect::<Vec<_>>()
        };
        tables.iter().flat_map(of_table).collect()
    }

    /// Gives the columns the types and forms that their policies ask for.
    pub(crate) fn apply(&self, schema: &mut Arc<TableSchema>) {
        let changes = schema
            .columns
            .iter()
            .any(|column| matches!(self.policy(&schema.name, column), Some(Policy::Text | Policy::Null)));
        if !changes {
            return;
        }
        let form = Arc::make_mut(schema);
        let name = form.name.clone();
        for column in &mut form.columns {
            match self.policy(&name, column) {
                Some(Policy::Text) => {
                    column.ty = Type::Text;
                }
                Some(Policy::Null) => column.nullable = true,
                _ => {}
            }
        }
    }

    /// The counter of a column whose such dates become NULL.
    pub(crate) fn nulls(&self, table: &TableName, column: &Column) -> Option<NullDates> {
        let to_null = self.policy(table, column) == Some(Policy::Null);
        let name = format!("{table}.{}", column.name);
        to_null.then(|| {
            let mut nulls = self.nulls.lock().expect("no code panics while it holds this");
            NullDates { count: nulls.entry(name.clone()).or_default().clone(), name }
        })
    }
}

/// Makes dates that are none NULL, and counts them.
#[derive(Debug, Clone)]
pub(crate) struct NullDates {
    name: String,
    count: Arc<AtomicU64>,
}

impl NullDates {
    /// Whether a text is a date that is none; counts it.
    pub(crate) fn takes(&self, text: &[u8]) -> bool {
        if !is_none(text) {
            return false;
        }
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        if count.is_power_of_two() {
            tracing::warn!(column = %self.name, count, "zero or partial dates became NULL");
        }
        true
    }
}

/// `0000-00-00`, `2024-00-10`: its month or day is zero.
fn is_none(text: &[u8]) -> bool {
    text.len() >= 10 && (&text[5..7] == b"00" || &text[8..10] == b"00")
}

fn is_of_dates(column: &Column) -> bool {
    let base = column.native.split(['(', ' ']).next().unwrap_or_default();
    matches!(base, "date" | "datetime" | "timestamp")
}

fn policy_of(text: &str) -> Result<Policy> {
    match text {
        "halt" => Ok(Policy::Halt),
        "null" => Ok(Policy::Null),
        "text" => Ok(Policy::Text),
        other => Err(malformed(other)),
    }
}

fn malformed(part: &str) -> Error {
    Error::new(ErrorKind::Config, format!("read zero_dates: \"{part}\" is no policy"))
        .hint("Write halt, null or text, and for single columns database.table.column=null behind a comma.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_that_are_none_are_told_from_others() {
        for none in ["0000-00-00", "2024-00-10", "2024-01-00 10:00:00", "0000-00-00 00:00:00+00"] {
            assert!(is_none(none.as_bytes()), "{none}");
        }
        for date in ["2024-01-10", "0000-01-01", "2000-10-10 00:00:00", ""] {
            assert!(!is_none(date.as_bytes()), "{date}");
        }
    }

    #[test]
    fn policies_are_read() {
        let read = ZeroDates::parse("null, shop.orders.sent=text").unwrap();
        assert_eq!(read.usual, Some(Policy::Null));
        assert_eq!(read.columns["shop.orders.sent"], Policy::Text);
        assert_eq!(ZeroDates::parse("").unwrap().usual, None);
        assert!(ZeroDates::parse("never").is_err());
        assert!(ZeroDates::parse("sent=null").is_err());
    }
}
