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
        let calls = queued.iter().zip(&parameters);
        let calls = calls.map(|(queued, parameters)| client.execute(&queued.statement, parameters));
        in_order(calls).await.map_err(|(number, error)| failed(&queued[number].table, error))
    }
}

/// Makes calls whose first poll sends them, and waits for their answers, which may be there at once. Nothing is sent behind a call that
/// has failed by then; the first call in order that failed counts, with its number.
async fn in_order<T, E, F>(calls: impl Iterator<Item = F>) -> Result<(), (usize, E)>
where
    F: Future<Output = Result<T, E>>,
{
    let mut waiting = Vec::new();
    let mut failed = None;
    for (number, call) in calls.enumerate() {
        let mut call = Box::pin(call);
        match poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await {
            Poll::Pending => waiting.push((number, call)),
            Poll::Ready(Ok(_)) => {}
            Poll::Ready(Err(error)) => {
                failed = Some((number, error));
                break;
            }
        }
    }
    for (number, call) in waiting {
        call.await.map_err(|error| (number, error))?;
    }
    failed.map_or(Ok(()), Err)
}

pub(super) fn parameters<'a>(texts: &'a [Texts<'_>]) -> Vec<&'a (dyn ToSql + Sync)> {
    texts.iter().map(|texts| texts as &(dyn ToSql + Sync)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;

    /// Numbers of the calls that were sent, and the result. A call is `.` or `!` (done or failed at once), `o` or `x` (done or failed later).
    async fn calls(what: &str) -> (Vec<usize>, Result<(), (usize, ())>) {
        let sent = RefCell::new(Vec::new());
        let call = async |number: usize, how: char| {
            sent.borrow_mut().push(number);
            if matches!(how, 'o' | 'x') {
                tokio::task::yield_now().await;
            }
            if matches!(how, '!' | 'x') { Err(()) } else { Ok(()) }
        };
        let result = in_order(what.chars().enumerate().map(|(number, how)| call(number, how))).await;
        (sent.into_inner(), result)
    }

    #[tokio::test]
    async fn all_are_sent_whether_answers_come_at_once_or_later() {
        for what in ["", ".", "o", "....", "oooo", ".o.o", "o..oo."] {
            assert_eq!(calls(what).await, ((0..what.len()).collect(), Ok(())), "{what}");
        }
    }

    #[tokio::test]
    async fn the_first_that_failed_counts() {
        for (what, sent, first) in [("o!o", 2, 1), ("xx.", 3, 0), ("x!o", 2, 0), (".ox", 3, 2), ("!", 1, 0)] {
            assert_eq!(calls(what).await, ((0..sent).collect(), Err((first, ()))), "{what}");
        }
    }
}
