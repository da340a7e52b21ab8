//! Elsewhere a command cannot be sent signals: it is left to end by itself, and killed when its grace is over.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::process::ExitStatus;

use podcov_cli::Signal;
use tokio::process::{Child, Command};

pub(crate) struct Family(Child);

impl Family {
    pub(crate) fn start(
        program: &OsStr,
        arguments: &[OsString],
        environment: &BTreeMap<String, String>,
    ) -> io::Result<Self> {
        Command::new(program).args(arguments).envs(environment).kill_on_drop(true).spawn().map(Self)
    }

    pub(crate) async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.0.wait().await
    }

    pub(crate) fn hand_on(&self, _signal: Signal) {}

    pub(crate) fn kill(&mut self) {
        // That it is gone already is just what was wanted.
        let _ = self.0.start_kill();
    }
}

pub(crate) fn ended_by(_status: ExitStatus) -> Option<i32> {
    None
}
