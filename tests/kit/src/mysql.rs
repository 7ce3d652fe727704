//! A private MySQL or MariaDB server.
//!
//! It listens on a free port of 127.0.0.1, knows the user `root` without a password, and writes a binary log of rows. As
//! with PostgreSQL, a small shell watches the pipe that the test process holds open, and ends the server with it.

mod columns;
pub mod compare;
mod database;
mod flavor;
mod script;

use crate::database::block_on;
use crate::postgres::unique;
use crate::template;
use crate::watcher::{Watcher, on_a_free_port};
pub use database::MysqlDatabase;
pub(crate) use database::{query_text, try_connect};
pub use flavor::Flavor;
use mysql_async::prelude::Queryable;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

/// How long a server may take to be ready.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server: one of our own, which ends with this value or the process, or the one that `ROWFERRY_TEST_MYSQL`
/// names.
#[derive(Debug)]
pub struct Mysql {
    /// `mysql://root@127.0.0.1:3307`.
    base_url: String,
    own: Option<Own>,
}

/// A server of our own. Fields are dropped in their order: the watcher ends what still runs.
#[derive(Debug)]
struct Own {
    folder: PathBuf,
    flavor: Flavor,
    port: u16,
    options: Mutex<Vec<String>>,
    child: Mutex<Option<Child>>,
    #[expect(dead_code, reason = "held for its drop")]
    watcher: Watcher,
}

impl Mysql {
    /// The server that tests share: the one named by `ROWFERRY_TEST_MYSQL` (root's URL), else one a process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Mysql> = OnceLock::new();
        SHARED.get_or_init(|| match std::env::var("ROWFERRY_TEST_MYSQL") {
            Ok(url) if !url.is_empty() => Self { base_url: url.trim_end_matches('/').to_owned(), own: None },
            _ => Self::start(&[]),
        })
    }

    /// Another server for what goes from one kind to another: the one that `ROWFERRY_TEST_MYSQL_TARGET` names, if any.
    pub fn other() -> Option<&'static Self> {
        static OTHER: OnceLock<Option<Mysql>> = OnceLock::new();
        let named = || std::env::var("ROWFERRY_TEST_MYSQL_TARGET").ok().filter(|url| !url.is_empty());
        let other = || named().map(|url| Self { base_url: url.trim_end_matches('/').to_owned(), own: None });
        OTHER.get_or_init(other).as_ref()
    }

    /// Starts a private server with these options behind the usual ones, where the last one wins:
    /// `--binlog-row-image=MINIMAL`.
    pub fn start(options: &[&str]) -> Self {
        Self::start_flavor(Flavor::from_env(), options)
    }

    /// The same for a kind of server that a test names by itself.
    pub fn start_flavor(flavor: Flavor, options: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("rowferry-mysql-{}", unique()));
        template::own_folder(&folder);
        let mut own = Own {
            port: 0,
            options: Mutex::new(options.iter().map(|&option| option.to_owned()).collect()),
            child: Mutex::new(None),
            watcher: watcher(&folder),
            flavor,
            folder,
        };
        own.flavor.copy_to(&own.data_dir());
        template::own_folder(&own.folder.join("tmp"));
        own.start_on_a_free_port();
        Self { base_url: format!("mysql://root@127.0.0.1:{}", own.port), own: Some(own) }
    }

    /// A URL of a database here, for root, over TCP; without a database for the empty name.
    pub fn url(&self, database: &str) -> String {
        if database.is_empty() { self.base_url.clone() } else { format!("{}/{database}", self.base_url) }
    }

    /// The same for another user; `user` may be `name:password`.
    pub fn url_as(&self, user: &str, database: &str) -> String {
        let url = self.url(database);
        let (_, rest) = url.split_once('@').expect("the URL names a user");
        format!("mysql://{user}@{rest}")
    }

    /// What kind of server it is, and its version.
    pub fn flavor(&self) -> Flavor {
        let url = self.url("");
        Flavor::parse_version(&block_on(async move { database::value(&url, "SELECT VERSION()").await }))
    }

    /// A new empty database with a name of its own; its text is `utf8mb4` by default.
    pub fn create_database(&self, prefix: &str) -> MysqlDatabase {
        MysqlDatabase::create(&self.base_url, prefix)
    }

    /// Runs statements without a database of their own: `SET GLOBAL`, `CREATE USER`, `FLUSH BINARY LOGS`.
    pub async fn execute(&self, sql: &str) {
        script::run_text(&self.url(""), sql).await;
    }

    /// The port on 127.0.0.1. Private servers only.
    pub fn port(&self) -> u16 {
        self.own().port
    }

    /// The data directory, with the files of the binary log. Private servers only.
    pub fn data_dir(&self) -> PathBuf {
        self.own().data_dir()
    }

    /// The process id of the server. Private servers only, while it runs.
    pub fn pid(&self) -> u32 {
        self.own().child.lock().unwrap().as_ref().expect("the server runs").id()
    }

    /// What the server has logged so far. Private servers only.
    pub fn log(&self) -> String {
        self.own().log()
    }

    /// Stops the server as an operator would; [`start_again`](Self::start_again) starts it. Private servers only.
    pub fn stop(&self) {
        self.own().stop("TERM");
    }

    /// Ends the server by SIGKILL; [`start_again`](Self::start_again) lets it recover. Private servers only.
    pub fn kill(&self) {
        self.own().stop("KILL");
    }

    /// Starts the server after [`kill`](Self::kill) or [`stop`](Self::stop), on the same port.
    pub fn start_again(&self) {
        let own = self.own();
        assert!(own.start(), "start the server again: {}", own.log());
    }

    /// Stops the server as an operator would and starts it again on the same port. Private servers only.
    pub fn restart(&self) {
        self.stop();
        self.start_again();
    }

    /// Restarts with more options, from now on. Private servers only.
    pub fn restart_with(&self, options: &[&str]) {
        self.own().options.lock().unwrap().extend(options.iter().map(|&option| option.to_owned()));
        self.restart();
    }

    fn own(&self) -> &Own {
        self.own.as_ref().expect("only for a server of our own: use Mysql::start, not the shared one")
    }
}

