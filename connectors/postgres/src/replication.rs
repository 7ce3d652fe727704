//! Our own connection for replication: tokio-postgres knows neither `replication=database` nor CopyBoth.
//!
//! Source: PostgreSQL manual, "Frontend/Backend Protocol" and "Streaming Replication Protocol".

mod frames;
mod login;

use crate::connection::{Address, ConnectOptions, Failure, RESET_NEWER};
use crate::tls::{self, TlsMode};
use bytes::BytesMut;
use fallible_iterator::FallibleIterator;
use frames::Stream;
pub(crate) use frames::{Frame, FrameReader, FrameWriter, READ_BYTES};
use postgres_protocol::message::backend::Message;
use postgres_protocol::message::frontend;
use rowferry_api::Result;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::config::TargetSessionAttrs;
use tokio_rustls::TlsConnector;

/// A peer whose system does not acknowledge our status updates for so long is gone. PostgreSQL itself may be silent for
/// longer, while it decodes a large transaction.
const UNACKNOWLEDGED_FOR: Duration = Duration::from_secs(60);

/// What waits for us from a server on the same machine. Each row is a message there, whose overhead fills the system's own buffer within a
/// millisecond, and a full one stops and wakes the sender in turns. On a longer way the system's tuning is better than a number.
const RECEIVE_BYTES: usize = 1 << 20;

/// A connection that takes replication commands.
pub(crate) struct ReplicationConnection {
    pub(crate) reader: FrameReader,
    pub(crate) writer: FrameWriter,
}

/// A row of an answer; `None` is NULL.
pub(crate) type AnswerRow = Vec<Option<String>>;

/// Connects, logs in, and waits until the server is ready. Addresses and modes as for an ordinary connection.
pub(crate) async fn connect(options: &ConnectOptions) -> Result<ReplicationConnection> {
    let context = format!("connect for replication to {}", options.describe());
    let mut last = Failure::Other("no address to try".into());
    for address in options.addresses() {
        match tokio::time::timeout(options.connect_timeout(), connect_to(options, &address)).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(failure)) => last = failure,
            Err(_) => last = Failure::Broken("the server did not answer in time".into()),
        }
    }
    Err(last.into_error(context))
}

async fn connect_to(options: &ConnectOptions, address: &Address) -> Result<ReplicationConnection, Failure> {
    let (host, addr, port) = match address {
        // As libpq: nothing is encrypted on a socket of the machine.
        Address::Unix { path } => return start(options, Box::new(UnixStream::connect(path).await?), None).await,
        Address::Tcp { host, addr, port } => (host, *addr, *port),
    };
    match &options.tls {
        TlsMode::Disable => connect_in_plain(options, host, addr, port).await,
        TlsMode::Require(tls) => connect_encrypted(options, host, addr, port, tls, true).await,
        TlsMode::Prefer(tls) => match connect_encrypted(options, host, addr, port, tls, false).await {
            Err(failure) if failure.may_pass_in_plain() => {
                connect_in_plain(options, host, addr, port).await.map_err(|_| failure)
            }
            result => result,
        },
    }
}

async fn connect_in_plain(
    options: &ConnectOptions,
    host: &str,
    addr: Option<IpAddr>,
    port: u16,
) -> Result<ReplicationConnection, Failure> {
    start(options, Box::new(dial(options, host, addr, port).await?), None).await
}

async fn connect_encrypted(
    options: &ConnectOptions,
    host: &str,
    addr: Option<IpAddr>,
    port: u16,
    tls: &Arc<ClientConfig>,
    required: bool,
) -> Result<ReplicationConnection, Failure> {
    let mut socket = dial(options, host, addr, port).await?;
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    socket.write_all(&request).await?;
    match socket.read_u8().await? {
        b'S' => {}
        b'N' if !required => return start(options, Box::new(socket), None).await,
        b'N' => return Err(Failure::Tls("the server does not speak TLS".into())),
        _ => {
            return Err(Failure::Protocol("the answer to a request for TLS is not one of PostgreSQL's".into()));
        }
    }
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| Failure::Tls(format!("{host} is no name that a certificate can have")))?;
    let socket = TlsConnector::from(tls.clone()).connect(name, socket).await?;
    let certificate = socket.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let end_point = certificate.and_then(tls::server_end_point);
    start(options, Box::new(socket), end_point).await
}

