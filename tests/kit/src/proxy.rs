//! A TCP proxy between a program and a server on 127.0.0.1, for the faults that a network has.
//!
//! It runs in a thread of its own, so that a test that blocks does not hold it up.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How often a slow link lets bytes through.
const TICK: Duration = Duration::from_millis(20);

/// What the network does now, to connections that are there and to new ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Carries everything.
    Open,
    /// Carries nothing more, and closes nothing: a peer that is gone without a word.
    Stalled,
    /// Carries so many bytes a second in each direction.
    Slow(usize),
    /// Carries a half of what comes next, and closes.
    Cut,
    /// Resets connections, and new ones as well.
    Reset,
}

/// A listener that carries connections to a server until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    link: watch::Sender<Link>,
    connections: Arc<AtomicUsize>,
}

impl Proxy {
    /// Listens on a free port for a server that listens on this one.
    pub fn to(server_port: u16) -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (link, seen) = watch::channel(Link::Open);
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        let serve = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("build a runtime");
            runtime.block_on(serve(listener, server_port, seen, counted));
        };
        std::thread::Builder::new().name("proxy".into()).spawn(serve).expect("start a thread");
        Self { port, link, connections }
    }

    /// A URL with the server's port, through the proxy.
    pub fn url(&self, url: &str) -> String {
        let (before, after) = url.split_once("@127.0.0.1:").expect("a URL with a user, of a port of 127.0.0.1");
        let rest = after.trim_start_matches(|char: char| char.is_ascii_digit());
        format!("{before}@127.0.0.1:{}{rest}", self.port)
    }

    /// From now on.
    pub fn set(&self, link: Link) {
        self.link.send_replace(link);
    }

    /// Connections that it carries.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn serve(
    listener: std::net::TcpListener,
    server_port: u16,
    link: watch::Receiver<Link>,
    connections: Arc<AtomicUsize>,
) {
    let listener = TcpListener::from_std(listener).expect("listen");
    let mut ended = link.clone();
    loop {
        let client = tokio::select! {
            accepted = listener.accept() => accepted,
            // The proxy was dropped.
            () = async { while ended.changed().await.is_ok() {} } => return,
        };
        let Ok((client, _)) = client else { continue };
        let (link, connections) = (link.clone(), connections.clone());
        tokio::spawn(async move {
            connections.fetch_add(1, Ordering::Relaxed);
            let _ = carry(client, server_port, link).await;
            connections.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

async fn carry(mut client: TcpStream, server_port: u16, mut link: watch::Receiver<Link>) -> io::Result<()> {
    let mut server = TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], server_port))).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let is_reset = {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        tokio::select! {
            _ = pump(&mut from_client, &mut to_server, link.clone()) => false,
            _ = pump(&mut from_server, &mut to_client, link.clone()) => false,
            reset = link.wait_for(|link| *link == Link::Reset) => reset.is_ok(),
        }
    };
    if is_reset {
        client.set_zero_linger()?;
        server.set_zero_linger()?;
    }
    Ok(())
}

/// Carries bytes one way until an end closes, or the link is cut.
async fn pump(from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>, mut link: watch::Receiver<Link>) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let now = *link.borrow_and_update();
        let room = match now {
            Link::Slow(a_second) => (a_second / 50).clamp(1, buffer.len()),
            _ => buffer.len(),
        };
        let size = tokio::select! {
            read = from.read(&mut buffer[..room]), if now != Link::Stalled => read?,
            changed = link.changed() => {
                changed.map_err(io::Error::other)?;
                continue;
            }
        };
        if size == 0 {
            return Ok(());
        }
        // What was read before the link stalled goes nowhere either.
        let then = *link.borrow();
        match then {
            Link::Cut => return to.write_all(&buffer[..size / 2]).await,
            Link::Stalled => {}
            _ => {
                to.write_all(&buffer[..size]).await?;
                if matches!(now, Link::Slow(_)) {
                    tokio::time::sleep(TICK).await;
                }
                continue;
            }
        }
        link.wait_for(|link| *link != Link::Stalled).await.map_err(io::Error::other)?;
        to.write_all(&buffer[..size]).await?;
    }
}
