//! Private servers end with the test process, however that ends: statics are never dropped in Rust and a killed test drops
//! nothing, so a `Drop` alone would leak them.

use crate::template;
use std::ffi::OsStr;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, Stdio};

/// A shell that waits for its standard input to end, which it does with this value or the process, and then runs a script.
#[derive(Debug)]
pub(crate) struct Watcher(Child);

impl Watcher {
    /// `script` gets `arguments` as `$1` and so on. The shell is in a process group of its own, so that a terminal's Ctrl-C
    /// or a `kill -9` of the test's group does not reach it.
    pub(crate) fn new(script: &str, arguments: &[&OsStr]) -> Self {
        let mut command = template::command("/bin/sh");
        command
            .arg("-c")
            .arg(format!("trap '' INT TERM HUP\ncat >/dev/null\n{script}"))
            .arg("rowferry-testkit-watcher");
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        Self(command.spawn().expect("start the watcher of a server"))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// Tries ports until a server starts. One that is free now may be taken by the time the server binds it: `start` returns
/// what the server said if it did not.
pub(crate) fn on_a_free_port(mut start: impl FnMut(u16) -> Result<(), String>) {
    for _ in 0..10 {
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let Err(said) = start(free.expect("find a free port").port()) else { return };
        assert!(said.contains("Address already in use"), "start a server: {said}");
    }
    panic!("no port stayed free long enough");
}
