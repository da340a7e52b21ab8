//! Trying again, until a deadline.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{Error, Storage};

/// How long the first try may take; each next one twice as long. A connection that hangs must not use up the time of
/// the tries after it, and a slow one must get enough time in the end.
const FIRST_TRY: Duration = Duration::from_secs(4);
const LONGEST_TRY: Duration = Duration::from_secs(300);

/// An object that differs after this many tries was stored that way.
const CORRUPT: u32 = 3;

/// The pause after the first try; each next one is twice as long, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

impl Storage {
    /// Tries until it succeeds, until another try makes no sense, or until the deadline. The error says where.
    pub(crate) async fn until<T>(
        &self,
        deadline: Instant,
        attempt: impl AsyncFnMut() -> Result<T, Error>,
    ) -> Result<T, Error> {
        until(deadline, FIRST_TRY, attempt).await.map_err(|error| error.at(&self.address))
    }
}

/// Tries until it succeeds, until another try makes no sense, or until the deadline. The first try may take `first_try`.
async fn until<T>(
    deadline: Instant,
    first_try: Duration,
    mut attempt: impl AsyncFnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let (mut limit, mut pause) = (first_try, FIRST_PAUSE);
    let (mut last, mut corrupt) = (None, 0);
    loop {
        let begun = Instant::now();
        match timeout_at(deadline.min(begun + limit), attempt()).await {
            Ok(Err(error @ Error::Corrupt(_))) => {
                corrupt += 1;
                if corrupt == CORRUPT {
                    return Err(error);
                }
                last = Some(error);
            }
            Ok(Err(error @ Error::Passing(_))) => last = Some(error),
            Ok(outcome) => return outcome,
            Err(_) => {
                let waited = begun.elapsed().as_secs_f32();
                last.get_or_insert_with(|| Error::Passing(format!("no answer within {waited:.1}s")));
            }
        }
        if Instant::now() + pause >= deadline {
            sleep_until(deadline).await;
            return Err(last.unwrap_or_else(|| Error::Passing("no time was left".to_owned())));
        }
        sleep_until(Instant::now() + pause).await;
        limit = limit.saturating_mul(2).min(LONGEST_TRY);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Far longer than any of these tests takes.
    const LONG: Duration = Duration::from_secs(600);

    fn passing() -> Error {
        Error::Passing("503".to_owned())
    }

    #[tokio::test]
    async fn what_passes_is_tried_again() {
        let mut tries = 0;
        let outcome = until(Instant::now() + LONG, LONG, async || {
            tries += 1;
            if tries < 4 { Err(passing()) } else { Ok(tries) }
        });
        assert_eq!(outcome.await, Ok(4));
    }

    #[tokio::test]
    async fn what_does_not_pass_is_not() {
        let refused = Error::Refused("403".to_owned());
        let mut tries = 0;
        let outcome = until(Instant::now() + LONG, LONG, async || {
            tries += 1;
            Err::<(), _>(refused.clone())
        });
        assert_eq!(outcome.await, Err(refused.clone()));
        assert_eq!(tries, 1);
    }

    #[tokio::test]
    async fn the_deadline_ends_it_with_the_cause() {
        let limit = Duration::from_millis(200);
        let begun = Instant::now();
        let outcome = until(begun + limit, LONG, async || Err::<(), _>(passing()));
        assert_eq!(outcome.await, Err(passing()));
        assert!(begun.elapsed() >= limit, "the whole time is used");
    }

    #[tokio::test]
    async fn a_try_that_hangs_leaves_time_for_another() {
        let mut tries = 0;
        let outcome = until(Instant::now() + LONG, Duration::from_millis(10), async || {
            tries += 1;
            if tries == 1 {
                std::future::pending::<()>().await;
            }
            Ok(tries)
        });
        assert_eq!(outcome.await, Ok(2));
    }
}
