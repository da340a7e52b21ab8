//! Storage: it can be reached, and its credentials serve for listing and for reading.

use std::time::Duration;

use podcov_storage::{Address, Error, Start};
use tokio::time::Instant;

use crate::check::{Check, Group};

/// The most that is read of a file, in bytes.
const MOST: u64 = 64 << 20;

/// The check of an address.
pub(crate) async fn check(address: &Address, timeout: Duration) -> Check {
    let check = Check::new(Group::Storage, "storage", address);
    match read(address, Instant::now() + timeout).await {
        Ok(0) => check.warning(
            "it can be listed, and no coverage is there",
            "have the programs ended, and did podcov-agent say that it has uploaded?",
        ),
        Ok(starts) => {
            let count = podcov_cli::count(starts, "start");
            check.ok(format!("coverage of {count} of programs can be read"))
        }
        Err(error) => {
            let fix = match error {
                Error::Address(_) => "correct the address, or set the variable (docs/storage.md)",
                Error::Refused(_) => {
                    "see the credentials in docs/storage.md, and the rights to list and to read there"
                }
                Error::Passing(_) => {
                    "can it be reached from here (proxy, AWS_ENDPOINT_URL and the like)? see docs/storage.md"
                }
                Error::Corrupt(_) => "it was changed after podcov-agent uploaded it",
            };
            let error = error.to_string();
            check.error(error.strip_prefix(&format!("{address}: ")).unwrap_or(&error), fix)
        }
    }
}

/// How many starts of programs have files there. One file is read.
async fn read(address: &Address, deadline: Instant) -> Result<usize, Error> {
    let storage = address.open()?;
    let starts = storage.find(deadline).await?;
    if let Some(start) = starts.iter().find(|start| start.has_manifest) {
        storage.manifest(start, MOST, deadline).await?;
    } else if let Some((start, name)) = starts.iter().find_map(first_file) {
        storage.get(start, name, None, MOST, deadline).await?;
    }
    Ok(starts.len())
}

fn first_file(start: &Start) -> Option<(&Start, &String)> {
    Some((start, start.files.keys().next()?))
}
