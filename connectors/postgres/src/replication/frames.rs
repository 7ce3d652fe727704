//! Frames of PostgreSQL's protocol, as slices of the read buffer.
//!
//! The buffer grows with what arrives, never with what a length field claims, and is given back after a huge row.

use crate::connection::{Failure, ServerError};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use postgres_protocol::message::frontend;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio_postgres::error::SqlState;

/// Most bytes asked from the socket at once, and the size of a fresh buffer.
pub(crate) const READ_BYTES: usize = 256 << 10;
/// A buffer with less room than this is replaced.
const MIN_ROOM_BYTES: usize = 16 << 10;
/// A buffer that grew past this for one large row is given back.
const KEEP_BYTES: usize = 4 << 20;
/// Longest message of a login or of an answer to a command.
const LOGIN_FRAME_BYTES: usize = 1 << 20;
/// PostgreSQL's own limit of a message, with some room; a longer claim is not its protocol.
const STREAM_FRAME_BYTES: usize = (1 << 30) + (64 << 20);

pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A frame: its type, and its body without the length.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) tag: u8,
    pub(crate) body: Bytes,
}

impl Frame {
    /// What an ErrorResponse says.
    pub(crate) fn error(&self) -> Failure {
        let mut error = ServerError {
            state: SqlState::INTERNAL_ERROR,
            message: String::new(),
            detail: None,
            place: None,
            hint: None,
        };
        for field in self.body.split(|&byte| byte == 0) {
            let Some((kind, value)) = field.split_first() else {
                break;
            };
            let value = String::from_utf8_lossy(value).into_owned();
            match kind {
                b'C' => error.state = SqlState::from_code(&value),
                b'M' => error.message = value,
                b'D' => error.detail = Some(value),
                b'W' => error.place = Some(value),
                b'H' => error.hint = Some(value),
                _ => {}
            }
        }
        Failure::Server(Box::new(error))
    }
}

/// The reading half.
pub(crate) struct FrameReader {
    socket: ReadHalf<Box<dyn Stream>>,
    buffer: BytesMut,
    limit: usize,
}

/// The writing half.
pub(crate) struct FrameWriter {
    socket: WriteHalf<Box<dyn Stream>>,
}

pub(super) fn split(socket: Box<dyn Stream>) -> (FrameReader, FrameWriter) {
    let (read, write) = tokio::io::split(socket);
    (FrameReader { socket: read, buffer: BytesMut::new(), limit: LOGIN_FRAME_BYTES }, FrameWriter { socket: write })
}

impl FrameReader {
    /// From now on rows come, which may be large.
    pub(super) fn expect_rows(&mut self) {
        self.limit = STREAM_FRAME_BYTES;
    }

    /// The next frame. Cancel-safe: what has arrived stays in the buffer.
    pub(crate) async fn next(&mut self) -> Result<Frame, Failure> {
        loop {
            if let Some(frame) = self.buffered()? {
                return Ok(frame);
            }
            self.read().await?;
        }
    }

    /// Waits for the next frame's type; the frame stays to be read. Cancel-safe.
    pub(crate) async fn next_tag(&mut self) -> Result<u8, Failure> {
        loop {
            match self.buffer.first() {
                Some(tag) => return Ok(*tag),
                None => self.read().await?,
            }
        }
    }

    async fn read(&mut self) -> Result<(), Failure> {
        if self.buffer.capacity() - self.buffer.len() < MIN_ROOM_BYTES {
            self.buffer.reserve(READ_BYTES);
        }
        let mut room = (&mut self.buffer).limit(READ_BYTES);
        match self.socket.read_buf(&mut room).await? {
            0 => Err(Failure::Broken("the server closed the connection".into())),
            _ => Ok(()),
        }
    }

    /// Nothing more has arrived, as far as we have looked.
    pub(crate) fn is_drained(&self) -> bool {
        self.buffer.is_empty()
    }

    /// A frame that has arrived whole, if there is one.
    pub(crate) fn buffered(&mut self) -> Result<Option<Frame>, Failure> {
        let Some(header) = self.buffer.first_chunk::<5>() else {
            return Ok(None);
        };
        let [tag, len @ ..] = *header;
        let len = u32::from_be_bytes(len) as usize;
        if !(4..=self.limit).contains(&len) {
            return Err(Failure::Protocol(format!("a message claims {len} bytes, which no PostgreSQL sends here")));
        }
        if self.buffer.len() < 1 + len {
            return Ok(None);
        }
        let mut body = self.buffer.split_to(1 + len).freeze();
        body.advance(5);
        if len > KEEP_BYTES {
            // What follows the large row is at most one read long; the row alone keeps the large buffer.
            self.buffer = BytesMut::from(&self.buffer[..]);
        }
        Ok(Some(Frame { tag, body }))
    }
}

