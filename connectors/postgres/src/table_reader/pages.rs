//! Ranges of pages of one table on disk.

use rowferry_api::{Error, ErrorKind, Range, Result, TableName};
use serde::{Deserialize, Serialize};

/// Pages of one table on disk, as [`Range::Native`] holds them.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pages {
    /// The table itself, or a leaf of a partitioned one.
    pub leaf: TableName,
    /// pg_relation_filenode of the leaf when it was cut.
    pub node: u32,
    pub from: u32,
    /// Exclusive; the last range of a leaf is open, for rows that are appended.
    pub to: Option<u32>,
}

impl Pages {
    /// The pages of a native range; `None` for other ranges. A text that is not ours asks for another cut.
    pub(super) fn of(range: &Range) -> Result<Option<Self>> {
        let Range::Native(text) = range else { return Ok(None) };
        let unreadable =
            |error| Error::new(ErrorKind::Stale, "a range of pages cannot be read").because(error as serde_json::Error);
        serde_json::from_str(text).map(Some).map_err(unreadable)
    }

    pub(super) fn range(&self) -> Result<Range> {
        let failed = |error| Error::new(ErrorKind::Other, "write a range of pages").because(error as serde_json::Error);
        serde_json::to_string(self).map(Range::Native).map_err(failed)
    }

    pub(super) fn condition(&self) -> String {
        let upper = self.to.map_or(String::new(), |to| format!(" AND ctid < '({to},0)'::pg_catalog.tid"));
        format!("ctid >= '({},0)'::pg_catalog.tid{upper}", self.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_back_and_other_text_is_refused() {
        let pages = Pages { leaf: TableName::new("a", "b \"c\""), node: 7, from: 0, to: Some(9) };
        assert_eq!(Pages::of(&pages.range().unwrap()).unwrap().unwrap(), pages);
        assert_eq!(Pages::of(&Range::Whole).unwrap(), None);
        let wrong = ["", "{}", "0-9", r#"{"leaf":{"schema":"a","name":"b"},"node":7,"from":-1,"to":null}"#];
        for text in wrong {
            assert_eq!(Pages::of(&Range::Native(text.into())).unwrap_err().kind(), ErrorKind::Stale, "{text}");
        }
    }
}
