//! How another `rowferry` command speaks to the running process: a Unix socket in the state directory, which only the
//! process's own user may open. One line of JSON is asked, one is answered.

use crate::pipeline::letters::Which;
use rowferry_api::{Error, ErrorKind};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

/// Largest question or answer.
const MAX_LINE_BYTES: u64 = 64 << 20;
/// Longest path that every system takes for a socket.
const MAX_PATH_BYTES: usize = 100;

/// A question to the running process.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// How do you do?
    Status,
    /// Copy tables again.
    Resync {
        /// The pipeline's name.
        pipeline: String,
        /// `schema.table` at the source.
        tables: Vec<String>,
    },
    /// Somebody waits for the target to pass a position: write that of an idle log at once, for the next seconds.
    Hurry {
        /// The pipeline's name.
        pipeline: String,
    },
    /// About rows that were put aside.
    DeadLetters {
        /// The pipeline's name.
        pipeline: String,
        /// What is asked.
        what: LetterAsk,
    },
    /// Read rows again.
    Repair {
        /// The pipeline's name.
        pipeline: String,
        /// `schema.table` at the source.
        table: String,
        /// Encoded keys.
        keys: Vec<Vec<u8>>,
    },
}

/// A question about dead letters.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LetterAsk {
    /// Some of them, oldest first.
    List {
        /// Only of this table.
        table: Option<String>,
        /// Only those with ids above this.
        after: Option<u64>,
        /// With values.
        values: bool,
    },
    /// One, with its row.
    Show {
        /// Its id.
        id: u64,
        /// With values.
        values: bool,
    },
    /// Read their rows again.
    Replay(Which),
    /// Forget them.
    Discard(Which),
}

#[derive(Serialize, Deserialize)]
struct Answer {
    ok: Option<serde_json::Value>,
    error: Option<String>,
}

/// Asks the process that runs with this state directory; `None` if none does.
pub async fn ask<T: DeserializeOwned>(state_dir: &Path, ask: &Ask) -> Result<Option<T>, Error> {
    let path = socket_path(state_dir);
    let Ok(mut stream) = UnixStream::connect(&path).await else { return Ok(None) };
    let failed = |error: std::io::Error| {
        Error::new(ErrorKind::Unreachable, format!("ask the running process at {}", path.display())).because(error)
    };
    let mut line = serde_json::to_vec(ask).map_err(wrong)?;
    line.push(b'\n');
    stream.write_all(&line).await.map_err(failed)?;
    let mut line = String::new();
    BufReader::new(stream.take(MAX_LINE_BYTES)).read_line(&mut line).await.map_err(failed)?;
    let answer: Answer = serde_json::from_str(&line).map_err(wrong)?;
    match (answer.ok, answer.error) {
        (Some(value), _) => understood(value).map(Some),
        (None, error) => Err(Error::new(ErrorKind::Other, error.unwrap_or_else(|| "no answer".into()))),
    }
}

/// An answer, or a part of one, as what was asked for.
pub fn understood<T: DeserializeOwned>(answer: serde_json::Value) -> Result<T, Error> {
    serde_json::from_value(answer).map_err(wrong)
}

fn wrong(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Protocol, "understand the running process: it may be of another version").because(error)
}

/// Whether a process runs with this state directory.
pub async fn is_served(state_dir: &Path) -> bool {
    UnixStream::connect(socket_path(state_dir)).await.is_ok()
}

/// Answers until dropped. The caller holds the state directory's lock, so a socket file that is there is left over.
pub async fn serve<F, A>(state_dir: &Path, answer: F) -> Result<(), Error>
where
    F: Fn(Ask) -> A + Clone + Send + 'static,
    A: Future<Output = Result<serde_json::Value, Error>> + Send,
{
    let path = socket_path(state_dir);
    let failed = |error| {
        Error::new(ErrorKind::Config, format!("listen at {}", path.display()))
            .because(error)
            .hint("The state directory must be on a file system that allows sockets, and writable.")
    };
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&path).map_err(failed)?;
    let only_owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&path, only_owner).map_err(failed)?;
    loop {
        let (stream, _) = listener.accept().await.map_err(failed)?;
        let answer = answer.clone();
        tokio::spawn(async move {
            if let Err(error) = serve_one(stream, answer).await {
                tracing::debug!(error = %error, "a question was not answered");
            }
        });
    }
}

async fn serve_one<F, A>(stream: UnixStream, answer: F) -> std::io::Result<()>
where
    F: Fn(Ask) -> A,
    A: Future<Output = Result<serde_json::Value, Error>>,
{
    let (read, mut write) = stream.into_split();
    let mut line = String::new();
    BufReader::new(read.take(MAX_LINE_BYTES)).read_line(&mut line).await?;
    let answer = match serde_json::from_str(&line) {
        Ok(ask) => match answer(ask).await {
            Ok(value) => Answer { ok: Some(value), error: None },
            Err(error) => Answer { ok: None, error: Some(error.to_string()) },
        },
        Err(error) => Answer { ok: None, error: Some(format!("understand the question: {error}")) },
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    write.write_all(&line).await
}

fn socket_path(state_dir: &Path) -> PathBuf {
    let path = state_dir.join("control.sock");
    if path.as_os_str().len() <= MAX_PATH_BYTES {
        return path;
    }
    let mut hasher = DefaultHasher::new();
    std::fs::canonicalize(state_dir).unwrap_or_else(|_| state_dir.to_owned()).hash(&mut hasher);
    std::env::temp_dir().join(format!("rowferry-{:016x}.sock", hasher.finish()))
}
