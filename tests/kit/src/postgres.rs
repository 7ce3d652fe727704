//! A private PostgreSQL server.
//!
//! It listens on a free port of 127.0.0.1 and on a socket in its own folder, and ends with this process.

use crate::database::Database;
use crate::template::{self, SUPERUSER};
use crate::watcher::{Watcher, on_a_free_port};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

/// What every server of the kit has unless a test says otherwise. Durability is off: no test cuts the server's power.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", "127.0.0.1"),
    ("wal_level", "logical"),
    ("max_wal_senders", "50"),
    ("max_replication_slots", "50"),
    ("max_connections", "200"),
    ("shared_buffers", "128MB"),
    ("max_wal_size", "4GB"),
    ("fsync", "off"),
    ("synchronous_commit", "on"),
    ("full_page_writes", "off"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    ("log_line_prefix", "%m [%p] %d "),
];

/// How a private server differs from the usual one.
#[derive(Debug, Clone, Default)]
pub struct Options {
    settings: Vec<(String, String)>,
    hba: Vec<String>,
    tls: bool,
}

impl Options {
    /// The usual server.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a line of `postgresql.conf`.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Puts a line before the usual ones of `pg_hba.conf`, which trust everybody: `host all alice all scram-sha-256`.
    #[must_use]
    pub fn hba(mut self, line: &str) -> Self {
        self.hba.push(line.to_owned());
        self
    }

    /// Serves TLS with a certificate for `localhost` and `127.0.0.1`; see [`Postgres::ca_file`].
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Starts it.
    pub fn start(self) -> Postgres {
        Postgres::start_with(&self)
    }
}

/// A running PostgreSQL server: one of our own, which ends with this value or the process, or the one that
/// `ROWFERRY_TEST_PG` names.
#[derive(Debug)]
pub struct Postgres {
    /// Everything of a URL up to the database, `postgres://postgres@127.0.0.1:5433`, and what follows it.
    base_url: String,
    url_suffix: String,
    own: Option<Own>,
}

/// Folder and watcher of a server of our own.
#[derive(Debug)]
struct Own {
    folder: PathBuf,
    port: u16,
    #[expect(dead_code, reason = "held for its drop")]
    watcher: Watcher,
}

