//! What is read once for all containers that run the same build.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

/// What one container sends for all that run the same build.
#[derive(Debug, Default)]
pub struct Builds {
    pub(crate) known: Arc<livecov::Builds>,
    turns: Mutex<HashMap<u64, Arc<tokio::sync::Mutex<()>>>>,
}

impl Builds {
    /// Waits until no other container sends what is the same for all processes of a build, by its number. Who gives up lets the
    /// next one go on.
    pub(crate) async fn turn(&self, build: u64) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(build).or_default())
        };
        turn.lock_owned().await
    }
}
