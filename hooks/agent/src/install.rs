//! Copying the agent to where another container finds it.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;
use fs_err as fs;
use podcov_cli::{Exit, ResultExt};

use crate::place::nanos;

/// Copies this program to DIR/podcov-agent: under another name first, for whoever looks must find all of it. The name is
/// its own, for others may do the same at the same time.
pub(crate) fn install(dir: &Path) -> Result<()> {
    let staged = dir.join(format!(".podcov-agent.{}.{}", std::process::id(), nanos()));
    let copy = || {
        fs::create_dir_all(dir)?;
        let mut file = fs::OpenOptions::new().write(true).create_new(true).open(&staged)?;
        io::copy(&mut fs::File::open(std::env::current_exe()?)?, &mut file)?;
        file.set_permissions(PermissionsExt::from_mode(0o755))?;
        drop(file);
        fs::rename(&staged, dir.join(crate::NAME))
    };
    let copied = copy();
    if copied.is_err() {
        let _ = fs::remove_file(&staged);
    }
    copied.or_exit(Exit::Usage, format!("cannot install podcov-agent in {}", dir.display()))
}
