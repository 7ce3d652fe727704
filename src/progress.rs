//! Progress on a terminal: one bar a pipeline while tables are copied, one line of figures while it streams. Elsewhere
//! nothing; the log says what happens.

use crate::pipeline::Env;
use crate::pipeline::board::Phase;
use crate::pipeline::life::now_us;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

/// How often the bars are drawn.
const EVERY: Duration = Duration::from_millis(250);

/// Bars on the terminal; gone when finished or dropped.
pub struct Bars {
    all: MultiProgress,
    task: Option<JoinHandle<()>>,
}

impl Bars {
    /// Takes the bars away.
    pub fn finish(self) {
        if let Some(task) = self.task {
            task.abort();
        }
        let _ = self.all.clear();
    }
}

/// Shows bars if stderr is a terminal and nobody wants JSON.
pub fn show(pipelines: Vec<Arc<Env>>, json: bool) -> Bars {
    let all = MultiProgress::new();
    if json || !std::io::stderr().is_terminal() {
        return Bars { all, task: None };
    }
    let bars: Vec<(Arc<Env>, ProgressBar)> =
        pipelines.into_iter().map(|env| (env, all.add(ProgressBar::new(0)))).collect();
    let task = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(EVERY);
        loop {
            ticks.tick().await;
            bars.iter().for_each(|(env, bar)| draw(env, bar));
        }
    });
    Bars { all, task: Some(task) }
}

fn draw(env: &Env, bar: &ProgressBar) {
    let figures = env.board.figures().clone();
    let (mut rows, mut expected, mut bytes) = (0, 0, 0);
    for (name, life) in env.lives.lock().iter() {
        let flowing = env.board.flowing_of(name);
        let copied = life.rows_copied + flowing.0;
        let done = life.slices.iter().all(|slice| slice.done) && !life.slices.is_empty();
        rows += copied;
        expected += if done { copied } else { copied.max(life.chosen.source.estimated_rows) };
        bytes += flowing.1 + life.slices.iter().map(|slice| slice.bytes).sum::<u64>();
    }
    let name = &env.config.name;
    if matches!(figures.phase, Phase::Copying | Phase::CatchingUp) {
        bar.set_style(
            ProgressStyle::with_template("{prefix} {bar:30} {human_pos}/{human_len} rows {per_sec} {msg}, {eta} left")
                .unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.set_length(expected);
        bar.set_position(rows);
        bar.set_prefix(format!("{name} {}", figures.phase.as_str()));
        bar.set_message(indicatif::HumanBytes(bytes).to_string());
    } else {
        bar.set_style(ProgressStyle::with_template("{prefix} {msg}").unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(format!("{name} {}", figures.phase.as_str()));
        let lag = env.board.lag_seconds(now_us());
        bar.set_message(format!(
            "{} changes applied, {lag:.1} s behind",
            indicatif::HumanCount(figures.changes_applied)
        ));
    }
}
