//! What `make dist` makes of programs, and the ways to install it. The programs here are scripts, so that it takes no build; the
//! real ones are tried by `make tryout`.

mod action;
mod archive;
mod install;
mod workflows;

use anyhow::Result;
use fs_err as fs;
use podcov_e2e::top;

/// A file of the repository.
fn read(path: &str) -> Result<String> {
    Ok(fs::read_to_string(top().join(path))?)
}