/// Runs an SQL file, statement by statement; panics with the line if one fails. See docs/testing.md for the comments
/// that it heeds.
pub async fn run_file(url: &str, file: &Path) {
    script::run_file(url, file).await;
}

impl Own {
    fn data_dir(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.join("server.log")).unwrap_or_default()).into_owned()
    }

    fn start_on_a_free_port(&mut self) {
        on_a_free_port(|port| {
            self.port = port;
            if self.start() {
                return Ok(());
            }
            let said = self.log();
            fs::remove_file(self.folder.join("server.log")).expect("remove the log of a failed start");
            Err(format!("{:?}: {said}", self.flavor))
        });
    }

    /// Whether it answers; not if it ended by itself.
    fn start(&self) -> bool {
        let mut command = self.command();
        let mut child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
        let deadline = Instant::now() + PATIENCE;
        let ready = loop {
            if child.try_wait().expect("look at the server").is_some() {
                break false;
            }
            if self.answers() {
                break true;
            }
            assert!(Instant::now() < deadline, "the server does not answer: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        };
        *self.child.lock().unwrap() = ready.then_some(child);
        ready
    }

    /// The shell leaves the process id where the watcher finds it before there is a server.
    fn command(&self) -> Command {
        const SCRIPT: &str = r#"echo $$ >"$0/pid" && exec "$@" >>"$0/server.log" 2>&1"#;
        let server = self.flavor.server(&self.data_dir());
        let mut command = template::command("/bin/sh");
        command.args(["-c", SCRIPT]).arg(&self.folder).arg(server.get_program()).args(server.get_args());
        command.envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.arg(format!("--port={}", self.port)).arg("--bind-address=127.0.0.1");
        command.arg(format!("--socket={}", self.folder.join("s.sock").display()));
        // A server that starts sweeps others' files out of a folder that they share.
        command.arg(format!("--tmpdir={}", self.folder.join("tmp").display()));
        command.arg(format!("--pid-file={}", self.folder.join("server.pid").display()));
        command.args(self.flavor.options()).args(self.options.lock().unwrap().iter());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        command
    }

    fn answers(&self) -> bool {
        let url = format!("mysql://root@127.0.0.1:{}", self.port);
        block_on(async move {
            let Ok(mut client) = mysql_async::Conn::from_url(&url).await else { return false };
            let answered = client.query_drop("SELECT 1").await.is_ok();
            let _ = client.disconnect().await;
            answered
        })
    }

    fn stop(&self, signal: &str) {
        let mut child = self.child.lock().unwrap().take().expect("the server runs");
        let sent = Command::new("/bin/kill").args(["-s", signal, &child.id().to_string()]).status();
        assert!(sent.expect("run kill").success(), "send SIG{signal} to the server");
        child.wait().expect("wait for the server");
    }
}

/// Kills the server and removes its folder. A process that has the number of a server long gone is none of ours: it does not
/// name the folder.
fn watcher(folder: &Path) -> Watcher {
    const SCRIPT: &str = r#"
        pid=$(cat "$1/pid" 2>/dev/null) && grep -aqF "$1" "/proc/$pid/cmdline" 2>/dev/null && kill -9 "$pid"
        while [ -n "$pid" ] && grep -aqF "$1" "/proc/$pid/cmdline" 2>/dev/null; do sleep 0.02; done
        rm -rf "$1""#;
    Watcher::new(SCRIPT, &[folder.as_os_str()])
}

impl Drop for Own {
    fn drop(&mut self) {
        let child = self.child.get_mut().map(Option::take).unwrap_or_default();
        if let Some(mut child) = child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
