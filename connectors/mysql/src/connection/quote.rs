//! Names and texts as SQL writes them in a session whose sql_mode is ours: backslashes escape, double quotes are text.

use rowferry_api::TableName;

/// A name, whatever is in it.
pub(crate) fn quote_name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A table's name.
pub(crate) fn quote_table(name: &TableName) -> String {
    format!("{}.{}", quote_name(&name.schema), quote_name(&name.name))
}

/// A text, whatever is in it.
pub(crate) fn quote_text(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''").replace('\0', "\\0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_are_kept() {
        assert_eq!(quote_name("a`b"), "`a``b`");
        assert_eq!(quote_text("it's"), "'it''s'");
        assert_eq!(quote_text(r"a\b"), r"'a\\b'");
    }
}
