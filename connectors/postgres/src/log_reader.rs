//! Reads the log: as it is written, or a backlog in large parts; pgoutput's messages become events.

mod backlog;
mod decoder;
mod forms;
mod refusal;
mod status;
mod stream;

use crate::connection::{ConnectOptions, from_pg};
use crate::delivered::Delivered;
use crate::lsn::Lsn;
use crate::slot;
use async_trait::async_trait;
use backlog::Backlog;
use decoder::Decoder;
use forms::Forms;
pub(crate) use refusal::lost;
use rowferry_api::{Error, ErrorKind, Event, LogReader, Position, Result, TableSchema};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use stream::{Stream, Streamed};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

/// A call of `next` stops appending at about this size.
const CHUNK_BYTES: usize = 256 << 10;

/// A server that could not hand out a backlog in parts is asked again after so long.
const REFUSED_FOR: Duration = Duration::from_secs(60);

/// Which log to read, and how.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// The server.
    pub connect: ConnectOptions,
    /// The slot that keeps the log.
    pub slot: String,
    /// What the log carries.
    pub publication: String,
    /// From so many bytes of unread log on it is read in large parts; 0: never.
    pub backlog_bytes: u64,
    /// Hears of each transaction that is received.
    pub delivered: Arc<Delivered>,
}

/// Where the log is.
struct Place {
    options: ConnectOptions,
    slot: String,
    publication: String,
    context: String,
    backlog_bytes: u64,
    /// Until then the server is not asked to hand out a backlog in parts.
    streams_until: Mutex<Option<Instant>>,
}

impl Place {
    fn reads_backlogs(&self) -> bool {
        let until = *self.streams_until.lock().expect("no code panics while it holds this");
        self.backlog_bytes > 0 && until.is_none_or(|until| until <= Instant::now())
    }

    fn refuse_backlogs(&self, reason: &Error) {
        tracing::info!(slot = %self.slot, %reason, "the backlog is streamed, which is slower");
        *self.streams_until.lock().expect("no code panics while it holds this") = Some(Instant::now() + REFUSED_FOR);
    }
}

/// A slot's changes. Dropping it tells the server the last confirmed position and frees the slot.
pub struct PostgresLogReader {
    place: Arc<Place>,
    decoder: Decoder,
    way: Way,
    confirmed: Lsn,
}

/// How the log comes to us.
enum Way {
    /// Another one is being opened.
    Opening(Opening),
    Stream(Stream),
    Backlog(Box<Backlog>),
}

/// A task that opens a way; ended by a drop.
struct Opening(JoinHandle<Result<Way>>);

impl Drop for Opening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl PostgresLogReader {
    /// Opens a slot's log at `from`. A position that the slot has passed is [`LogLost`](rowferry_api::ErrorKind::LogLost): the server would
    /// start later, in silence. A slot that another client reads is [`Busy`](rowferry_api::ErrorKind::Busy).
    pub async fn open(options: LogOptions, from: &Position, tables: &[Arc<TableSchema>]) -> Result<Self> {
        let LogOptions { connect, slot, publication, backlog_bytes, delivered } = options;
        let start = Lsn::try_from(from)?;
        let context = format!("read the log of slot \"{slot}\" at {}", connect.describe());
        let client = Arc::new(connect.connect().await?);
        slot::wait_until_free(&client, &slot).await?;
        slot::claim(&client, &slot).await?;
        let forms = Forms::new(client.clone(), connect.clone(), tables);
        let decoder = Decoder::new(forms, delivered, publication.clone(), context.clone(), start);
        let place = Arc::new(Place {
            options: connect,
            slot,
            publication,
            context,
            backlog_bytes,
            streams_until: Mutex::default(),
        });
        let way = open(&place, client, start, start).await?;
        Ok(Self { place, decoder, way, confirmed: start })
    }

    /// Goes on in whichever way is best, from where the last one ended.
    fn reopen(&mut self) {
        let from = self.decoder.boundary().unwrap_or(self.confirmed);
        let (place, confirmed) = (self.place.clone(), self.confirmed);
        let leaving = match &mut self.way {
            Way::Backlog(backlog) => Some(backlog.leave()),
            Way::Stream(_) | Way::Opening(_) => None,
        };
        self.way = Way::Opening(Opening(tokio::spawn(async move {
            if let Some(leaving) = leaving {
                leaving.end().await;
            }
            let client = Arc::new(place.options.connect().await?);
            open(&place, client, from, confirmed).await
        })));
    }

    fn confirm_to(&mut self, position: Lsn) {
        self.confirmed = self.confirmed.max(position);
        match &mut self.way {
            Way::Stream(stream) => stream.confirm(self.confirmed),
            Way::Backlog(backlog) => backlog.confirm(self.confirmed),
            Way::Opening(_) => {}
        }
    }
}

/// The end of the log; `None` on a standby, which says other things of it.
async fn end_of_log(client: &Client) -> Result<Option<Lsn>> {
    let statement = "SELECT CASE WHEN NOT pg_is_in_recovery() THEN pg_current_wal_flush_lsn() END::text";
    let row = client.query_one(statement, &[]).await.map_err(|error| from_pg("ask for the end of the log", error))?;
    row.get::<_, Option<&str>>(0).map(Lsn::parse).transpose()
}

async fn open(place: &Arc<Place>, client: Arc<Client>, from: Lsn, confirmed: Lsn) -> Result<Way> {
    slot::wait_until_free(&client, &place.slot).await?;
    slot::refuse_lost(&client, &place.slot, from).await?;
    match Backlog::open(place, &client, from, confirmed).await? {
        Some(backlog) => Ok(Way::Backlog(Box::new(backlog))),
        None => Stream::open(place, &client, from, confirmed).await.map(Way::Stream),
    }
}

#[async_trait]
impl LogReader for PostgresLogReader {
    async fn next(&mut self, events: &mut Vec<Event>) -> Result<()> {
        let before = events.len();
        self.decoder.describe(events).await?;
        while events.len() == before {
            let goes_on = match &mut self.way {
                Way::Opening(opening) => {
                    let opened = (&mut opening.0).await;
                    let broken =
                        |error| Error::new(ErrorKind::Other, "open the log: the task ended in a panic").because(error);
                    self.way = opened.map_err(broken)??;
                    self.confirm_to(self.confirmed);
                    true
                }
                Way::Stream(stream) => stream.next(&mut self.decoder, events).await? == Streamed::Events,
                Way::Backlog(backlog) => backlog.next(&mut self.decoder, events).await?,
            };
            if !goes_on {
                self.reopen();
            }
        }
        Ok(())
    }

    fn confirm(&mut self, position: &Position) -> Result<()> {
        self.confirm_to(Lsn::try_from(position)?);
        Ok(())
    }

    async fn close(&mut self) {
        if let Way::Stream(stream) = &mut self.way {
            stream.close().await;
        }
    }
}
