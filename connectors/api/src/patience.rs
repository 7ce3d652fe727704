//! How long a read waits for what the log has said.

use crate::{Error, ErrorKind, Result};
use std::time::{Duration, Instant};

/// How long a transaction may take from the log to the table.
const LIMIT: Duration = Duration::from_secs(120);
/// The server is asked again after this, and after twice as long each time up to the second.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Of a read that waits until the server shows everything that its log's reader has received: a server hands a transaction to those
/// before others see its rows.
#[derive(Debug)]
pub struct Patience {
    until: Instant,
    pause: Duration,
}

impl Patience {
    /// Begins now.
    pub fn begin() -> Self {
        Self { until: Instant::now() + LIMIT, pause: FIRST_PAUSE }
    }

    /// After which time to ask again. [`Transient`](ErrorKind::Transient) with this hint once two minutes are over.
    pub fn next_pause(&mut self, hint: &str) -> Result<Duration> {
        if Instant::now() >= self.until {
            let what = format!("read a table: after {LIMIT:?} the server still does not show what its log says");
            return Err(Error::new(ErrorKind::Transient, what).hint(hint));
        }
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        Ok(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_until_patience_ends() {
        let mut patience = Patience::begin();
        let pauses: Vec<u128> = (0..9).map(|_| patience.next_pause("").unwrap().as_millis()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 100, 100]);
        patience.until = Instant::now();
        let error = patience.next_pause("look").unwrap_err();
        assert_eq!((error.kind(), error.hint_text()), (ErrorKind::Transient, Some("look")));
    }
}
