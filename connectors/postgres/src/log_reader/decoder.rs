//! pgoutput's messages become events, whichever way they come.

use super::forms::{Described, Forms, Lookup};
use super::refusal;
use crate::connection::Failure;
use crate::delivered::Delivered;
use crate::lsn::Lsn;
use crate::pgoutput::{Message, decode};
use crate::replication::Frame;
use bytes::Bytes;
use rowferry_api::{Error, Event, Result, Timestamp};
use std::sync::Arc;
use tokio_postgres::Client;

/// A transaction that was committed so long before it was sent is part of a backlog.
const LATE_US: i64 = 100_000;

/// What is known of the log between two messages.
pub(super) struct Decoder {
    forms: Forms,
    delivered: Arc<Delivered>,
    publication: String,
    context: String,
    in_transaction: bool,
    /// The last transaction was part of a backlog, and the server has not caught up since.
    late: bool,
    /// The farthest position that was handed out.
    reached: Lsn,
    /// A table that is being looked up: kept here so that a dropped call loses nothing.
    lookup: Option<Lookup>,
}

impl Decoder {
    pub(super) fn new(
        forms: Forms,
        delivered: Arc<Delivered>,
        publication: String,
        context: String,
        start: Lsn,
    ) -> Self {
        Self {
            forms,
            delivered,
            publication,
            context,
            in_transaction: false,
            late: false,
            reached: start,
            lookup: None,
        }
    }

    /// Where a reader goes on between transactions; `None` inside one.
    pub(super) fn boundary(&self) -> Option<Lsn> {
        (!self.in_transaction).then_some(self.reached)
    }

    /// Whether more follows without a wait.
    pub(super) fn is_late(&self) -> bool {
        self.late
    }

    /// The connection that tables are looked up on.
    pub(super) fn client(&self) -> Arc<Client> {
        self.forms.client()
    }

    /// Everything that was committed before `position` has been handed out. Also said where the last transaction of a backlog
    /// reaches just there: who waits for more of it waits no longer.
    pub(super) fn passed(&mut self, position: Lsn, events: &mut Vec<Event>) {
        let was_late = std::mem::take(&mut self.late);
        if !self.in_transaction && (position > self.reached || was_late) {
            self.reached = self.reached.max(position);
            events.push(Event::Heartbeat { position: self.reached.into() });
        }
    }

    /// Handles a message. `sent_at` is by the server's clock; `None` if it comes out of a backlog.
    pub(super) async fn message(
        &mut self,
        body: Bytes,
        sent_at: Option<Timestamp>,
        events: &mut Vec<Event>,
    ) -> Result<()> {
        match decode(body, |oid| self.forms.columns(oid)).map_err(|error| error.within(self.context.clone()))? {
            Message::Begin { xid } => {
                self.in_transaction = true;
                self.delivered.add(xid);
                events.push(Event::Begin { xid: xid.to_string() });
            }
            Message::Commit { end, committed_at } => {
                self.in_transaction = false;
                self.reached = self.reached.max(end);
                let is_late = sent_at.is_none_or(|sent_at| sent_at.0.saturating_sub(committed_at.0) > LATE_US);
                self.late = is_late;
                events.push(Event::Commit { position: end.into(), committed_at, is_late });
            }
            Message::Relation(relation) => match self.forms.describe(relation) {
                Described::Known => {}
                Described::New(table) => events.push(Event::Schema(table)),
                Described::Unknown(lookup) => {
                    self.lookup = Some(lookup);
                    self.describe(events).await?;
                }
            },
            Message::Insert { relation, new } => events.push(self.forms.get(relation)?.insert(new)),
            Message::Update { relation, old, new } => {
                events.push(self.forms.get(relation)?.update(old.as_ref(), new));
            }
            Message::Delete { relation, old } => events.push(self.forms.get(relation)?.delete(&old)),
            Message::Truncate { relations } => {
                for relation in relations {
                    events.push(self.forms.get(relation)?.truncate());
                }
            }
            Message::Other => {}
        }
        Ok(())
    }

    /// Finishes what a Relation message began.
    pub(super) async fn describe(&mut self, events: &mut Vec<Event>) -> Result<()> {
        if let Some(lookup) = &mut self.lookup {
            let (relation, found) = lookup.found().await?;
            self.lookup = None;
            events.extend(self.forms.found(relation, found).map(Event::Schema));
        }
        Ok(())
    }

    /// An error if a notice means that the log goes on without what it should carry.
    pub(super) fn refuse_notice(&self, frame: &Frame) -> Result<()> {
        refusal::explain_notice(frame.error(), &self.publication, &self.context).map_or(Ok(()), Err)
    }

    /// What an end of the log means.
    pub(super) fn ended(&self, failure: Failure) -> Error {
        refusal::explain_end(failure, &self.publication, &self.context)
    }

    /// A message that is none of the protocol's.
    pub(super) fn unknown(&self, tag: u8) -> Error {
        self.ended(Failure::Protocol(format!("unknown message '{}'", tag.escape_ascii())))
    }
}