impl Postgres {
    /// The server that tests share: the one named by `ROWFERRY_TEST_PG` (a superuser's URL), else one a process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(|| match std::env::var("ROWFERRY_TEST_PG") {
            Ok(url) if !url.is_empty() => Self::given(&url),
            _ => Self::start(&[]),
        })
    }

    /// Starts a private server with these settings on top of the usual ones.
    pub fn start(settings: &[(&str, &str)]) -> Self {
        let add = |options: Options, &(name, value): &(&str, &str)| options.setting(name, value);
        settings.iter().fold(Options::new(), add).start()
    }

    fn given(url: &str) -> Self {
        let (url, query) = url.split_once('?').map_or((url, String::new()), |(url, query)| (url, format!("?{query}")));
        let authority = url.split_once("://").unwrap_or_else(|| panic!("ROWFERRY_TEST_PG is no URL: {url}")).1;
        let end = url.len() - authority.len() + authority.find('/').unwrap_or(authority.len());
        Self { base_url: url[..end].to_owned(), url_suffix: query, own: None }
    }

    fn start_with(options: &Options) -> Self {
        let folder = std::env::temp_dir().join(format!("rowferry-pg-{}", unique()));
        template::own_folder(&folder);
        let mut own = Own { port: 0, watcher: watcher(&folder), folder };
        template::copy_to(&own.folder.join("data"));
        if options.tls {
            make_certificates(&own.folder);
        }
        write_hba(&own.folder, options);
        own.start(options);
        let base_url = format!("postgres://{SUPERUSER}@127.0.0.1:{}", own.port);
        Self { base_url, url_suffix: String::new(), own: Some(own) }
    }

    /// A URL of a database here, for the superuser, over TCP.
    pub fn url(&self, database: &str) -> String {
        format!("{}/{database}{}", self.base_url, self.url_suffix)
    }

    /// The same for another user; `user` may be `name:password`.
    pub fn url_as(&self, user: &str, database: &str) -> String {
        let (scheme, rest) = self.base_url.split_once("://").expect("base_url has a scheme");
        let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
        format!("{scheme}://{user}@{host}/{database}{}", self.url_suffix)
    }

    /// The port on 127.0.0.1. Private servers only.
    pub fn port(&self) -> u16 {
        self.own().port
    }

    /// The folder of the unix socket. Private servers only; only the user that runs the server, and root, may enter it.
    pub fn socket_dir(&self) -> &Path {
        &self.own().folder
    }

    /// The certificate of the authority that signed the server's. Only with [`Options::tls`].
    pub fn ca_file(&self) -> PathBuf {
        self.own().folder.join("ca.crt")
    }

    /// The data directory. Private servers only; while the server is stopped a caller may put a copy in its place.
    pub fn data_dir(&self) -> PathBuf {
        self.own().folder.join("data")
    }

    /// The process id of the server's first process. Private servers only, while it runs.
    pub fn pid(&self) -> u32 {
        let file = fs::read_to_string(self.data_dir().join("postmaster.pid")).expect("read postmaster.pid");
        file.lines().next().and_then(|line| line.trim().parse().ok()).expect("a process id in postmaster.pid")
    }

    /// What the server has logged so far. Private servers only.
    pub fn log(&self) -> String {
        log_of(&self.own().folder)
    }

    /// A new empty database with a name of its own.
    pub fn create_database(&self, prefix: &str) -> Database {
        Database::create(self.url(SUPERUSER), prefix, |name| self.url(name))
    }

    /// Appends settings and restarts; the port stays. Private servers only.
    pub fn restart_with(&self, settings: &[(&str, &str)]) {
        append_conf(&self.own().folder, settings.iter().copied());
        self.restart();
    }

    /// Stops the server as an operator would and starts it again on the same port. Private servers only.
    pub fn restart(&self) {
        assert!(pg_ctl(&self.own().folder, &["-w", "-m", "fast", "restart"]), "restart PostgreSQL: {}", self.log());
    }

    /// Ends the server without a clean shutdown; [`start_again`](Self::start_again) lets it recover. Private servers only.
    pub fn kill(&self) {
        assert!(pg_ctl(&self.own().folder, &["-w", "-m", "immediate", "stop"]), "kill PostgreSQL: {}", self.log());
    }

    /// Stops the server as an operator would; [`start_again`](Self::start_again) starts it. Private servers only.
    pub fn stop(&self) {
        assert!(pg_ctl(&self.own().folder, &["-w", "-m", "fast", "stop"]), "stop PostgreSQL: {}", self.log());
    }

    /// Starts the server after [`kill`](Self::kill) or [`stop`](Self::stop), on the same port.
    pub fn start_again(&self) {
        assert!(pg_ctl(&self.own().folder, &["-w", "start"]), "start PostgreSQL again: {}", self.log());
    }

    /// A standby of this server, which restarts for it; it follows, and keeps the slots that are meant for it (version 17 and
    /// later). Private servers only.
    pub fn standby(&self) -> Self {
        self.stop();
        let folder = std::env::temp_dir().join(format!("rowferry-pg-{}", unique()));
        template::own_folder(&folder);
        let mut own = Own { port: 0, watcher: watcher(&folder), folder };
        let data = own.folder.join("data");
        template::run(template::command("/bin/cp").arg("-a").arg(self.data_dir()).arg(&data));
        template::run(template::command("/usr/bin/touch").arg(data.join("standby.signal")));
        self.start_again();
        let admin = self.url(SUPERUSER);
        crate::database::block_on(async move {
            let (client, connection) = tokio_postgres::connect(&admin, tokio_postgres::NoTls).await.expect("connect");
            tokio::spawn(connection);
            let slot = "SELECT pg_create_physical_replication_slot('standby', true)";
            client.simple_query(slot).await.expect("create the standby's slot");
        });
        let primary = format!("host=127.0.0.1 port={} user={SUPERUSER} dbname={SUPERUSER}", self.port());
        let options = Options::new()
            .setting("primary_conninfo", &primary)
            .setting("primary_slot_name", "standby")
            .setting("hot_standby_feedback", "on")
            .setting("sync_replication_slots", "on");
        own.start(&options);
        let base_url = format!("postgres://{SUPERUSER}@127.0.0.1:{}", own.port);
        Self { base_url, url_suffix: String::new(), own: Some(own) }
    }

    /// Makes a standby a primary. Private servers only.
    pub fn promote(&self) {
        assert!(pg_ctl(&self.own().folder, &["-w", "promote"]), "promote: {}", self.log());
    }

    fn own(&self) -> &Own {
        self.own.as_ref().expect("only for a server of our own: use Postgres::start, not the shared one")
    }
}

