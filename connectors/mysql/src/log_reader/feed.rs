//! A log's events, one after the other, with those of compressed transactions.

use super::dump::{Dump, Inner};
use crate::binlog::{Decoder, Header, LogEvent, PayloadEvents};
use crate::connection::{ConnectOptions, Flavor};
use crate::position::LogPosition;
use crate::source::log_error;
use crate::status;
use rowferry_api::Result;

/// An event with its header, and whether it stands inside of another one.
pub(super) type Fed = (Header, LogEvent, bool);

/// Where a log is asked for, and as which replica.
#[derive(Debug, Clone)]
pub(super) struct Access {
    pub(super) context: String,
    pub(super) connect: ConnectOptions,
    pub(super) flavor: Flavor,
    pub(super) server_id: u32,
}

impl Access {
    pub(super) async fn open(&self, from: &LogPosition) -> Result<Feed> {
        if from.gtids.is_none() && from.offset > u64::from(u32::MAX) {
            let what =
                format!("{}: a server cannot be asked for a place beyond 4 GiB of a file ({from})", self.context);
            return Err(status::lost(what));
        }
        let (conn, server) = self.connect.connect_without_database().await?;
        let dump = Dump::open(conn, server, self.server_id, from).await;
        let dump = dump.map_err(|error| log_error(&self.context, error))?;
        Ok(Feed { context: self.context.clone(), dump, decoder: Decoder::new(server.flavor), payload: None })
    }
}

/// A log that is being read.
pub(super) struct Feed {
    context: String,
    dump: Dump,
    decoder: Decoder,
    payload: Option<PayloadEvents>,
}

impl Feed {
    /// The next event; `None` when the server has ended the dump. Dropping the call loses nothing.
    pub(super) async fn next(&mut self) -> Result<Option<Fed>> {
        if let Some(payload) = &mut self.payload {
            match payload.next().transpose()? {
                Some(raw) => {
                    let (header, event) = self.decoder.parse_inner(&raw)?;
                    self.dump.expect(Inner::of(&header));
                    return Ok(Some((header, event, true)));
                }
                None => self.payload = None,
            }
        }
        let raw = match self.dump.next().await {
            Some(Ok(raw)) => raw,
            Some(Err(error)) => return Err(log_error(&self.context, error)),
            None => return Ok(None),
        };
        let (header, event) = self.decoder.parse(&raw).map_err(|error| error.within(self.context.as_str()))?;
        if let LogEvent::Payload(payload) = &event {
            self.payload = Some(payload.events());
        }
        Ok(Some((header, event, false)))
    }

    pub(super) async fn close(&mut self) {
        self.dump.close().await;
    }
}
