//! `--local`: the coverage of processes of this machine, read from their memory.

use std::collections::BTreeSet;

use anyhow::Result;
use fs_err as fs;
use livecov::process::scan::{ProcessSnapshot, Scan, processes};
use livecov::{Stat, boot_time};
use podcov_cli::say;
use podcov_control::LiveProcess;
use podcov_exit::{Exit, Failure, ResultExt};

use crate::args::{Args, NAME, is_name};
use crate::manifest::{Collected, Loss, Manifest, report_folder};
use crate::staging::Staging;

/// What the manifest has for a context, and the report for a namespace.
const CONTEXT: &str = "local";

/// Puts the coverage of the processes that are named into a staging folder.
///
/// # Errors
/// When no process has such a name or ID, or the staging folder cannot be written.
pub(crate) fn collect(args: &Args, staging: &mut Option<Staging>) -> Result<Manifest> {
    let mut pids = BTreeSet::new();
    for one in &args.local {
        pids.extend(pids_of(one)?);
    }
    let scan = Scan::of(&Vec::from_iter(pids));
    if scan.snapshots.is_empty() {
        let why = scan.failures.join("; ");
        return Err(Failure::new(Exit::Incomplete, format!("no coverage found: {why}")).into());
    }
    let mut manifest = Manifest::begin(None, CONTEXT);
    for failure in &scan.failures {
        say(NAME, format_args!("error: {failure}"));
        manifest.losses.push(Loss::new(failure.clone()));
    }
    let staging = staging.insert(Staging::beside(&args.out, &manifest)?);
    for snapshot in &scan.snapshots {
        let collected = take(snapshot, staging, args.sanitize);
        manifest.containers.push(collected.or_exit(Exit::Usage, "the report cannot be written")?);
    }
    Ok(manifest)
}

/// Whether a process has ended, whose number another one may have now.
pub(crate) fn has_ended(process: &LiveProcess) -> bool {
    let started = || {
        let stat = Stat::parse(&fs::read(format!("/proc/{}/stat", process.pid)).ok()?)?;
        Some(stat.started(boot_time(&fs::read("/proc/stat").ok()?)?))
    };
    livecov::process::has_ended(process.pid, None)
        || process.started.is_some_and(|before| started() != Some(before))
}

/// The processes that `text` names: a number, or a program's name.
fn pids_of(text: &str) -> Result<Vec<u32>> {
    if let Ok(pid) = text.parse() {
        return Ok(vec![pid]);
    }
    let processes = processes().or_exit(Exit::Usage, "the processes cannot be listed")?;
    let own = std::process::id();
    let named = processes.into_iter().filter(|(pid, stat)| is_name(text, &stat.name) && *pid != own);
    let pids: Vec<u32> = named.map(|(pid, _)| pid).collect();
    if pids.is_empty() {
        let message = format!("no process has the name {text:?}");
        return Err(Failure::new(Exit::Incomplete, message)
            .with_hint("give its ID, or the name of its program's file")
            .into());
    }
    Ok(pids)
}

/// Puts a snapshot into the folder of its process.
fn take(snapshot: &ProcessSnapshot, staging: &Staging, sanitize: bool) -> Result<Collected> {
    let ProcessSnapshot { pid, stat, started, program, counters, .. } = snapshot;
    let name = stat.as_ref().map_or("process", |stat| &stat.name);
    let pid_text = pid.to_string();
    let folder = report_folder(CONTEXT, name, &pid_text);
    let mut collected = Collected::of(CONTEXT, name, &pid_text, folder);
    collected.context = CONTEXT.to_owned();
    // What tells it from a later process with its number.
    collected.pod_uid = started.map(|started| started.to_string()).unwrap_or_default();
    collected.live_way = CONTEXT.to_owned();
    collected.live = vec![podcov_reach::describe(*pid, *started, stat.as_ref(), program, counters)];
    let folder = staging.path().join(&collected.folder);
    let (meta_name, name) = (program.meta_name().to_string(), counters.name.to_string());
    for (name, bytes) in [(meta_name, program.meta()), (name, &counters.bytes)] {
        let taken = podcov_unpack::take(&folder, &name, bytes.to_vec(), sanitize);
        collected.files.push(taken.map_err(anyhow::Error::msg)?);
    }
    Ok(collected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_ended_if_another_one_has_its_number() {
        let process = |pid, started| LiveProcess {
            pid,
            started,
            name: None,
            unread: None,
            counters: String::new(),
            go: None,
            module: None,
            revision: None,
        };
        let own = std::process::id();
        assert!(!has_ended(&process(own, None)));
        assert!(has_ended(&process(own, Some(1))), "another one had the number then");
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        assert!(has_ended(&process(child.id(), None)));
    }
}
