//! Figures: from runs to medians and ratios, as a table and as JSON.

use crate::measure::{self, Cpu};
use serde::Serialize;
use std::fmt;
use std::path::Path;

/// One run of one program.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Run {
    pub(crate) who: String,
    pub(crate) seconds: f64,
    pub(crate) rows: u64,
    /// Of one row as text.
    pub(crate) row_bytes: f64,
    pub(crate) cpu: Cpu,
    /// Peak memory of the program, where it is one of its own.
    pub(crate) peak_kib: Option<u64>,
}

impl Run {
    pub(crate) fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.seconds
    }

    /// CPU microseconds a row.
    fn cpu_us(&self) -> Cpu {
        let us = |seconds: f64| seconds * 1e6 / self.rows.max(1) as f64;
        Cpu { program: us(self.cpu.program), source: us(self.cpu.source), target: us(self.cpu.target) }
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpu = self.cpu_us();
        write!(
            f,
            "{:<16} {:>7.2} s {:>9.0} rows/s, CPU us a row: program {:.2}, source {:.2}, target {:.2}",
            self.who,
            self.seconds,
            self.rows_per_second(),
            cpu.program,
            cpu.source,
            cpu.target
        )?;
        self.peak_kib.map_or(Ok(()), |peak| write!(f, ", peak {:.1} MB", peak as f64 / 1024.0))
    }
}

/// What a ratio, rowferry's figure by the peer's, or a figure that has no peer, should be.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wanted {
    AtLeast(f64),
    AtMost(f64),
}

impl Wanted {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(wanted) => value >= wanted,
            Self::AtMost(wanted) => value <= wanted,
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(wanted) => write!(f, ">= {wanted}"),
            Self::AtMost(wanted) => write!(f, "<= {wanted}"),
        }
    }
}

/// One line of the result.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    /// Median of the program that rowferry is measured against.
    pub(crate) peer: Option<f64>,
    /// Median of rowferry.
    pub(crate) rowferry: f64,
    pub(crate) wanted: Option<Wanted>,
    /// The peer against itself: its odd runs by its even ones. What differs less than this from 1 says nothing.
    pub(crate) peer_by_itself: Option<f64>,
    pub(crate) mb_per_second: Option<f64>,
    /// CPU microseconds a row in rowferry's runs, medians.
    pub(crate) cpu_us: Option<Cpu>,
    /// The same in the peer's.
    pub(crate) peer_cpu_us: Option<Cpu>,
    pub(crate) peak_kib: Option<u64>,
    pub(crate) runs: Vec<Run>,
    /// Every single measurement, where it is not a run's rate.
    pub(crate) samples: Vec<Sample>,
}

/// One measurement that is not a rate.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sample {
    pub(crate) who: String,
    pub(crate) value: f64,
}

impl Figure {
    /// A plain value, lower or higher being better as `wanted` says.
    pub(crate) fn value(what: &str, unit: &'static str, peer: Option<f64>, rowferry: f64, wanted: Wanted) -> Self {
        Self {
            what: what.to_owned(),
            unit,
            peer,
            rowferry,
            wanted: Some(wanted),
            peer_by_itself: None,
            mb_per_second: None,
            cpu_us: None,
            peer_cpu_us: None,
            peak_kib: None,
            runs: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// Rates of runs by two programs.
    pub(crate) fn rates(what: &str, peer: &[Run], rowferry: &[Run], wanted: Option<Wanted>) -> Self {
        let rate = |runs: &[Run]| median(runs.iter().map(Run::rows_per_second));
        let odd = median(peer.iter().step_by(2).map(Run::rows_per_second));
        let even = median(peer.iter().skip(1).step_by(2).map(Run::rows_per_second));
        let ours = rate(rowferry);
        Self {
            what: what.to_owned(),
            unit: "rows/s",
            peer: Some(rate(peer)),
            rowferry: ours,
            wanted,
            peer_by_itself: (peer.len() > 1).then_some(odd / even),
            mb_per_second: rowferry.first().map(|run| ours * run.row_bytes / 1e6),
            cpu_us: Some(median_cpu(rowferry)),
            peer_cpu_us: Some(median_cpu(peer)),
            peak_kib: rowferry.iter().filter_map(|run| run.peak_kib).max(),
            runs: peer.iter().chain(rowferry).cloned().collect(),
            samples: Vec::new(),
        }
    }

    /// What `wanted` is said of.
    pub(crate) fn ratio(&self) -> f64 {
        self.peer.map_or(self.rowferry, |peer| self.rowferry / peer)
    }

    /// `None` where nothing is wanted.
    pub(crate) fn holds(&self) -> Option<bool> {
        self.wanted.map(|wanted| wanted.holds(self.ratio()))
    }
}

/// The middle one, or the mean of the two in the middle.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    percentile(values, 0.5)
}

/// Linear between neighbours; not a number if there are no values.
pub(crate) fn percentile(values: impl Iterator<Item = f64>, share: f64) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let Some(last) = values.len().checked_sub(1) else { return f64::NAN };
    let at = share * last as f64;
    let (below, above) = (values[at.floor() as usize], values[at.ceil() as usize]);
    below + (above - below) * at.fract()
}

