//! Our own connection for replication: tokio-postgres knows neither `replication=database` nor CopyBoth.
//!
//! Frames are slices of the read buffer. The buffer grows with what arrives, never with what a length field claims.
//! Source: PostgreSQL manual, "Frontend/Backend Protocol" and "Streaming Replication Protocol".

use crate::connection::{Address, ConnectOptions, from_state, unspoken};
use crate::tls::TlsMode;
use bytes::{Buf, Bytes, BytesMut};
use fallible_iterator::FallibleIterator;
use postgres_protocol::authentication::md5_hash;
use postgres_protocol::authentication::sasl::{self, ScramSha256};
use postgres_protocol::message::backend::{ErrorResponseBody, Message};
use postgres_protocol::message::frontend;
use rowferry_api::{Error, ErrorKind, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Bytes asked from the socket at once.
const READ_BYTES: usize = 256 << 10;
/// PostgreSQL's own limit of a message; a longer claim is not its protocol.
const MAX_FRAME_BYTES: usize = (1 << 30) + (64 << 20);
/// A buffer that grew past this for one large row is given back.
const KEEP_BYTES: usize = 4 << 20;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A frame: its type, and its body without the length.
pub(crate) struct Frame {
    pub tag: u8,
    pub body: Bytes,
}

/// The reading half.
pub(crate) struct FrameReader {
    socket: ReadHalf<Box<dyn Stream>>,
    buffer: BytesMut,
    context: String,
}

/// The writing half.
pub(crate) struct FrameWriter {
    socket: WriteHalf<Box<dyn Stream>>,
}

impl FrameWriter {
    /// Sends bytes that are whole frames.
    pub(crate) async fn send(&mut self, frames: &[u8]) -> std::io::Result<()> {
        self.socket.write_all(frames).await?;
        self.socket.flush().await
    }

    /// Tells the server that we are through, so that it frees the slot at once.
    pub(crate) async fn close(&mut self) {
        let mut bytes = BytesMut::new();
        frontend::copy_done(&mut bytes);
        frontend::terminate(&mut bytes);
        let _ = self.send(&bytes).await;
        let _ = self.socket.shutdown().await;
    }
}

impl FrameReader {
    /// The next frame. Cancel-safe: what has arrived stays in the buffer.
    pub(crate) async fn next(&mut self) -> Result<Frame> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(frame);
            }
            self.buffer.reserve(READ_BYTES);
            let read = self.socket.read_buf(&mut self.buffer).await;
            let closed = |text: &str| unspoken(self.context.clone(), text);
            match read {
                Ok(0) => return Err(closed("the server closed the connection")),
                Ok(_) => {}
                Err(error) => return Err(closed(&error.to_string())),
            }
        }
    }

    /// Nothing more has arrived.
    pub(crate) fn is_drained(&self) -> bool {
        self.buffer.is_empty()
    }

    /// A frame that has arrived whole, if there is one.
    pub(crate) fn buffered(&mut self) -> Result<Option<Frame>> {
        let Some(header) = self.buffer.first_chunk::<5>() else { return Ok(None) };
        let [tag, len @ ..] = *header;
        let len = u32::from_be_bytes(len) as usize;
        if !(4..=MAX_FRAME_BYTES).contains(&len) {
            return Err(Error::new(
                ErrorKind::Protocol,
                format!("{}: a message claims {len} bytes, which no PostgreSQL sends", self.context),
            ));
        }
        if self.buffer.len() < 1 + len {
            return Ok(None);
        }
        let mut body = self.buffer.split_to(1 + len).freeze();
        body.advance(5);
        if self.buffer.is_empty() && len > KEEP_BYTES {
            self.buffer = BytesMut::new();
        }
        Ok(Some(Frame { tag, body }))
    }
}

/// Connects, authenticates, and waits until the server is ready.
pub(crate) async fn connect(options: &ConnectOptions) -> Result<(FrameReader, FrameWriter)> {
    let context = format!("connect for replication to {}", options.describe());
    let mut last = unspoken(context.clone(), "no address to try");
    for address in options.addresses() {
        let attempt = connect_to(options, &address, &context);
        match tokio::time::timeout(options.connect_timeout(), attempt).await {
            Ok(Ok(halves)) => return Ok(halves),
            Ok(Err(error)) => last = error,
            Err(_) => last = unspoken(context.clone(), "the server did not answer in time"),
        }
    }
    Err(last)
}