impl Own {
    fn start(&mut self, options: &Options) {
        let Self { folder, port, .. } = self;
        on_a_free_port(|free| {
            *port = free;
            write_conf(folder, free, options);
            if pg_ctl(folder, &["-w", "start"]) {
                return Ok(());
            }
            let said = log_of(folder);
            fs::remove_file(folder.join("server.log")).expect("remove the log of a failed start");
            Err(said)
        });
    }
}

/// Stops the server and removes its folder.
fn watcher(folder: &Path) -> Watcher {
    const SCRIPT: &str = r#"
        "$1" -D "$2/data" -m immediate -w stop >/dev/null 2>&1
        rm -rf "$2""#;
    Watcher::new(SCRIPT, &[template::bin_dir().join("pg_ctl").as_os_str(), folder.as_os_str()])
}

fn pg_ctl(folder: &Path, args: &[&str]) -> bool {
    let mut command = template::command(template::bin_dir().join("pg_ctl"));
    command.arg("-D").arg(folder.join("data")).arg("-l").arg(folder.join("server.log")).args(args);
    // The server inherits these: pipes would keep a caller waiting that reads them to the end.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().expect("run pg_ctl").success()
}

fn log_of(folder: &Path) -> String {
    fs::read_to_string(folder.join("server.log")).unwrap_or_default()
}

fn write_conf(folder: &Path, port: u16, options: &Options) {
    let port = port.to_string();
    let place = [("port", port.as_str()), ("unix_socket_directories", folder.to_str().expect("a UTF-8 path"))];
    let tls = [("ssl", "on"), ("ssl_cert_file", "../server.crt"), ("ssl_key_file", "../server.key")];
    let given = options.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let tls = tls.into_iter().filter(|_| options.tls);
    append_conf(folder, SETTINGS.iter().copied().chain(place).chain(tls).chain(given));
}

/// The last line of a setting wins.
fn append_conf<'a>(folder: &Path, settings: impl Iterator<Item = (&'a str, &'a str)>) {
    let mut conf = fs::OpenOptions::new().append(true).open(folder.join("data/postgresql.conf")).expect("open conf");
    for (name, value) in settings {
        writeln!(conf, "{name} = '{}'", value.replace('\'', "''")).expect("write postgresql.conf");
    }
}

fn write_hba(folder: &Path, options: &Options) {
    let path = folder.join("data/pg_hba.conf");
    let usual = fs::read_to_string(&path).expect("read pg_hba.conf");
    fs::write(&path, format!("{}\n{usual}", options.hba.join("\n"))).expect("write pg_hba.conf");
}

/// An authority and a server certificate, by the `openssl` command.
fn make_certificates(folder: &Path) {
    let openssl = |args: &str| {
        let mut command = template::command("/usr/bin/env");
        template::run(command.arg("openssl").args(args.split_whitespace()).current_dir(folder));
    };
    openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=rowferry-test-ca -keyout ca.key -out ca.crt");
    openssl("req -new -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr");
    let extensions = folder.join("server.ext");
    fs::write(&extensions, "subjectAltName=DNS:localhost,IP:127.0.0.1\n").expect("write server.ext");
    template::own_file(&extensions);
    openssl(
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext -out server.crt",
    );
}

/// Differs for every call on this machine.
pub(crate) fn unique() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let nanos = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.subsec_nanos());
    format!("{}-{}-{nanos:x}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}
