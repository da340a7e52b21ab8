//! Running the command on systems without process groups: it cannot get signals, so it has `--grace` to end by itself and
//! is then killed.

use std::process::ExitStatus;

use anyhow::Result;
use podcov_cli::{Shutdown, Signal};
use tokio::process::Child;

use crate::command::{Command, Ended};

pub(crate) fn is_needed() -> bool {
    false
}

pub(crate) async fn run(_command: &Command<'_>, _shutdown: &Shutdown) -> Result<Ended> {
    unreachable!("no guard is needed here")
}

pub(crate) fn hand_on(_child: &Child, _signal: Signal) {}

pub(crate) fn ended_by(_status: ExitStatus) -> Option<i32> {
    None
}