async fn connect_to(
    options: &ConnectOptions,
    address: &Address,
    context: &str,
) -> Result<(FrameReader, FrameWriter)> {
    let failed = |error: std::io::Error| unspoken(context.to_owned(), &error.to_string());
    match address {
        Address::Unix { path } => {
            let socket = UnixStream::connect(path).await.map_err(failed)?;
            start(options, Box::new(socket), sasl::ChannelBinding::unsupported(), context).await
        }
        Address::Tcp { host, addr, port } => {
            let socket = match addr {
                Some(addr) => TcpStream::connect((*addr, *port)).await,
                None => TcpStream::connect((host.as_str(), *port)).await,
            };
            let socket = socket.map_err(failed)?;
            socket.set_nodelay(true).map_err(failed)?;
            start_tcp(options, socket, host, context).await
        }
    }
}

async fn start_tcp(
    options: &ConnectOptions,
    mut socket: TcpStream,
    host: &str,
    context: &str,
) -> Result<(FrameReader, FrameWriter)> {
    let failed = |error: std::io::Error| unspoken(context.to_owned(), &error.to_string());
    let (tls, required) = match &options.tls {
        TlsMode::Disable => {
            return start(options, Box::new(socket), sasl::ChannelBinding::unsupported(), context).await;
        }
        TlsMode::Prefer(tls) => (tls, false),
        TlsMode::Require(tls) => (tls, true),
    };
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    socket.write_all(&request).await.map_err(failed)?;
    match socket.read_u8().await.map_err(failed)? {
        b'S' => {}
        _ if required => return Err(unspoken(context.to_owned(), "the server does not support TLS")),
        _ => return start(options, Box::new(socket), sasl::ChannelBinding::unsupported(), context).await,
    }
    let mut maker = MakeRustlsConnect::new((**tls).clone());
    let connector = MakeTlsConnect::<TcpStream>::make_tls_connect(&mut maker, host)
        .map_err(|error| unspoken(context.to_owned(), &format!("TLS: {error}")))?;
    let socket = connector.connect(socket).await.map_err(|error| unspoken(context.to_owned(), &format!("TLS: {error}")))?;
    start(options, Box::new(socket), sasl::ChannelBinding::unsupported(), context).await
}

async fn start(
    options: &ConnectOptions,
    socket: Box<dyn Stream>,
    binding: sasl::ChannelBinding,
    context: &str,
) -> Result<(FrameReader, FrameWriter)> {
    let (read, write) = tokio::io::split(socket);
    let mut reader = FrameReader { socket: read, buffer: BytesMut::new(), context: context.to_owned() };
    let mut writer = FrameWriter { socket: write };
    let mut parameters = options.startup_parameters();
    parameters.push(("replication", "database"));
    let mut bytes = BytesMut::new();
    frontend::startup_message(parameters, &mut bytes).map_err(|error| unspoken(context.to_owned(), &error.to_string()))?;
    send(&mut writer, &bytes, context).await?;
    authenticate(options, &mut reader, &mut writer, binding, context).await?;
    Ok((reader, writer))
}

async fn send(writer: &mut FrameWriter, bytes: &[u8], context: &str) -> Result<()> {
    writer.send(bytes).await.map_err(|error| unspoken(context.to_owned(), &error.to_string()))
}

