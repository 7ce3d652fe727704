//! Names and texts as SQL writes them.

use rowferry_api::TableName;

/// A name, whatever is in it.
pub(crate) fn quote_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table's name.
pub(crate) fn quote_table(name: &TableName) -> String {
    format!("{}.{}", quote_name(&name.schema), quote_name(&name.name))
}

/// A text, whatever is in it and whatever `standard_conforming_strings` says.
pub(crate) fn quote_text(text: &str) -> String {
    let quoted = quote_command_text(text);
    if quoted.contains('\\') { format!(" E{}", quoted.replace('\\', "\\\\")) } else { quoted }
}

/// A text in a replication command, whose grammar has no escapes but the doubled quote.
pub(crate) fn quote_command_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_are_kept() {
        assert_eq!(quote_name(r#"a"b"#), r#""a""b""#);
        assert_eq!(quote_text("it's"), "'it''s'");
        assert_eq!(quote_text(r"a\'b"), r" E'a\\''b'");
        assert_eq!(quote_command_text(r"a\'b"), r"'a\''b'");
    }
}