impl FrameWriter {
    /// Sends bytes that are whole frames.
    pub(crate) async fn send(&mut self, frames: &[u8]) -> Result<(), Failure> {
        self.socket.write_all(frames).await?;
        Ok(self.socket.flush().await?)
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::DuplexStream;

    fn pipe() -> (FrameReader, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(1 << 20);
        (split(Box::new(ours)).0, theirs)
    }

    fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
        let len = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[tag], len.as_slice(), body].concat()
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    proptest! {
        #[test]
        fn frames_come_back_however_they_arrive(bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 1..8), step in 1..50usize) {
            let sent: Vec<u8> = bodies.iter().flat_map(|body| frame(b'd', body)).collect();
            let back = block_on(async {
                let (mut reader, mut server) = pipe();
                let sending = async {
                    for part in sent.chunks(step) {
                        server.write_all(part).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                };
                let reading = async {
                    let mut back = Vec::new();
                    for _ in &bodies {
                        back.push(reader.next().await.unwrap().body.to_vec());
                    }
                    back
                };
                tokio::join!(sending, reading).1
            });
            prop_assert_eq!(back, bodies);
        }

        #[test]
        fn any_bytes_are_frames_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            block_on(async {
                let (mut reader, mut server) = pipe();
                server.write_all(&bytes).await.unwrap();
                drop(server);
                while let Ok(frame) = reader.next().await {
                    let _ = frame.error();
                }
            });
        }
    }

    #[tokio::test]
    async fn a_claimed_length_is_refused_or_waited_for_and_never_allocated() {
        let (mut reader, mut server) = pipe();
        reader.expect_rows();
        server.write_all(b"d\x3f\xff\xff\xffabc").await.unwrap();
        let waiting = tokio::time::timeout(std::time::Duration::from_millis(50), reader.next()).await;
        assert!(waiting.is_err(), "a row of 1 GiB may come");
        assert!(reader.buffer.capacity() <= 2 * READ_BYTES, "{}", reader.buffer.capacity());
        let (mut reader, mut server) = pipe();
        reader.expect_rows();
        server.write_all(b"d\xff\xff\xff\xff").await.unwrap();
        assert!(matches!(reader.next().await, Err(Failure::Protocol(_))));
        let (mut reader, mut server) = pipe();
        server.write_all(b"R\x10\x00\x00\x00").await.unwrap();
        assert!(matches!(reader.next().await, Err(Failure::Protocol(_))), "no login has 256 MiB");
    }

    #[tokio::test]
    async fn a_dropped_wait_loses_nothing_and_a_large_row_s_memory_is_given_back() {
        let (mut reader, mut server) = pipe();
        reader.expect_rows();
        let large = vec![7; 20 << 20];
        let sent = [frame(b'd', &large), frame(b'k', b"next")].concat();
        let sending = tokio::spawn(async move {
            for part in sent.chunks(100_000) {
                server.write_all(part).await.unwrap();
            }
            server
        });
        let row = loop {
            tokio::select! {
                biased;
                frame = reader.next() => break frame.unwrap(),
                () = tokio::task::yield_now() => {}
            }
        };
        assert_eq!(row.body, large);
        assert!(reader.buffer.capacity() <= 2 * READ_BYTES, "{}", reader.buffer.capacity());
        assert_eq!(reader.next().await.unwrap().body, &b"next"[..]);
        drop(sending.await.unwrap());
        assert!(matches!(reader.next().await, Err(Failure::Broken(_))));
    }

    #[tokio::test]
    async fn small_frames_share_a_buffer_while_older_ones_are_held() {
        let (mut reader, mut server) = pipe();
        let mut held = Vec::new();
        for _ in 0..100 {
            server.write_all(&frame(b'd', &[1; 100])).await.unwrap();
            held.push(reader.next().await.unwrap());
        }
        let first = held[0].body.as_ptr() as usize;
        let same = held.iter().filter(|frame| (frame.body.as_ptr() as usize).abs_diff(first) < READ_BYTES).count();
        assert_eq!(same, 100, "each frame pins a buffer of its own");
    }
}
