//! What processes have used so far, from `/proc`: CPU time and memory.

use serde::Serialize;
use std::collections::HashMap;
use std::fs;

/// Ticks of `/proc/PID/stat` a second: the same on every Linux since 2.4 (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds, user and system together, by who used them.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Cpu {
    /// The program that carries the changes; 0 where that is the target server itself.
    pub(crate) program: f64,
    /// The source server with all its processes.
    pub(crate) source: f64,
    /// The target server with all its processes.
    pub(crate) target: f64,
}

impl Cpu {
    pub(crate) fn since(self, start: Self) -> Self {
        Self {
            program: self.program - start.program,
            source: self.source - start.source,
            target: self.target - start.target,
        }
    }
}

/// The fields of `/proc/PID/stat` that are used here.
struct Stat {
    parent: u32,
    /// Of the process.
    own_ticks: u64,
    /// Of its children that ended and were waited for.
    children_ticks: u64,
    is_zombie: bool,
}

/// CPU seconds of one process and its threads.
pub(crate) fn cpu_of_process(pid: u32) -> f64 {
    stat(pid).map_or(0.0, |stat| stat.own_ticks as f64 / TICKS_PER_SECOND)
}

/// CPU seconds of this process's children that have ended and were waited for.
pub(crate) fn cpu_of_ended_children() -> f64 {
    stat(std::process::id()).map_or(0.0, |stat| stat.children_ticks as f64 / TICKS_PER_SECOND)
}

/// CPU seconds of a process, of all that descend from it, and of its children that have ended.
pub(crate) fn cpu_of_tree(root: u32) -> f64 {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let stats: HashMap<u32, Stat> = pids.filter_map(|pid| Some((pid, stat(pid)?))).collect();
    let is_below = |pid: u32| {
        let parents = std::iter::successors(Some(pid), |pid| stats.get(pid).map(|stat| stat.parent));
        parents.take(16).any(|pid| pid == root)
    };
    let below = stats.iter().filter(|(pid, _)| is_below(**pid)).map(|(_, stat)| stat.own_ticks).sum::<u64>();
    let ended = stats.get(&root).map_or(0, |stat| stat.children_ticks);
    (below + ended) as f64 / TICKS_PER_SECOND
}

/// Whether a child of ours has ended and was not waited for yet.
pub(crate) fn has_ended(pid: u32) -> bool {
    stat(pid).is_none_or(|stat| stat.is_zombie)
}

/// The most memory that a process ever held, in KiB.
pub(crate) fn peak_memory_kib(pid: u32) -> u64 {
    status_kib(pid, "VmHWM:")
}

/// What a process holds now, in KiB.
pub(crate) fn memory_kib(pid: u32) -> u64 {
    status_kib(pid, "VmRSS:")
}

fn status_kib(pid: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, also spaces and parentheses.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        own_ticks: number(11)? + number(12)?,
        children_ticks: number(13)? + number(14)?,
        is_zombie: fields[0] == "Z",
    })
}

/// The machine, for the report: processor, cores, memory.
pub(crate) fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("?", |it| it.1);
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    format!("{cores} cores of {model}, {:.0} GiB", kib.unwrap_or(0.0) / 1024.0 / 1024.0)
}
