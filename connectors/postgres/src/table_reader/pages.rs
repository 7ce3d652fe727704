//! Parts of a table that only this connector understands: pages of one table on disk, and what came later.

use rowferry_api::{Error, ErrorKind, Range, Result, TableName};
use serde::{Deserialize, Serialize};

/// What [`Range::Native`] holds.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Part {
    Pages(Pages),
    Later(Later),
}

/// The leaves that a partitioned table got since it was cut. Rows in them may be older than what the log is followed from.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Later {
    /// Those that it had then, by their oids.
    pub but: Vec<u32>,
}

/// Pages of one table on disk.
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

impl Part {
    /// The part of a native range; `None` for other ranges. A text that is not ours asks for another cut.
    pub(super) fn of(range: &Range) -> Result<Option<Self>> {
        let Range::Native(text) = range else { return Ok(None) };
        let unreadable = |error| {
            Error::new(ErrorKind::Stale, "a part of a table cannot be read").because(error as serde_json::Error)
        };
        serde_json::from_str(text).map(Some).map_err(unreadable)
    }

    pub(super) fn range(&self) -> Result<Range> {
        let failed =
            |error| Error::new(ErrorKind::Other, "write a part of a table").because(error as serde_json::Error);
        serde_json::to_string(self).map(Range::Native).map_err(failed)
    }
}

impl Pages {
    pub(super) fn condition(&self) -> String {
        let upper = self.to.map_or(String::new(), |to| format!(" AND ctid < '({to},0)'::pg_catalog.tid"));
        format!("ctid >= '({},0)'::pg_catalog.tid{upper}", self.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_back_and_other_text_is_refused() {
        let pages = Part::Pages(Pages { leaf: TableName::new("a", "b \"c\""), node: 7, from: 0, to: Some(9) });
        for part in [pages, Part::Later(Later { but: vec![1, 4_000_000_000] })] {
            assert_eq!(Part::of(&part.range().unwrap()).unwrap().unwrap(), part);
        }
        assert_eq!(Part::of(&Range::Whole).unwrap(), None);
        let wrong = ["", "{}", "0-9", r#"{"leaf":{"schema":"a","name":"b"},"node":7,"from":-1,"to":null}"#];
        for text in wrong {
            assert_eq!(Part::of(&Range::Native(text.into())).unwrap_err().kind(), ErrorKind::Stale, "{text}");
        }
    }
}
