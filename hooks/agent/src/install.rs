//! Copying the agent to where another container finds it.

use std::fs::Permissions;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::Result;
use fs_err as fs;
use podcov_exit::{Exit, Failure, ResultExt};

/// A text that every podcov-agent's file contains, and no other: by it `install` recognizes an older one, which it may replace.
#[used]
static MARK: [u8; 48] = *b"podcov-agent: this program, and no file of yours";

/// How an executable file begins.
const ELF: &[u8] = b"\x7fELF";

/// Copies this program to DIR/podcov-agent: under another name first, so that nobody sees half of it. That
/// name is unique, because others may do the same at the same time.
pub(crate) fn install(dir: &Path) -> Result<()> {
    let place = dir.join(crate::NAME);
    let failed = || format!("cannot install podcov-agent in {}", dir.display());
    if !may_replace(&place).or_exit(Exit::Usage, failed())? {
        let message = format!("{} is there and is no podcov-agent, so it is not replaced", place.display());
        return Err(Failure::new(Exit::Usage, message).with_hint("name another folder").into());
    }
    let copy = || {
        fs::create_dir_all(dir)?;
        let mut staged = tempfile::Builder::new().prefix(".podcov-agent.").tempfile_in(dir)?;
        io::copy(&mut fs::File::open(std::env::current_exe()?)?, &mut staged)?;
        staged.as_file().set_permissions(Permissions::from_mode(0o755))?;
        staged.persist(&place).map(drop).map_err(io::Error::from)
    };
    copy().or_exit(Exit::Usage, failed())
}

/// Whether the path is free, or a podcov-agent's file.
fn may_replace(path: &Path) -> io::Result<bool> {
    let there = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(true),
        there => there?,
    };
    // A link was made by somebody, wherever it points.
    if !there.is_file() {
        return Ok(false);
    }
    let mut bytes = Vec::new();
    fs::File::open(path)?.read_to_end(&mut bytes)?;
    Ok(bytes.starts_with(ELF) && bytes.windows(MARK.len()).any(|window| window == MARK))
}
