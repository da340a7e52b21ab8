//! `--local` where there is no `/proc`.

use anyhow::Result;
use podcov_control::LiveProcess;
use podcov_exit::{Exit, Failure};

use crate::args::Args;
use crate::manifest::Manifest;
use crate::staging::Staging;

/// # Errors
/// Always.
pub(crate) fn collect(_: &Args, _: &mut Option<Staging>) -> Result<Manifest> {
    Err(Failure::new(Exit::Usage, "--local reads the memory of processes on Linux alone").into())
}

/// Never known here.
pub(crate) fn has_ended(_: &LiveProcess) -> bool {
    false
}
