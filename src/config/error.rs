//! Errors of a configuration: each with its place, the line itself, and what to do.

use super::secret::black_out;
use miette::{Diagnostic, LabeledSpan, MietteDiagnostic, NamedSource, Report, Severity};
use std::fmt;
use std::ops::Range;
use std::path::Path;

/// One thing that is wrong.
#[derive(Debug)]
pub(super) struct Problem {
    span: Range<usize>,
    what: String,
    help: String,
}

impl Problem {
    pub(super) fn new(span: Range<usize>, what: impl Into<String>, help: impl Into<String>) -> Self {
        Self { span, what: what.into(), help: help.into() }
    }

    /// A word that is none of those known, with the nearest of them.
    pub(super) fn unknown(span: Range<usize>, what: &str, word: &str, known: &[&str]) -> Self {
        Self::new(span, format!("unknown {what}: {word}"), suggest(word, known))
    }

    /// An error of the TOML parser or of a field's type.
    pub(super) fn from_toml(error: &toml::de::Error) -> Self {
        let message = error.message();
        let span = error.span().unwrap_or(0..0);
        if let Some((word, known)) = unknown_field(message) {
            return Self::unknown(span, "key", word, &known);
        }
        if let Some(field) = message.strip_prefix("missing field `").and_then(|rest| rest.split('`').next()) {
            return Self::new(span, format!("`{field}` is missing"), format!("Add {field} = ..."));
        }
        let help = "See docs/configuration.md, or `rowferry config schema`.";
        Self::new(span, message.lines().next().unwrap_or("not valid TOML"), help)
    }
}

/// serde's "unknown field `a`, expected one of `b`, `c`".
fn unknown_field(message: &str) -> Option<(&str, Vec<&str>)> {
    let rest = message.strip_prefix("unknown field `")?;
    let mut words = rest.split('`');
    let word = words.next()?;
    Some((word, words.skip(1).step_by(2).collect()))
}

fn suggest(word: &str, known: &[&str]) -> String {
    let near = known.iter().map(|known| (strsim::jaro_winkler(word, known), known)).filter(|(score, _)| *score > 0.75);
    match near.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((_, near)) => format!("Did you mean `{near}`?"),
        None => format!("Known here: {}.", known.join(", ")),
    }
}

/// All that is wrong with a configuration.
pub struct ConfigError {
    reports: Vec<Report>,
}

impl ConfigError {
    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        let diagnostic = MietteDiagnostic::new(format!("read the configuration {}: {error}", path.display()))
            .with_help("Name another file with -c FILE; without it, rowferry.toml in this directory is read.");
        Self { reports: vec![Report::new(diagnostic)] }
    }

    pub(super) fn new(path: &Path, text: &str, problems: Vec<Problem>) -> Self {
        let shown = black_out(text);
        let report = |problem: Problem| {
            let line = text[..problem.span.start.min(text.len())].matches('\n').count() + 1;
            let what = format!("{}:{line}: {}", path.display(), problem.what);
            let mut diagnostic = MietteDiagnostic::new(what).with_help(problem.help).with_severity(Severity::Error);
            if !problem.span.is_empty() {
                diagnostic = diagnostic.with_label(LabeledSpan::underline(problem.span));
            }
            Report::new(diagnostic).with_source_code(NamedSource::new(path.display().to_string(), shown.clone()))
        };
        Self { reports: problems.into_iter().map(report).collect() }
    }
}

/// The messages alone, one a line.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reports.iter().try_for_each(|report| writeln!(f, "{report}"))
    }
}

/// The messages with the lines that they are about and what to do.
impl fmt::Debug for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let theme = miette::GraphicalTheme::unicode_nocolor();
        let handler = miette::GraphicalReportHandler::new_themed(theme).with_width(120);
        for report in &self.reports {
            let diagnostic: &dyn Diagnostic = report.as_ref();
            handler.render_report(f, diagnostic)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
