//! Which server it is: where its program lies, how it is started, and a data directory that is initialised once a machine.

use crate::template;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What every server of the kit has unless a test says otherwise. Durability is off: no test cuts the server's power. The
/// zone is not UTC on purpose: what forgets to say which zone it means fails here and not at a user's.
const OPTIONS: &[&str] = &[
    "--server-id=1",
    "--log-bin=binlog",
    "--binlog-format=ROW",
    "--binlog-row-image=FULL",
    "--innodb-flush-log-at-trx-commit=2",
    "--sync-binlog=0",
    "--max-connections=300",
    "--max-allowed-packet=256M",
    "--innodb-buffer-pool-size=128M",
    "--local-infile=1",
    "--skip-name-resolve",
    "--default-time-zone=+03:00",
];

/// MySQL knows its root by the name of the machine only, and names are not resolved here.
const ROOT_OVER_TCP: &str = "CREATE USER root@'127.0.0.1';\nGRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;\n";

/// A kind and version of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// MariaDB, of this major and minor version.
    Mariadb(u16, u16),
    /// MySQL, of this major and minor version.
    Mysql(u16, u16),
}

impl Flavor {
    /// The one that tests are to use: `ROWFERRY_MYSQL_SERVER`, else Debian's MariaDB.
    pub fn from_env() -> Self {
        let name = std::env::var("ROWFERRY_MYSQL_SERVER").unwrap_or_default();
        if name.is_empty() {
            return Self::Mariadb(10, 11);
        }
        let parts = name.split_once('-').and_then(|(brand, version)| Some((brand, numbers(version)?)));
        match parts {
            Some(("mariadb", (major, minor))) => Self::Mariadb(major, minor),
            Some(("mysql", (major, minor))) => Self::Mysql(major, minor),
            _ => panic!("ROWFERRY_MYSQL_SERVER is none of mariadb-10.11, mysql-9.7 and such: {name}"),
        }
    }

    /// From what `SELECT VERSION()` says: `8.0.36`, `10.11.14-MariaDB-log`.
    pub(crate) fn parse_version(text: &str) -> Self {
        let (major, minor) = numbers(text).unwrap_or_else(|| panic!("no version: {text}"));
        if text.contains("MariaDB") { Self::Mariadb(major, minor) } else { Self::Mysql(major, minor) }
    }

    /// It is MariaDB.
    pub fn is_mariadb(self) -> bool {
        matches!(self, Self::Mariadb(..))
    }

    /// Major and minor version.
    pub fn version(self) -> (u16, u16) {
        match self {
            Self::Mariadb(major, minor) | Self::Mysql(major, minor) => (major, minor),
        }
    }

