//! Folders of cases: which there are, what each expects, and running them side by side.

mod expect;
mod run;

pub use expect::Expect;
pub use run::{Copy, follows, halted, refuses, rowferry, verifies};

use crate::Kind;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// A kind as `expect` writes it.
fn kind(name: &str) -> Kind {
    match name {
        "postgres" => Kind::Postgres,
        "sqlite" => Kind::Sqlite,
        "mysql" => Kind::Mysql,
        _ => panic!("no such target: {name}"),
    }
}

/// Cases that run side by side.
const WORKERS: usize = 2;

/// The folders of cases, in the order of their names; only those whose name contains `CASE` if that is set.
pub fn folders(root: &Path) -> Vec<PathBuf> {
    let wanted = std::env::var("CASE").unwrap_or_default();
    let mut folders: Vec<_> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir() && path.file_name().unwrap().to_string_lossy().contains(&wanted));
    folders.sort();
    assert!(!folders.is_empty() || !wanted.is_empty(), "no cases in {}", root.display());
    folders
}

/// Runs each folder, two at a time and each in a runtime of its own, prints how it went, and panics in the end if any of
/// them panicked. A case that returns `false` was none for this run.
pub fn run_side_by_side<F: Future<Output = bool>>(
    label: &str,
    folders: Vec<PathBuf>,
    run: impl Fn(PathBuf) -> F + Sync,
) {
    let cases = Mutex::new(folders.into_iter());
    let failures = Mutex::new(Vec::new());
    let work = || {
        while let Some(folder) = { cases.lock().unwrap().next() } {
            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            let began = std::time::Instant::now();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            // The panic's text is printed by the panic itself, under the name of this thread.
            let done = catch_unwind(AssertUnwindSafe(|| runtime.block_on(run(folder))));
            let how = match &done {
                Ok(true) => "ok",
                Ok(false) => continue,
                Err(_) => "FAILED",
            };
            println!("{label} {name}: {how} in {:.1?}", began.elapsed());
            if let Err(panic) = done {
                let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                failures.lock().unwrap().push(format!("==== {label} {name}\n{text}"));
            }
        }
    };
    std::thread::scope(|scope| (0..WORKERS).for_each(|_| drop(scope.spawn(work))));
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} cases failed:\n{}", failures.len(), failures.join("\n"));
}
