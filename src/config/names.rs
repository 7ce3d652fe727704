//! Patterns of tables and columns.

use super::error::Problem;
use super::typed::Text;
use rowferry_api::TableName;

/// Which tables a pipeline carries: at least one pattern matches, and none with `!`.
#[derive(Debug, Clone, Default)]
pub struct TablePatterns {
    include: Vec<String>,
    exclude: Vec<String>,
}

impl TablePatterns {
    /// Whether a table of the source is carried. Names are compared as the catalog spells them.
    pub fn matches(&self, name: &TableName) -> bool {
        let name = name.to_string();
        let any = |patterns: &[String]| patterns.iter().any(|pattern| glob(pattern, &name));
        any(&self.include) && !any(&self.exclude)
    }

    /// Patterns that name one table, without `*` and `?`, which `known` does not have.
    pub fn unmatched_names(&self, known: &[TableName]) -> Vec<String> {
        let missing = |pattern: &&String| {
            !pattern.contains(['*', '?']) && !known.iter().any(|name| name.to_string() == **pattern)
        };
        self.include.iter().filter(missing).cloned().collect()
    }
}

/// Which columns of a table travel: all, or those that a pattern names; and none with `!`.
#[derive(Debug, Clone, Default)]
pub struct ColumnPatterns {
    include: Vec<String>,
    exclude: Vec<String>,
}

impl ColumnPatterns {
    /// Whether a column travels.
    pub fn keeps(&self, column: &str) -> bool {
        let any = |patterns: &[String]| patterns.iter().any(|pattern| glob(pattern, column));
        (self.include.is_empty() || any(&self.include)) && !any(&self.exclude)
    }
}

pub(super) fn table_patterns(typed: &toml::Spanned<Vec<Text>>, problems: &mut Vec<Problem>) -> TablePatterns {
    let mut patterns = TablePatterns::default();
    for text in typed.get_ref() {
        let (list, pattern) = match text.get_ref().strip_prefix('!') {
            Some(pattern) => (&mut patterns.exclude, pattern),
            None => (&mut patterns.include, text.get_ref().as_str()),
        };
        if !pattern.contains('.') {
            let help = format!("Write \"schema.table\", such as \"public.{}\".", pattern.trim_matches('.'));
            problems.push(Problem::new(text.span(), format!("\"{pattern}\" names no schema"), help));
        }
        list.push(pattern.to_owned());
    }
    if patterns.include.is_empty() {
        let help = "Name at least one, such as tables = [\"public.*\"].";
        problems.push(Problem::new(typed.span(), "`tables` names no table to carry", help));
    }
    patterns
}

pub(super) fn column_patterns(typed: &[Text], problems: &mut Vec<Problem>) -> ColumnPatterns {
    let mut patterns = ColumnPatterns::default();
    for text in typed {
        match text.get_ref().strip_prefix('!') {
            Some("") => problems.push(Problem::new(text.span(), "\"!\" names no column", "Write \"!column\".")),
            Some(pattern) => patterns.exclude.push(pattern.to_owned()),
            None => patterns.include.push(text.get_ref().clone()),
        }
    }
    patterns
}

/// A name as configurations write it.
pub(super) fn table_name(text: &str) -> TableName {
    match text.split_once('.') {
        Some((schema, name)) => TableName::new(schema, name),
        None => TableName::new("", text),
    }
}

/// `*` stands for any characters, `?` for one.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&char) if char == '?' || char == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                p = at + 1;
                t = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|&char| char == '*')
}