fn median_cpu(runs: &[Run]) -> Cpu {
    let of = |part: fn(Cpu) -> f64| median(runs.iter().map(|run| part(run.cpu_us())));
    Cpu { program: of(|cpu| cpu.program), source: of(|cpu| cpu.source), target: of(|cpu| cpu.target) }
}

/// Prints a table of all figures.
pub(crate) fn print(figures: &[Figure]) {
    let header = [
        "what",
        "unit",
        "peer",
        "rowferry",
        "MB/s",
        "ratio",
        "wanted",
        "",
        "A/A",
        "CPU us a row: rowferry/source/target (peer's)",
        "peak MB",
    ];
    let mut lines = vec![header.map(str::to_owned)];
    lines.extend(figures.iter().map(cells));
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    println!("\n{}", measure::machine());
    for line in &lines {
        let cells =
            line.iter().zip(&widths).enumerate().map(|(at, (cell, &width))| {
                if at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
        println!("{}", cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}

fn cells(figure: &Figure) -> [String; 11] {
    let number = |value: f64| if value.abs() < 1000.0 { format!("{value:.2}") } else { format!("{value:.0}") };
    let or_nothing = |value: Option<f64>| value.map_or(String::new(), number);
    let cpu = |cpu: Cpu| format!("{:.2}/{:.2}/{:.2}", cpu.program, cpu.source, cpu.target);
    let cpu = figure
        .cpu_us
        .map_or(String::new(), |ours| format!("{} ({})", cpu(ours), figure.peer_cpu_us.map_or("-".to_owned(), cpu)));
    [
        figure.what.clone(),
        figure.unit.to_owned(),
        or_nothing(figure.peer),
        number(figure.rowferry),
        figure.mb_per_second.map_or(String::new(), |rate| format!("{rate:.1}")),
        figure.peer.map_or(String::new(), |_| format!("{:.2}", figure.ratio())),
        figure.wanted.map_or(String::new(), |wanted| wanted.to_string()),
        figure.holds().map_or("", |holds| if holds { "ok" } else { "MISSED" }).to_owned(),
        figure.peer_by_itself.map_or(String::new(), |ratio| format!("{ratio:.2}")),
        cpu,
        figure.peak_kib.map_or(String::new(), |kib| format!("{:.1}", kib as f64 / 1024.0)),
    ]
}

/// Writes figures as one document.
pub(crate) fn write_json(path: &Path, figures: &[Figure]) {
    #[derive(Serialize)]
    struct Document<'a> {
        machine: String,
        figures: Vec<Line<'a>>,
    }
    #[derive(Serialize)]
    struct Line<'a> {
        #[serde(flatten)]
        figure: &'a Figure,
        ratio: f64,
        holds: Option<bool>,
    }
    let line = |figure| Line { figure, ratio: Figure::ratio(figure), holds: Figure::holds(figure) };
    let document = Document { machine: measure::machine(), figures: figures.iter().map(line).collect() };
    let text = serde_json::to_string_pretty(&document).expect("figures are JSON");
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).unwrap_or_else(|error| panic!("create {}: {error}", folder.display()));
    }
    std::fs::write(path, text).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
}