async fn dial(options: &ConnectOptions, host: &str, addr: Option<IpAddr>, port: u16) -> Result<TcpStream, Failure> {
    let socket = match addr {
        Some(addr) => TcpStream::connect((addr, port)).await?,
        None => TcpStream::connect((host, port)).await?,
    };
    socket.set_nodelay(true)?;
    let raw = SockRef::from(&socket);
    if socket.peer_addr()?.ip().is_loopback() {
        // A system that gives less still serves.
        let _ = raw.set_recv_buffer_size(RECEIVE_BYTES);
    }
    if let Some(idle) = options.keepalive_idle() {
        raw.set_tcp_keepalive(&TcpKeepalive::new().with_time(idle))?;
    }
    #[cfg(target_os = "linux")]
    raw.set_tcp_user_timeout(Some(UNACKNOWLEDGED_FOR))?;
    Ok(socket)
}

async fn start(
    options: &ConnectOptions,
    socket: Box<dyn Stream>,
    end_point: Option<Vec<u8>>,
) -> Result<ReplicationConnection, Failure> {
    let (reader, writer) = frames::split(socket);
    let mut connection = ReplicationConnection { reader, writer };
    let mut parameters = options.startup_parameters();
    parameters.push(("replication", "database"));
    let mut bytes = BytesMut::new();
    frontend::startup_message(parameters, &mut bytes)?;
    connection.writer.send(&bytes).await?;
    login::log_in(options, &mut connection, end_point).await?;
    connection.query(RESET_NEWER).await?;
    connection.refuse_other_role(options.session_attrs()).await?;
    Ok(connection)
}

impl ReplicationConnection {
    /// Runs a command that answers with rows: IDENTIFY_SYSTEM, SHOW.
    pub(crate) async fn query(&mut self, command: &str) -> Result<Vec<AnswerRow>, Failure> {
        self.send_command(command).await?;
        let mut rows = Vec::new();
        let mut failure = None;
        loop {
            let frame = self.reader.next().await?;
            match login::parse(&frame)? {
                Message::DataRow(body) => {
                    let text = |range: Option<std::ops::Range<usize>>| {
                        Ok(range.map(|range| String::from_utf8_lossy(&body.buffer()[range]).into_owned()))
                    };
                    rows.push(body.ranges().map(text).collect()?);
                }
                Message::ErrorResponse(_) => failure = Some(frame.error()),
                Message::ReadyForQuery(_) => return failure.map_or(Ok(rows), Err),
                _ => {}
            }
        }
    }

    /// Runs START_REPLICATION; returns once rows may come.
    pub(crate) async fn start_streaming(&mut self, command: &str) -> Result<(), Failure> {
        self.start_rows(command, b'W').await
    }

    /// Runs COPY TO STDOUT; returns once rows may come.
    pub(crate) async fn start_copy(&mut self, command: &str) -> Result<(), Failure> {
        self.start_rows(command, b'H').await
    }

    async fn start_rows(&mut self, command: &str, answer: u8) -> Result<(), Failure> {
        self.send_command(command).await?;
        loop {
            let frame = self.reader.next().await?;
            match frame.tag {
                tag if tag == answer => {
                    self.reader.expect_rows();
                    return Ok(());
                }
                b'E' => return Err(frame.error()),
                b'N' | b'S' => {}
                other => {
                    let what = format!("the server answered '{}' instead of rows", other.escape_ascii());
                    return Err(Failure::Protocol(what));
                }
            }
        }
    }

    async fn send_command(&mut self, command: &str) -> Result<(), Failure> {
        let mut bytes = BytesMut::new();
        frontend::query(command, &mut bytes)?;
        self.writer.send(&bytes).await
    }

    /// Of several servers, the ordinary connection takes the one of the role asked for; so must this.
    async fn refuse_other_role(&mut self, wanted: TargetSessionAttrs) -> Result<(), Failure> {
        let read_only = match wanted {
            TargetSessionAttrs::ReadWrite => "off",
            TargetSessionAttrs::ReadOnly => "on",
            _ => return Ok(()),
        };
        let answer = self.query("SHOW transaction_read_only").await?;
        match answer.first().and_then(|row| row.first()) {
            Some(Some(value)) if value == read_only => Ok(()),
            _ => Err(Failure::Broken("the server is not of the role that target_session_attrs asks for".into())),
        }
    }
}

#[cfg(test)]
mod tests;