async fn authenticate(
    options: &ConnectOptions,
    reader: &mut FrameReader,
    writer: &mut FrameWriter,
    binding: sasl::ChannelBinding,
    context: &str,
) -> Result<()> {
    let password = || options.password().ok_or_else(|| unspoken(context.to_owned(), "password missing"));
    let wrong = |error: std::io::Error| Error::new(ErrorKind::Denied, format!("{context}: {error}"));
    let mut binding = Some(binding);
    let mut scram: Option<ScramSha256> = None;
    loop {
        let mut reply = BytesMut::new();
        match message(reader, context).await? {
            Message::AuthenticationOk => {}
            Message::AuthenticationCleartextPassword => frontend::password_message(password()?, &mut reply).map_err(wrong)?,
            Message::AuthenticationMd5Password(body) => {
                let hash = md5_hash(options.user().as_bytes(), password()?, body.salt());
                frontend::password_message(hash.as_bytes(), &mut reply).map_err(wrong)?;
            }
            Message::AuthenticationSasl(body) => {
                let offered: Vec<String> = body.mechanisms().map(|name| Ok(name.to_owned())).collect().map_err(wrong)?;
                if !offered.iter().any(|name| name == sasl::SCRAM_SHA_256) {
                    return Err(unspoken(context.to_owned(), "unsupported authentication: the server offers no SCRAM-SHA-256"));
                }
                let binding = binding.take().unwrap_or_else(sasl::ChannelBinding::unsupported);
                let mechanism = ScramSha256::new(password()?, binding);
                frontend::sasl_initial_response(sasl::SCRAM_SHA_256, mechanism.message(), &mut reply).map_err(wrong)?;
                scram = Some(mechanism);
            }
            Message::AuthenticationSaslContinue(body) => {
                let mechanism = scram.as_mut().ok_or_else(|| unspoken(context.to_owned(), "authentication out of order"))?;
                mechanism.update(body.data()).map_err(wrong)?;
                frontend::sasl_response(mechanism.message(), &mut reply).map_err(wrong)?;
            }
            Message::AuthenticationSaslFinal(body) => {
                let mechanism = scram.as_mut().ok_or_else(|| unspoken(context.to_owned(), "authentication out of order"))?;
                mechanism.finish(body.data()).map_err(wrong)?;
            }
            Message::ReadyForQuery(_) => return Ok(()),
            Message::ErrorResponse(body) => return Err(server_error(context, &body)),
            Message::ParameterStatus(_) | Message::BackendKeyData(_) | Message::NoticeResponse(_) => {}
            _ => return Err(unspoken(context.to_owned(), "unsupported authentication")),
        }
        if !reply.is_empty() {
            send(writer, &reply, context).await?;
        }
    }
}

/// A frame that postgres-protocol can read; not for CopyBoth.
async fn message(reader: &mut FrameReader, context: &str) -> Result<Message> {
    let frame = reader.next().await?;
    parse(&frame, context)
}

fn parse(frame: &Frame, context: &str) -> Result<Message> {
    let mut bytes = BytesMut::with_capacity(frame.body.len() + 5);
    bytes.extend_from_slice(&[frame.tag]);
    let len = u32::try_from(frame.body.len() + 4).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&len.to_be_bytes());
    bytes.extend_from_slice(&frame.body);
    match Message::parse(&mut bytes) {
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err(Error::new(ErrorKind::Protocol, format!("{context}: a message is cut short"))),
        Err(error) => Err(Error::new(ErrorKind::Protocol, format!("{context}: {error}"))),
    }
}

/// The server's error in a frame of type `E`.
pub(crate) fn error_in(frame: &Frame, context: &str) -> Error {
    match parse(frame, context) {
        Ok(Message::ErrorResponse(body)) => server_error(context, &body),
        Ok(_) => Error::new(ErrorKind::Protocol, format!("{context}: an unexpected message")),
        Err(error) => error,
    }
}

fn server_error(context: &str, body: &ErrorResponseBody) -> Error {
    let (mut code, mut text, mut detail, mut hint) = (String::new(), String::new(), None, None);
    let mut fields = body.fields();
    while let Ok(Some(field)) = fields.next() {
        let value = String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'C' => code = value,
            b'M' => text = value,
            b'D' => detail = Some(value),
            b'H' => hint = Some(value),
            _ => {}
        }
    }
    if let Some(detail) = detail {
        text = format!("{text} ({detail})");
    }
    from_state(context.to_owned(), &SqlState::from_code(&code), &text, hint.as_deref())
}

/// Starts streaming; returns once the server has switched to CopyBoth.
pub(crate) async fn start_streaming(
    reader: &mut FrameReader,
    writer: &mut FrameWriter,
    command: &str,
    context: &str,
) -> Result<()> {
    let mut bytes = BytesMut::new();
    frontend::query(command, &mut bytes).map_err(|error| unspoken(context.to_owned(), &error.to_string()))?;
    send(writer, &bytes, context).await?;
    loop {
        let frame = reader.next().await?;
        match frame.tag {
            b'W' => return Ok(()),
            b'E' => return Err(error_in(&frame, context)),
            b'N' | b'S' => {}
            other => {
                let what = format!("{context}: the server answered '{}' instead of streaming", other as char);
                return Err(Error::new(ErrorKind::Protocol, what));
            }
        }
    }
}
