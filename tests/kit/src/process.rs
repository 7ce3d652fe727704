//! The `rowferry` binary as a user runs it: a folder with a configuration, commands in it, and processes that are
//! killed, asked and waited for.
//!
//! Whatever ends with an ERROR line that the test did not announce fails the test.

use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::runtime::{Handle, RuntimeFlavor};

/// How long a command may take unless the test says otherwise.
const PATIENCE: Duration = Duration::from_secs(180);

/// A folder with a `rowferry.toml`, and the binary that runs in it. The state directory lies beside the configuration.
#[derive(Debug)]
pub struct Rowferry {
    binary: PathBuf,
    folder: TempDir,
    env: Vec<(String, String)>,
    allowed: Vec<String>,
    patience: Duration,
    runs: AtomicU32,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; `None` after a signal.
    pub code: Option<i32>,
    /// All of it.
    pub stdout: String,
    /// All of it.
    pub stderr: String,
}

impl Ended {
    /// Panics unless the exit code is this one.
    #[track_caller]
    pub fn expect_code(&self, code: i32) -> &Self {
        assert_eq!(self.code, Some(code), "exit code; stdout: {}\nstderr: {}", self.stdout, tail(&self.stderr));
        self
    }

    /// Panics unless stderr holds every one of these texts.
    #[track_caller]
    pub fn expect_stderr(&self, texts: &[&str]) -> &Self {
        for text in texts {
            assert!(self.stderr.contains(text), "\"{text}\" is not in stderr: {}", tail(&self.stderr));
        }
        self
    }

    /// stdout as one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| {
            panic!("stdout is no JSON ({error}): {}\nstderr: {}", self.stdout, tail(&self.stderr))
        })
    }
}

impl Rowferry {
    /// A new folder with this configuration. `binary` is `env!("CARGO_BIN_EXE_rowferry")` in the root's tests.
    pub fn new(binary: impl AsRef<Path>, config: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("rowferry-test-").tempdir().expect("create a folder");
        let this = Self {
            binary: binary.as_ref().to_owned(),
            folder,
            env: Vec::new(),
            allowed: Vec::new(),
            patience: PATIENCE,
            runs: AtomicU32::new(0),
        };
        this.set_config(config);
        this
    }

    /// Replaces the configuration.
    pub fn set_config(&self, config: &str) {
        fs::write(self.path("rowferry.toml"), config).expect("write rowferry.toml");
    }

    /// A path in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Sets a variable of the environment of every command.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// How long commands may take.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Announces that an ERROR line with this text is no failure.
    #[must_use]
    pub fn allow_error(mut self, text: &str) -> Self {
        self.allowed.push(text.to_owned());
        self
    }

    /// Runs a command to its end. Its ERROR lines are the caller's matter.
    #[track_caller]
    pub fn command(&self, args: &[&str]) -> Ended {
        self.spawn(args).wait_exit()
    }

    /// Runs a command with `--json` and returns its exit code and document.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> (i32, Value) {
        let ended = self.command(&[args, &["--json"]].concat());
        (ended.code.unwrap_or_else(|| panic!("ended by a signal: {}", tail(&ended.stderr))), ended.json())
    }

    /// `run --until-caught-up`; panics unless it exits 0 without an ERROR line.
    #[track_caller]
    pub fn run_until_caught_up(&self) -> Ended {
        let ended = self.command(&["run", "--until-caught-up"]);
        self.refuse_errors(&ended.stderr);
        ended.expect_code(0);
        ended
    }

    /// Starts `run` in the background.
    #[track_caller]
    pub fn spawn_run(&self) -> Running<'_> {
        self.spawn(&["run"])
    }

    /// Starts any command in the background.
    #[track_caller]
    pub fn spawn(&self, args: &[&str]) -> Running<'_> {
        self.spawn_with(args, &[])
    }

    /// The same with more variables in its environment.
    #[track_caller]
    pub fn spawn_with(&self, args: &[&str], env: &[(&str, &str)]) -> Running<'_> {
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let stdout = self.path(&format!("{number}.out"));
        let stderr = self.path(&format!("{number}.err"));
        let child = Command::new(&self.binary)
            .args(args)
            .arg("-c")
            .arg(self.path("rowferry.toml"))
            .current_dir(self.folder.path())
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .envs(env.iter().copied())
            .env_remove("ROWFERRY_LOG")
            .stdin(Stdio::null())
            .stdout(File::create(&stdout).expect("create a file"))
            .stderr(File::create(&stderr).expect("create a file"))
            .spawn()
            .unwrap_or_else(|error| panic!("start {}: {error}", self.binary.display()));
        Running { rowferry: self, child, stdout, stderr, args: args.join(" ") }
    }

    /// Panics if a log has an ERROR line that was not announced, or speaks of a panic.
    #[track_caller]
    pub fn refuse_errors(&self, stderr: &str) {
        let is_error =
            |line: &&str| line.contains(" ERROR ") || line.starts_with("ERROR") || line.contains("panicked at");
        let unexpected = |line: &&str| !self.allowed.iter().any(|text| line.contains(text.as_str()));
        if let Some(line) = stderr.lines().filter(is_error).find(unexpected) {
            panic!("unexpected ERROR line: {line}\nall of it: {}", tail(stderr));
        }
    }
}

