//! Copying the agent to where another container finds it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;
use fs_err as fs;
use podcov_cli::{Exit, ResultExt};

/// Copies this program to DIR/podcov-agent: under another name first, for whoever looks must find all of it.
pub(crate) fn install(dir: &Path) -> Result<()> {
    let copy = || {
        fs::create_dir_all(dir)?;
        let staged = dir.join(".podcov-agent");
        fs::copy(std::env::current_exe()?, &staged)?;
        fs::set_permissions(&staged, PermissionsExt::from_mode(0o755))?;
        fs::rename(staged, dir.join(crate::NAME))
    };
    copy().or_exit(Exit::Usage, format!("cannot install podcov-agent in {}", dir.display()))
}
