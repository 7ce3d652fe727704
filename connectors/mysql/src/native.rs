//! The native text of a column, whose shape [`kind`](crate::kind) tells: from the catalog, and into a definition.

/// The native text of a column from its COLUMN_TYPE and, for character types, its character set and collation.
pub(crate) fn native_text(column_type: String, text: Option<(&str, &str)>) -> String {
    let mut native = column_type;
    // What a comment for newer servers says of a column is not part of its type.
    if let Some(comment) = native.find(" /*").filter(|at| !native[*at..].contains("COMPRESSED")) {
        native.truncate(comment);
    }
    if native.starts_with("enum(") || native.starts_with("set(") {
        native = with_plain_labels(&native);
    }
    match text {
        Some((charset, collation)) => format!("{native} character set {charset} collate {collation}"),
        None => native,
    }
}

/// The catalog shows some characters of labels with a backslash; a native text has none of those.
fn with_plain_labels(native: &str) -> String {
    let mut plain = String::with_capacity(native.len());
    let mut chars = native.chars();
    while let Some(char) = chars.next() {
        plain.push(match char {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('0') => '\0',
                Some('Z') => '\u{1a}',
                Some(other) => other,
                None => '\\',
            },
            char => char,
        });
    }
    plain
}

/// The native text as a column's definition takes it, in a session whose sql_mode is ours: in a label a backslash escapes.
pub(crate) fn in_definition(native: &str) -> String {
    native.replace('\\', "\\\\").replace('\0', "\\0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_plain_and_definitions_escape_them() {
        let shown = r"enum('C:\\new','two\nlines','it''s\0')";
        let plain = "enum('C:\\new','two\nlines','it''s\0')";
        let charset = Some(("latin1", "latin1_bin"));
        assert_eq!(native_text(shown.into(), charset), format!("{plain} character set latin1 collate latin1_bin"));
        assert_eq!(in_definition(plain), "enum('C:\\\\new','two\nlines','it''s\\0')");
    }

    #[test]
    fn comments_for_newer_servers_go_but_that_of_a_compressed_column() {
        assert_eq!(native_text("timestamp /* mariadb-5.3 */".into(), None), "timestamp");
        let compressed = "varchar(9) /*M!100301 COMPRESSED*/";
        assert_eq!(native_text(compressed.into(), None), compressed);
    }
}
