//! Notices an end that does not answer any more while its connections stay open: a machine that is gone without a word, a
//! firewall that forgot us, a server that stands still. A statement may wait for hours for a lock, so it is not what is
//! measured: each end is asked from time to time on a connection of its own.

use super::Env;
use rowferry_api::{Error, ErrorKind, Result};
use std::time::Duration;
use tokio::time::Instant;

/// A refusal that comes so soon is an answer too: the server has no place for one more connection, or is going down.
const REFUSED_WITHIN: Duration = Duration::from_secs(5);
/// Questions in the time of a silence.
const QUESTIONS: u32 = 3;

/// Resolves when either end has not answered for as long as the configuration allows. Dropping it asks no more.
pub(super) async fn silent(env: &Env) -> Error {
    let limit = env.config.silent_after;
    tokio::select! {
        () = unanswered(limit, || env.source.ping()) => gone(env.source.describe(), limit),
        () = unanswered(limit, || env.target.ping()) => gone(env.target.describe(), limit),
    }
}

fn gone(whom: String, limit: Duration) -> Error {
    let what = format!("{whom} has not answered for {} s, though connections to it are open", limit.as_secs());
    Error::new(ErrorKind::Unreachable, what).hint(
        "Check that the server runs and that the network between is up. `silent_after` says how long is too long.",
    )
}

async fn unanswered<F: Future<Output = Result<()>>>(limit: Duration, ask: impl Fn() -> F) {
    let mut heard = Instant::now();
    while heard.elapsed() < limit {
        let asked = Instant::now();
        let has_answered = match tokio::time::timeout(limit, ask()).await {
            Ok(Ok(())) => true,
            Ok(Err(_)) => asked.elapsed() < REFUSED_WITHIN.min(limit),
            Err(_) => false,
        };
        if has_answered {
            heard = Instant::now();
            tokio::time::sleep(limit / QUESTIONS).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    const LIMIT: Duration = Duration::from_secs(60);

    async fn lasts(answer: impl AsyncFn(u32) -> Result<()>) -> Option<Duration> {
        let (began, asked) = (Instant::now(), AtomicU32::new(0));
        let silence = unanswered(LIMIT, || answer(asked.fetch_add(1, Ordering::Relaxed)));
        tokio::time::timeout(Duration::from_secs(3600), silence).await.ok().map(|()| began.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_answers_or_refuses_at_once_is_there() {
        let refused = || Error::new(ErrorKind::Unreachable, "too many connections");
        assert_eq!(lasts(async |_| Ok(())).await, None);
        assert_eq!(lasts(async |_| Err(refused())).await, None);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_that_is_silent_is_gone_after_the_limit() {
        let gone = lasts(async |number| match number {
            0..=9 => Ok(()),
            _ => std::future::pending().await,
        });
        // Ten answers, 20 s apart, and then nothing.
        assert_eq!(gone.await, Some(Duration::from_secs(200 + 60)));
    }

    #[tokio::test(start_paused = true)]
    async fn connecting_in_vain_is_silence_and_one_answer_ends_it() {
        let slow = async || {
            tokio::time::sleep(Duration::from_secs(10)).await;
            Err(Error::new(ErrorKind::Unreachable, "no answer in time"))
        };
        assert_eq!(lasts(async |_| slow().await).await, Some(LIMIT));
        let with_one = lasts(async |number| if number == 3 { Ok(()) } else { slow().await });
        // Three tries in vain, the answer, and what the limit allows from then on.
        assert_eq!(with_one.await, Some(Duration::from_secs(30 + 60)));
    }
}
