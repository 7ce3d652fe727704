//! Progress on a terminal: one bar a pipeline while tables are copied, one line of figures while it streams. Elsewhere
//! nothing; the log says what happens.

use crate::pipeline::Env;
use crate::pipeline::board::Phase;
use crate::pipeline::life::now_us;
use indicatif::{HumanBytes, HumanCount, MultiProgress, ProgressBar, ProgressState, ProgressStyle};
use std::fmt;
use std::io::IsTerminal;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often the bars are drawn.
const EVERY: Duration = Duration::from_millis(250);

/// The terminal's bars. One process has one terminal.
static BARS: LazyLock<MultiProgress> = LazyLock::new(MultiProgress::new);

/// Bars on the terminal; gone when finished.
pub struct Bars {
    task: Option<JoinHandle<()>>,
}

/// Writes log lines to stderr, above the bars if there are any.
#[derive(Debug, Clone, Copy)]
pub struct AboveBars;

impl std::io::Write for AboveBars {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        BARS.suspend(|| std::io::stderr().write(text))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

impl Bars {
    /// Takes the bars away.
    pub fn finish(self) {
        if let Some(task) = self.task {
            task.abort();
        }
        let _ = BARS.clear();
    }
}

/// Shows bars if stderr is a terminal and nobody wants JSON.
pub fn show(pipelines: Vec<Arc<Env>>, json: bool) -> Bars {
    if json || !std::io::stderr().is_terminal() {
        return Bars { task: None };
    }
    let bars: Vec<(Arc<Env>, ProgressBar)> =
        pipelines.into_iter().map(|env| (env, BARS.add(ProgressBar::new(0)))).collect();
    let task = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(EVERY);
        loop {
            ticks.tick().await;
            bars.iter().for_each(|(env, bar)| draw(env, bar));
        }
    });
    Bars { task: Some(task) }
}

fn draw(env: &Env, bar: &ProgressBar) {
    let figures = env.board.figures().clone();
    let (mut rows, mut expected, mut bytes) = (0, 0, 0);
    for (name, life) in env.lives.lock().iter() {
        let flowing = env.board.flowing_of(name);
        let copied = life.rows_copied.max(life.rows_compared) + flowing.0;
        let done = life.slices.iter().all(|slice| slice.done) && !life.slices.is_empty();
        rows += copied;
        expected += if done { copied } else { copied.max(life.chosen.source.estimated_rows) };
        bytes += flowing.1 + life.slices.iter().map(|slice| slice.bytes).sum::<u64>();
    }
    let name = &env.config.name;
    if matches!(figures.phase, Phase::Copying | Phase::CatchingUp) {
        bar.set_style(
            ProgressStyle::with_template(
                "{prefix} {bar:30} {human_pos}/{human_len} rows, {rate} rows/s, {msg}, {eta} left",
            )
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key("rate", |state: &ProgressState, out: &mut dyn fmt::Write| {
                let _ = write!(out, "{}", HumanCount(state.per_sec() as u64));
            }),
        );
        bar.set_length(expected);
        bar.set_position(rows);
        bar.set_prefix(format!("{name} {}", figures.phase.as_str()));
        bar.set_message(HumanBytes(bytes).to_string());
    } else {
        bar.set_style(ProgressStyle::with_template("{prefix} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(format!("{name} {}", figures.phase.as_str()));
        let lag = env.board.lag_seconds(now_us());
        bar.set_message(format!("{} changes applied, {lag:.1} s behind", HumanCount(figures.changes_applied)));
    }
}
