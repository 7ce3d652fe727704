//! Named places at which a test ends or disturbs a running process. A release build has nothing of them.
//!
//! `ROWFERRY_FAILPOINT=NAME:N:ACTION` says what happens when NAME is passed for the Nth time: `kill` (SIGKILL, at once),
//! `transient` or `permanent` (an error of that class, once). `ROWFERRY_FAILPOINT_LOG=FILE` appends every name that is passed
//! to FILE. `tests/failpoints/list.rs` has all names.

use crate::{Error, ErrorKind, Result};
use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

/// What the environment asks for.
#[derive(Default)]
struct Plan {
    name: String,
    /// Counted down; acts when it reaches 0.
    left: AtomicU32,
    action: String,
    log: Option<Mutex<File>>,
}

impl Plan {
    fn from_env() -> Self {
        let log = std::env::var_os("ROWFERRY_FAILPOINT_LOG").map(|path| {
            let file = File::options().create(true).append(true).open(path);
            Mutex::new(file.expect("the file that ROWFERRY_FAILPOINT_LOG names can be written"))
        });
        let Ok(text) = std::env::var("ROWFERRY_FAILPOINT") else { return Self { log, ..Self::default() } };
        let parts: Vec<&str> = text.split(':').collect();
        let [name, nth, action @ ("kill" | "transient" | "permanent")] = parts[..] else {
            panic!("ROWFERRY_FAILPOINT is not NAME:N:ACTION but {text}");
        };
        let left = nth.parse().expect("N of ROWFERRY_FAILPOINT is a number");
        Self { name: name.to_owned(), left: AtomicU32::new(left), action: action.to_owned(), log }
    }
}

/// Does what the environment asks for at this place. Not for use by itself: see [`failpoint!`](crate::failpoint!).
pub fn pass(name: &'static str) -> Result<()> {
    static PLAN: OnceLock<Plan> = OnceLock::new();
    let plan = PLAN.get_or_init(Plan::from_env);
    if let Some(log) = &plan.log {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.write_all(format!("{name}\n").as_bytes()).expect("the log of failpoints can be written");
    }
    if plan.name != name || plan.left.fetch_sub(1, Ordering::Relaxed) != 1 {
        return Ok(());
    }
    let kind = match plan.action.as_str() {
        "transient" => ErrorKind::Transient,
        "permanent" => ErrorKind::Other,
        _ => {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            // The signal takes every thread; this one must not go on until it does.
            loop {
                std::thread::park();
            }
        }
    };
    Err(Error::new(kind, format!("failpoint {name}")))
}
