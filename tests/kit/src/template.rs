//! Where the server binaries are, who runs them, and a data directory that is initialised once a machine.
//!
//! `initdb` takes seconds and a copy takes none, so the first caller initialises into a cache under the temporary
//! directory and renames it into place; whoever loses that race throws its own away.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The database superuser of every server of the kit.
pub(crate) const SUPERUSER: &str = "postgres";

/// The folder with `initdb`, `pg_ctl` and `postgres`: `ROWFERRY_PG_BIN`, else Debian's newest, else from `PATH`.
pub(crate) fn bin_dir() -> &'static Path {
    static DIR: OnceLock<PathBuf> = OnceLock::new();
    DIR.get_or_init(|| {
        if let Some(dir) = std::env::var_os("ROWFERRY_PG_BIN") {
            return PathBuf::from(dir);
        }
        let version = |dir: &Path| dir.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
        let debian = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let newest = debian.map(|entry| entry.path().join("bin")).filter(|dir| dir.join("initdb").exists());
        if let Some(dir) = newest.max_by_key(|dir| version(dir)) {
            return dir;
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).find(|dir| dir.join("initdb").exists()).unwrap_or_else(|| {
            panic!("no PostgreSQL server on this machine: apt-get install postgresql, or set ROWFERRY_PG_BIN")
        })
    })
}

/// A command that runs as a user whom servers accept: `nobody` if we are root, else ourselves.
pub(crate) fn command(program: impl AsRef<Path>) -> Command {
    let mut command = Command::new(program.as_ref());
    if let Some((uid, gid)) = other_user() {
        command.uid(uid).gid(gid);
    }
    // The caller's folder may be closed to that user, and the caller's PG* variables are meant for other servers.
    command.current_dir("/").env("LC_ALL", "C").env("TZ", "UTC");
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PG") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command to its end; panics with what it said if it failed.
pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&said));
}

/// A new folder that only the server's user reads and writes.
pub(crate) fn own_folder(path: &Path) {
    fs::DirBuilder::new().mode(0o700).create(path).unwrap_or_else(|error| panic!("create {path:?}: {error}"));
    if let Some((uid, gid)) = other_user() {
        chown(path, Some(uid), Some(gid)).unwrap();
    }
}

/// Gives a folder and what is in it to the server's user.
pub(crate) fn own_all(path: &Path) {
    if let Some((uid, gid)) = other_user() {
        run(Command::new("chown").arg("-R").arg(format!("{uid}:{gid}")).arg(path));
    }
}

/// Gives a file to the server's user, readable by nobody else.
pub(crate) fn own_file(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    if let Some((uid, gid)) = other_user() {
        chown(path, Some(uid), Some(gid)).unwrap();
    }
}

/// Copies the initialised data directory to `to`, which must not exist.
pub(crate) fn copy_to(to: &Path) {
    static TEMPLATE: OnceLock<PathBuf> = OnceLock::new();
    run(Command::new("cp").arg("-a").arg(TEMPLATE.get_or_init(template)).arg(to));
}

fn template() -> PathBuf {
    let version = Command::new(bin_dir().join("postgres")).arg("--version").output().expect("run postgres --version");
    cached(&String::from_utf8_lossy(&version.stdout), initdb)
}

/// The data directory of a server that says this of its version; `initialize` makes it where it is not there yet.
pub(crate) fn cached(version: &str, initialize: impl FnOnce(&Path)) -> PathBuf {
    let version: String = version.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '.').collect();
    let cache = std::env::temp_dir().join(format!("rowferry-testkit-{}", our_uid()));
    if !cache.exists() {
        // Another process may create it in between: what counts is the check below.
        let _ = fs::DirBuilder::new().mode(0o755).create(&cache);
    }
    let owner = fs::symlink_metadata(&cache).unwrap_or_else(|error| panic!("look at {cache:?}: {error}"));
    assert!(owner.is_dir() && owner.uid() == our_uid(), "{cache:?} is not our folder: remove it");
    let done = cache.join(&version);
    if done.exists() {
        return done;
    }
    let mine = tempfile::Builder::new().prefix("init-").tempdir_in(&cache).expect("create a folder to initialise in");
    if let Some((uid, gid)) = other_user() {
        chown(mine.path(), Some(uid), Some(gid)).unwrap();
    }
    let data = mine.path().join("data");
    initialize(&data);
    if fs::rename(&data, &done).is_err() {
        assert!(done.exists(), "rename {data:?} to {done:?}");
    }
    done
}

/// Text sorts by language where the server can (15 and later), so that code that forgets `COLLATE "C"` fails here
/// and not at a user's.
fn initdb(data: &Path) {
    let initdb = |locale: &[&str]| {
        let mut command = command(bin_dir().join("initdb"));
        command.args(["--username", SUPERUSER, "--auth", "trust", "--encoding", "UTF8", "--no-sync", "-D"]).arg(data);
        command.args(locale);
        command
    };
    let by_language = ["--locale", "C.UTF-8", "--locale-provider", "icu", "--icu-locale", "en-US"];
    if initdb(&by_language).output().is_ok_and(|output| output.status.success()) {
        return;
    }
    let _ = fs::remove_dir_all(data);
    run(&mut initdb(&["--locale", "C.UTF-8"]));
}

/// User and group of `nobody` if we are root: database servers refuse to run as root.
fn other_user() -> Option<(u32, u32)> {
    static USER: OnceLock<Option<(u32, u32)>> = OnceLock::new();
    *USER.get_or_init(|| {
        if our_uid() != 0 {
            return None;
        }
        let users = fs::read_to_string("/etc/passwd").expect("read /etc/passwd");
        let nobody = users.lines().find(|line| line.starts_with("nobody:")).expect("a user nobody in /etc/passwd");
        let mut fields = nobody.split(':').skip(2).map(|field| field.parse().unwrap());
        Some((fields.next().unwrap(), fields.next().unwrap()))
    })
}

fn our_uid() -> u32 {
    fs::metadata("/proc/self").expect("look at /proc/self").uid()
}
