//! Systems without process groups have no guard.

use anyhow::Result;
use podcov_cli::Shutdown;

use crate::command::{Command, CommandEnd};

pub(crate) fn is_needed() -> bool {
    false
}

pub(crate) async fn run(_command: &Command<'_>, _shutdown: &Shutdown) -> Result<CommandEnd> {
    unreachable!("no guard is needed here")
}
