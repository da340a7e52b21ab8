//! What is read once for all containers that run the same build.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

/// What one container sends for all that run the same build.
#[derive(Debug, Default)]
pub struct Builds {
    pub(crate) known: Arc<livecov::Builds>,
    turns: Mutex<HashMap<u64, Arc<tokio::sync::Mutex<()>>>>,
}

impl Builds {
    /// Waits until no other container sends what is the same for all processes of a build, by its number. Who gives up lets the
    /// next one go on. `None` after this time: who waits for a slow one would lose its own time.
    pub(crate) async fn turn(&self, build: u64, at_most: Duration) -> Option<OwnedMutexGuard<()>> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(build).or_default())
        };
        timeout(at_most, turn.lock_owned()).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_turn_is_not_waited_for_without_end() {
        let (builds, short, long) = (Builds::default(), Duration::from_millis(1), Duration::from_secs(60));
        let first = builds.turn(1, long).await;
        assert!(first.is_some() && builds.turn(1, short).await.is_none());
        assert!(builds.turn(2, long).await.is_some(), "another build");
        drop(first);
        assert!(builds.turn(1, long).await.is_some());
    }
}