/// A command that runs. Dropping it kills it.
#[derive(Debug)]
pub struct Running<'a> {
    rowferry: &'a Rowferry,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    args: String,
}

impl Running<'_> {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.stderr).unwrap_or_default()).into_owned()
    }

    /// SIGKILL, and waits until it is gone. Panics if it had ended before by itself.
    #[track_caller]
    pub fn kill9(mut self) -> Ended {
        if let Some(status) = self.child.try_wait().expect("look at the process") {
            panic!("rowferry {} had ended by itself with {status}: {}", self.args, tail(&self.stderr()));
        }
        self.child.kill().expect("kill rowferry");
        self.child.wait().expect("wait for rowferry");
        self.ended(None)
    }

    /// SIGTERM, and what it ended with. Unexpected ERROR lines fail.
    #[track_caller]
    pub fn sigterm(self) -> Ended {
        self.signal("TERM");
        let rowferry = self.rowferry;
        let ended = self.wait_exit();
        rowferry.refuse_errors(&ended.stderr);
        ended
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("look at the process").is_some()
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("/bin/kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(sent.expect("run kill").success(), "send SIG{name} to rowferry");
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait_exit(mut self) -> Ended {
        let deadline = Instant::now() + self.rowferry.patience;
        loop {
            if let Some(status) = self.child.try_wait().expect("look at the process") {
                return self.ended(status.code());
            }
            assert!(Instant::now() < deadline, "rowferry {} does not end: {}", self.args, tail(&self.stderr()));
            pause(Duration::from_millis(10));
        }
    }

    /// Waits until `ready` holds of its first pipeline in `status`; returns that. Panics if the process ends first.
    #[track_caller]
    pub fn wait_status(&mut self, what: &str, ready: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + self.rowferry.patience;
        let mut last = Value::Null;
        loop {
            if let Some(status) = self.child.try_wait().expect("look at the process") {
                panic!("rowferry {} ended with {status} before {what}: {}", self.args, tail(&self.stderr()));
            }
            let ended = self.rowferry.command(&["status", "--json"]);
            if let Ok(document) = serde_json::from_str::<Value>(&ended.stdout) {
                last = document["pipelines"][0].clone();
                if ready(&last) {
                    return last;
                }
            }
            assert!(Instant::now() < deadline, "no {what}: {last:#}\n{}", tail(&self.stderr()));
            pause(Duration::from_millis(50));
        }
    }

    /// Waits until the pipeline streams.
    #[track_caller]
    pub fn wait_streaming(&mut self) -> Value {
        self.wait_status("streaming", |pipeline| pipeline["state"] == "streaming")
    }

    /// The most memory that it ever held, from `/proc`.
    pub fn peak_memory_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("read /proc/PID/status");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("VmHWM in /proc/PID/status");
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn ended(&self, code: Option<i32>) -> Ended {
        let stdout = String::from_utf8_lossy(&fs::read(&self.stdout).unwrap_or_default()).into_owned();
        Ended { code, stdout, stderr: self.stderr() }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets the tasks of the runtime's thread go on meanwhile on another one: a connection of theirs may hold what is waited for.
fn pause(lasts: Duration) {
    let shares_thread =
        Handle::try_current().is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::MultiThread);
    let sleep = || std::thread::sleep(lasts);
    if shares_thread { tokio::task::block_in_place(sleep) } else { sleep() }
}

/// The end of a log, for a panic's text.
fn tail(log: &str) -> String {
    let lines: Vec<_> = log.lines().collect();
    let shown = lines[lines.len().saturating_sub(40)..].join("\n");
    format!("\n---- last lines ----\n{shown}\n--------------------")
}