    /// Options beyond the place: see [`OPTIONS`].
    pub(super) fn options(self) -> Vec<&'static str> {
        let mut options = OPTIONS.to_vec();
        match self {
            Self::Mariadb(..) => options.push("--binlog-row-metadata=FULL"),
            Self::Mysql(..) => {
                options.extend(["--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--log-slave-updates"])
            }
        }
        if let Self::Mysql(5, _) = self {
            // A transaction's large values have to fit into a tenth of it.
            options.push("--innodb-log-file-size=512M");
        }
        if let Self::Mysql(8.., _) = self {
            options.extend(["--binlog-row-metadata=FULL", "--mysqlx=OFF", "--secure-file-priv=NULL"]);
        }
        options
    }

    /// The server's program on a data directory, and nothing else said.
    pub(super) fn server(self, data: &Path) -> Command {
        let home = self.home();
        let mut command = match (self, &home) {
            (Self::Mysql(..=5, _), Some(home)) => {
                let mut command = template::command(home.join("mysqld"));
                command.env("LD_LIBRARY_PATH", home);
                command
            }
            (_, Some(home)) => by_own_loader(home, &home.join(format!("usr/sbin/{}", self.program()))),
            (_, None) => template::command(self.installed()),
        };
        // The first argument of all, where it is given.
        command.arg("--no-defaults").arg(format!("--datadir={}", data.display()));
        let share = match (self, &home) {
            (Self::Mysql(..=5, _), Some(home)) => {
                command.arg(format!("--basedir={}", home.display()));
                Some(home.join("share"))
            }
            (_, Some(home)) => {
                let plugins = home.join("usr/lib/mysql/plugin");
                command.arg(format!("--basedir={}", home.join("usr").display()));
                command.arg(format!("--plugin-dir={}", plugins.display()));
                Some(self.share())
            }
            (_, None) => None,
        };
        if let Some(share) = share {
            command.arg(format!("--lc-messages-dir={}", share.display()));
            command.arg(format!("--character-sets-dir={}", share.join("charsets").display()));
        }
        command
    }

    /// Copies the initialised data directory to `to`, which must not exist.
    pub(super) fn copy_to(self, to: &Path) {
        let version = self.server(Path::new("/")).arg("--version").output().expect("ask the server for its version");
        let done = template::cached(&String::from_utf8_lossy(&version.stdout), |data| self.initialize(data));
        template::run(template::command("/bin/cp").arg("-a").arg(done).arg(to));
    }

    fn initialize(self, data: &Path) {
        match self {
            Self::Mariadb(..) => self.bootstrap(data),
            Self::Mysql(..=5, _) => {
                let home = self.home().expect("MySQL 5 is not in Debian: set ROWFERRY_MYSQL_HOME");
                template::run(Command::new("/bin/cp").arg("-r").arg(home.join("data/mysql")).arg(data));
                // The server's own identity: each makes its own.
                fs::remove_file(data.join("auto.cnf")).expect("remove auto.cnf");
                template::own_all(data);
            }
            Self::Mysql(..) => {
                let grants = data.with_extension("sql");
                fs::write(&grants, ROOT_OVER_TCP).expect("write grants");
                let init = format!("--init-file={}", grants.display());
                template::run(self.server(data).args(["--initialize-insecure", &init]));
                fs::remove_file(data.join("auto.cnf")).expect("remove auto.cnf");
            }
        }
    }

    /// What `mariadb-install-db` does, which would start the program without its loader.
    fn bootstrap(self, data: &Path) {
        let beside = data.with_extension("sql");
        let mut sql = File::create(&beside).expect("write the system tables' SQL");
        writeln!(sql, "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;").expect("write SQL");
        let names = ["mysql_system_tables", "mysql_performance_tables", "mysql_system_tables_data", "mysql_sys_schema"];
        for name in names {
            let old = self.share().join(format!("{name}.sql"));
            let new = self.share().join(format!("{}.sql", name.replace("mysql_", "mariadb_")));
            let text =
                fs::read(if new.exists() { new } else { old }).unwrap_or_else(|error| panic!("{name}.sql: {error}"));
            let lines = text.split_inclusive(|&byte| byte == b'\n');
            for line in lines.filter(|line| !String::from_utf8_lossy(line).contains("@current_hostname")) {
                sql.write_all(line).expect("write SQL");
            }
        }
        template::own_folder(data);
        let mut command = self.server(data);
        command.args(["--bootstrap", "--log-warnings=0", "--enforce-storage-engine="]);
        template::run(command.stdin(Stdio::from(File::open(&beside).expect("read SQL"))));
        fs::remove_file(beside).expect("remove SQL");
    }

    fn program(self) -> &'static str {
        if self.is_mariadb() { "mariadbd" } else { "mysqld" }
    }

    fn installed(self) -> PathBuf {
        let name = self.program();
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin"), PathBuf::from("/usr/libexec")]);
        folders.map(|folder| folder.join(name)).find(|program| program.exists()).unwrap_or_else(|| {
            panic!("no {name} on this machine: apt-get install mariadb-server, or set ROWFERRY_MYSQL_HOME")
        })
    }

    /// The root that a server of another system is unpacked in, or the folder of MySQL 5.6's program. It is of the kind that
    /// the environment names; any other is an installed one.
    fn home(self) -> Option<PathBuf> {
        let named = std::env::var_os("ROWFERRY_MYSQL_HOME").filter(|home| !home.is_empty());
        named.filter(|_| self == Self::from_env()).map(PathBuf::from)
    }

    /// The folder of error messages, character sets and the system tables' SQL.
    fn share(self) -> PathBuf {
        let usr = self.home().map_or(PathBuf::from("/usr"), |home| home.join("usr"));
        let names = if self.is_mariadb() { ["share/mariadb", "share/mysql"] } else { ["share/mysql", "share"] };
        let found = names.iter().map(|name| usr.join(name)).find(|folder| folder.join("charsets").exists());
        found.unwrap_or_else(|| panic!("no {} with charsets in {usr:?}", names[0]))
    }
}

/// A program for another libc than the machine's.
fn by_own_loader(root: &Path, program: &Path) -> Command {
    let loaders = ["usr/lib64", "lib64", "usr/lib/x86_64-linux-gnu"];
    let loader =
        loaders.map(|folder| root.join(folder).join("ld-linux-x86-64.so.2")).into_iter().find(|file| file.exists());
    let loader = loader.unwrap_or_else(|| panic!("no loader ld-linux-x86-64.so.2 in {root:?}"));
    let libraries = ["usr/lib/x86_64-linux-gnu", "usr/lib/mysql/private", "lib/x86_64-linux-gnu"];
    let libraries = libraries.map(|folder| root.join(folder).display().to_string()).join(":");
    let mut command = template::command(loader);
    command.args(["--library-path", &libraries]).arg(program);
    command
}

fn numbers(text: &str) -> Option<(u16, u16)> {
    let mut numbers = text.split(|char: char| !char.is_ascii_digit()).map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}
