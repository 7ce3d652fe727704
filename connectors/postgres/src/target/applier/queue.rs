//! Statements that are sent one behind the other and answered together: a batch of many tables then waits for the server once, not
//! once a table.

use crate::target::rows::{Texts, failed};
use rowferry_api::Result;
use std::future::{Future, poll_fn};
use std::task::Poll;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

/// Statements sent at once.
const STATEMENTS: usize = 64;

/// A statement that has its parameters.
pub(super) struct Queued<'a> {
    pub statement: Statement,
    /// One a parameter.
    pub texts: Vec<Texts<'a>>,
    /// The table that it writes to, quoted.
    pub table: String,
}

/// Statements of one transaction that wait to be sent, in order. They borrow a batch's rows.
#[derive(Default)]
pub(super) struct Queue<'a>(Vec<Queued<'a>>);

impl<'a> From<Queued<'a>> for Queue<'a> {
    fn from(queued: Queued<'a>) -> Self {
        Self(vec![queued])
    }
}

impl<'a> Queue<'a> {
    /// Adds a statement, and sends all if they are many.
    pub(super) async fn push(&mut self, client: &Client, queued: Queued<'a>) -> Result<()> {
        self.0.push(queued);
        if self.0.len() >= STATEMENTS { self.send(client).await } else { Ok(()) }
    }

    /// Sends all, and returns when all are answered. The first error is the one that counts: the others follow from it.
    pub(super) async fn send(&mut self, client: &Client) -> Result<()> {
        let queued = std::mem::take(&mut self.0);
        let parameters: Vec<_> = queued.iter().map(|queued| parameters(&queued.texts)).collect();
        let mut answers = Vec::with_capacity(queued.len());
        for (queued, parameters) in queued.iter().zip(&parameters) {
            let mut answer = Box::pin(client.execute(&queued.statement, parameters));
            // The first poll sends it; one that is answered by that was not sent, and nothing behind it is.
            let sent = poll_fn(|context| Poll::Ready(answer.as_mut().poll(context))).await;
            answers.push((queued, answer, sent));
            if matches!(answers.last(), Some((.., Poll::Ready(_)))) {
                break;
            }
        }
        for (queued, answer, sent) in answers {
            let answered = match sent {
                Poll::Ready(answered) => answered,
                Poll::Pending => answer.await,
            };
            answered.map_err(|error| failed(&queued.table, error))?;
        }
        Ok(())
    }
}

pub(super) fn parameters<'a>(texts: &'a [Texts<'_>]) -> Vec<&'a (dyn ToSql + Sync)> {
    texts.iter().map(|texts| texts as &(dyn ToSql + Sync)).collect()
}
