//! The async runtime: one thread, which starts, signals and reaps, and others that only read files.

use std::io;
use std::time::Duration;

use tokio::task::LocalSet;

/// How long a thread that has nothing to do is kept.
const ALWAYS: Duration = Duration::from_secs(1 << 32);

/// Runs a future to its end.
///
/// # Errors
/// When there is no runtime.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> io::Result<T> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_io().enable_time().thread_keep_alive(ALWAYS).build()?;
    let outcome = LocalSet::new().block_on(&runtime, future);
    // All other tasks have had their time.
    runtime.shutdown_background();
    Ok(outcome)
}
