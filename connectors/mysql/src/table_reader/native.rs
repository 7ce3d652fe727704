//! Ranges of the clustered index in its own order, with the collation's idea of what comes after what.
//!
//! The text of such a range is JSON of the two bounds as SQL literals: `{"after":["5"],"upto":["10"]}`.

use crate::connection::{quote_name, quote_text};
use crate::kind::Kind;
use rowferry_api::{Column, Dialect, Error, ErrorKind, Result, TableSchema};
use serde::{Deserialize, Serialize};

/// Keys above `after` up to `upto`; an end that is missing is open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NativeRange {
    after: Option<Vec<String>>,
    upto: Option<Vec<String>>,
}

impl NativeRange {
    pub(super) fn new(after: Option<Vec<String>>, upto: Option<Vec<String>>) -> Self {
        Self { after, upto }
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text)
            .map_err(|error| Error::new(ErrorKind::Stale, "read a range of the clustered index").because(error))
    }

    pub(super) fn to_text(&self) -> String {
        serde_json::to_string(self).expect("texts are JSON")
    }

    /// As a condition on the key's columns; `None` for all rows.
    pub(super) fn condition(&self, table: &TableSchema) -> Result<Option<String>> {
        let columns: Vec<String> = table.key_columns().map(|column| quote_name(&column.name)).collect();
        for bound in [&self.after, &self.upto].into_iter().flatten() {
            if bound.len() != columns.len() {
                // The key is another one than the range was cut by.
                return Err(Error::new(
                    ErrorKind::Stale,
                    format!("read a range of {}: its key has changed", table.name),
                ));
            }
        }
        let after = self.after.as_ref().map(|bound| compared(&columns, bound, ">", ">"));
        let upto = self.upto.as_ref().map(|bound| compared(&columns, bound, "<", "<="));
        let parts: Vec<String> = [after, upto].into_iter().flatten().collect();
        Ok((!parts.is_empty()).then(|| parts.join(" AND ")))
    }
}

/// A comparison of rows as servers can look it up in an index: `(a > 1 OR (a = 1 AND b > 2))` with `a >= 1` in front.
pub(super) fn compared(columns: &[String], bound: &[String], strict: &str, last: &str) -> String {
    let Some((column, columns)) = columns.split_first() else { return "TRUE".into() };
    let Some((value, bound)) = bound.split_first() else { return "TRUE".into() };
    if columns.is_empty() {
        return format!("{column} {last} {value}");
    }
    let rest = compared(columns, bound, strict, last);
    format!("{column} {strict}= {value} AND ({column} {strict} {value} OR ({column} = {value} AND {rest}))")
}

/// Whether the key's columns compare with a literal in the order of their index.
pub(super) fn is_possible(table: &TableSchema) -> bool {
    table.dialect == Dialect::Mysql
        && !table.key.is_empty()
        && table.key_columns().all(|column| {
            Kind::parse(&column.native).is_some_and(|kind| {
                matches!(
                    kind,
                    Kind::Int { .. }
                        | Kind::Year
                        | Kind::Decimal { .. }
                        | Kind::Char { .. }
                        | Kind::Varchar { .. }
                        | Kind::Binary { .. }
                        | Kind::Varbinary { .. }
                        | Kind::Date
                        | Kind::Time { .. }
                        | Kind::Datetime { .. }
                        | Kind::Timestamp { .. }
                )
            })
        })
}

/// A value of a key's column as a literal.
pub(super) fn literal(column: &Column, value: &[u8]) -> Option<String> {
    match Kind::parse(&column.native)? {
        Kind::Int { .. } | Kind::Year | Kind::Decimal { .. } => Some(std::str::from_utf8(value).ok()?.to_owned()),
        Kind::Binary { .. } | Kind::Varbinary { .. } => {
            let digits: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
            Some(format!("x'{digits}'"))
        }
        _ => Some(quote_text(std::str::from_utf8(value).ok()?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_compared_column_by_column() {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(compared(&texts(&["a"]), &texts(&["1"]), ">", ">"), "a > 1");
        assert_eq!(
            compared(&texts(&["a", "b"]), &texts(&["1", "2"]), "<", "<="),
            "a <= 1 AND (a < 1 OR (a = 1 AND b <= 2))"
        );
    }
}
