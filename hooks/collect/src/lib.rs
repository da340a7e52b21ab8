//! Collects the coverage of a run's containers into a folder, verified, and prints it.

mod accumulate;
mod args;
mod deleted;
mod dry_run;
mod fates;
mod live;
mod lives;
#[cfg_attr(not(target_os = "linux"), path = "local_elsewhere.rs")]
mod local;
mod manifest;
mod measure;
mod ownership;
mod selection;
mod sift;
mod since;
mod staging;
mod stored;
mod transfer;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use accumulate::accumulate;
use anyhow::{Context, Result};
use covdata::MetaFile;
use deleted::DeletedPods;
use fs_err as fs;
use futures_util::StreamExt;
use jiff::Timestamp;
use lives::Written;
use podcov_cli::{Progress, RunState, Shutdown, count, count_of, print, print_text, say};
use podcov_cluster::{
    Cluster, Container, CoverDir, CoverVolume, Error, Found, History, Scope, Skipped, Target, Unlisted,
};
use podcov_exit::{Exit, Failure, ResultExt};
use podcov_profile::Percent;
use sift::sift;
use since::Since;
use tokio_util::task::TaskTracker;

use args::NAME;
use manifest::{Collected, Loss, Manifest, PodName, SkippedEntry};
use measure::measure;
use podcov_reach::{Builds, Transfer};
use podcov_unpack::Rules;
use report::summary::Summary;
use selection::{NOT_COVERED, NOT_READ, connect, no_coverage, no_targets, with_sidecars};
use staging::{Staging, check_ours};
use transfer::{Collector, MAX_ENTRIES, MAX_FILE};

pub use args::Args;

/// Runs podcov-collect with a program's arguments.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    podcov_cli::main(NAME, args, |args: &Args| &args.common, run)
}

/// Runs podcov-collect.
///
/// # Errors
/// When there is no report. If the tests have failed as well, the error is printed and the result is
/// [`Exit::FellShort`]. A report that lacks something is no error but [`Exit::Incomplete`].
pub async fn run(args: Args, shutdown: Shutdown) -> Result<Exit> {
    if args.dry_run {
        return shutdown.or_stop(dry_run::run(&args)).await.unwrap_or_else(Ok);
    }
    let run_id = args.select.run_id.as_deref().filter(|id| !id.is_empty());
    let state = args.state.run(run_id);
    let error = match report(&args, None, &state, &shutdown).await {
        Ok(exit) => return Ok(exit),
        Err(error) => error,
    };
    // Without a report, a failure of the tests must still be reported.
    match state.end(NAME, Exit::Done, args.defer_failure) {
        Ok(Exit::Done) => Err(error),
        Ok(tests_failed) => {
            podcov_cli::report(NAME, &error);
            Ok(tests_failed)
        }
        Err(unknown) => {
            podcov_cli::report(NAME, &unknown);
            Err(error)
        }
    }
}

/// Collects from the pods of a scope, while or after tests that noted them ran in this process.
///
/// # Errors
/// When there is no report.
pub async fn collect_from(
    args: &Args,
    cluster: &Cluster,
    scope: Scope,
    state: &RunState,
    shutdown: &Shutdown,
) -> Result<Exit> {
    report(args, Some(&(cluster.clone(), scope)), state, shutdown).await
}

/// Collects, and puts the report into its place. Which pods, the arguments say if nobody else does.
async fn report(
    args: &Args,
    pods: Option<&(Cluster, Scope)>,
    state: &RunState,
    shutdown: &Shutdown,
) -> Result<Exit> {
    let mut staging = None;
    let mut deleted = DeletedPods::read(state, args.live);
    let collected = until_settled(shutdown.requested(), async |tracker| {
        collect(args, pods, &tracker, &mut staging, &mut deleted).await
    })
    .await;
    let (manifest, percent) = match collected {
        Ok(report) => report?,
        Err(stopped) => {
            say(NAME, format_args!("interrupted; {} is as it was", args.out.display()));
            return Ok(stopped);
        }
    };
    if let Some(staging) = staging {
        staging.publish()?;
    }
    if args.local.is_empty() {
        deleted.settle(state, &manifest);
    }
    let earlier = manifest.losses.iter().filter(|loss| loss.earlier).count();
    if earlier > 0 {
        let lost = count_of(earlier, "loss", "losses");
        say(
            NAME,
            format_args!("the report lacks what earlier runs have lost: {lost} in {}", manifest::FILE_NAME),
        );
    }
    let fill = |out: &mut dyn Write| write_out(args, &manifest, &percent, out);
    let printed = if args.json { print(fill) } else { print_text(fill) };
    let exit = state.end(NAME, manifest.exit(), args.defer_failure)?;
    printed.or_exit(Exit::Usage, "cannot write to stdout").map(|()| exit)
}

/// Runs `work` unless a signal is `requested` before it is done, and waits for the tasks that it has left behind: so long
/// they may write to the staging folder.
async fn until_settled<T>(
    requested: impl Future<Output = u8>,
    work: impl AsyncFnOnce(TaskTracker) -> T,
) -> std::result::Result<T, Exit> {
    let tracker = TaskTracker::new();
    let done = tokio::select! {
        biased;
        signal = requested => Err(Exit::Signalled(signal)),
        done = work(tracker.clone()) => Ok(done),
    };
    tracker.close();
    tracker.wait().await;
    done
}

/// Everything up to the point where the report takes its place. `staging` gets the folder that is to become it.
async fn collect(
    args: &Args,
    pods: Option<&(Cluster, Scope)>,
    tracker: &TaskTracker,
    staging: &mut Option<Staging>,
    deleted: &mut DeletedPods,
) -> Result<(Manifest, Percent)> {
    check_ours(&args.out)?;
    let since = args.since.as_ref().map(|folder| Since::read(folder, &args.out)).transpose()?;
    let earlier = match Manifest::read(&args.out) {
        Err(error) if args.accumulate => return Err(error),
        read => read.unwrap_or_default(),
    };
    if let Some(since) =
        earlier.as_ref().and_then(|earlier| earlier.since.as_ref()).filter(|_| args.accumulate)
    {
        let message = format!("{} has only what ran since {}", args.out.display(), since.finished);
        let hint = "collect without --accumulate, which replaces it, or name another folder with --out";
        return Err(Failure::new(Exit::Usage, message).with_hint(hint).into());
    }
    let mut manifest = match &args.from {
        _ if !args.local.is_empty() => local::collect(args, staging)?,
        Some(address) => stored::collect(args, address, staging, earlier.as_ref(), deleted).await?,
        None => from_cluster(args, pods, tracker, staging, earlier.as_ref(), deleted).await?,
    };
    let staging = staging.as_ref().context("there is a staging folder by now")?;
    manifest.record_losses();
    let earlier = earlier.filter(|_| args.accumulate);
    let known = earlier.as_ref().map(live::ended).unwrap_or_default();
    if let Some(earlier) = earlier {
        accumulate(&mut manifest, earlier, staging).or_exit(Exit::Usage, "the report cannot be written")?;
    }
    manifest.containers.sort_by(|a, b| a.folder.cmp(&b.folder));
    for container in &mut manifest.containers {
        live::keep_each_count_once(container, staging.path())
            .or_exit(Exit::Usage, "the report cannot be written")?;
        live::note_losses(container, &known);
    }
    manifest.since = since.as_ref().map(Since::entry);
    let lines = sift(&mut manifest.containers, args.include_older, staging.path());
    for line in lines.or_exit(Exit::Usage, "the report cannot be written")? {
        say(NAME, line);
    }
    manifest.record_losses();
    if let Some(since) = &since {
        since.note_ended(&args.local, &mut manifest);
        let subtracted = since.subtract(&mut manifest.containers, staging.path());
        subtracted.or_exit(Exit::Usage, "the report cannot be written")?;
        since.explain_modes(&manifest, staging.path());
        manifest.record_losses();
    }
    let percent = measure(staging.path(), &mut manifest).await?;
    manifest.complete = manifest.losses.is_empty();
    manifest.losses.sort_by(|a, b| a.of.cmp(&b.of));
    manifest.finished = Timestamp::now();
    manifest.write(staging.path())?;
    Ok((manifest, percent))
}

/// Copies the files of the run's containers into a staging folder. `earlier` is the last report.
async fn from_cluster(
    args: &Args,
    pods: Option<&(Cluster, Scope)>,
    tracker: &TaskTracker,
    staging: &mut Option<Staging>,
    earlier: Option<&Manifest>,
    deleted: &mut DeletedPods,
) -> Result<Manifest> {
    let known = earlier.map(|earlier| &*earlier.containers).unwrap_or_default();
    let (cluster, scope) = match pods {
        Some((cluster, scope)) => (cluster.clone(), with_sidecars(args, scope.clone())),
        None => connect(args).await?,
    };
    let mut manifest = Manifest::begin(scope.run_id.clone(), cluster.context());
    let found = cluster.find_targets(&scope).await.map_err(Error::into_failure)?;
    deleted.look_up(&scope, &found, args.include_older);
    let Found { targets, mut skipped, unlisted } = found;
    skipped.retain(|skipped| !deleted.has(&skipped.uid));
    for namespace in &unlisted {
        say(NAME, format_args!("error: {namespace}"));
    }
    for line in Skipped::lines(&skipped) {
        say(NAME, line);
    }
    deleted.record(&mut manifest, earlier.filter(|_| args.accumulate));
    if targets.is_empty() {
        return Err(no_targets(args, &scope).into());
    }
    let (lost, skipped): (Vec<_>, Vec<_>) = skipped.iter().partition(|skipped| skipped.why.is_loss());
    manifest.losses.extend(lost.into_iter().map(Loss::from));
    manifest.losses.extend(unlisted.iter().map(|namespace| Loss::new(namespace.to_string())));
    manifest.skipped.extend(skipped.into_iter().map(SkippedEntry::from));
    let staging = staging.insert(Staging::beside(&args.out, &manifest)?);
    let collector = Collector {
        cluster: &cluster,
        transfer: Transfer {
            first: args.instruction(),
            maybe_none: false,
            beside: false,
            tries: args.tries,
            timeout: args.transfer_timeout,
        },
        live_image: args.live.then_some(&args.live_image),
        builds: &Builds::default(),
        same_folder: scope.coverdir().is_some(),
        staging: staging.path(),
        rules: Rules {
            archive: args.max_size << 20,
            file: MAX_FILE,
            entries: MAX_ENTRIES,
            sanitize: args.sanitize,
        },
        tracker,
    };
    let collector = &collector;
    let progress = Progress::new(targets.len(), "collecting");
    let mut transfers = futures_util::stream::iter(&targets)
        .map(|target| async move { (target, collector.collect(target).await) })
        .buffer_unordered(args.parallel.into());
    while let Some((target, collected)) = transfers.next().await {
        let mut collected = collected.or_exit(Exit::Usage, "the report cannot be written")?;
        collected.context.clone_from(&manifest.context);
        progress.done_one();
        if collected.files.is_empty() && collected.losses.is_empty() {
            if target.dir == CoverDir::Unset || args.live && scope.coverdir().is_some() {
                let why = if target.runs { NOT_COVERED } else { NOT_READ };
                manifest.skipped.push(SkippedEntry::of(&target.container, why));
                manifest.without_coverage.push(collected);
                continue;
            }
            // Of one that runs it is known why.
            collected.losses.extend((!target.runs).then(|| format!("it is not running; {NOT_READ}")));
        }
        if args.accumulate {
            collected.keep_known_agent_losses(known);
        }
        progress.line(|| manifest.losses.extend(collected.take_losses()));
        manifest.containers.push(collected);
    }
    drop(transfers);
    drop(progress);
    if manifest.containers.is_empty() && manifest.losses.is_empty() {
        return Err(no_coverage(&scope).into());
    }
    let (histories, of_no_run) =
        tokio::join!(cluster.list_histories(&scope), cluster.find_pods_of_no_run(&scope));
    note_pods_of_no_run(&mut manifest, of_no_run);
    let (histories, unknown): (_, Vec<String>) = match histories {
        // A namespace that could not be listed before has no container here.
        Ok((histories, failed)) => {
            let known = |failed: &Unlisted| unlisted.iter().any(|one| one.namespace == failed.namespace);
            let failed = failed.iter().filter(|failed| !known(failed)).map(ToString::to_string);
            (histories, failed.collect())
        }
        Err(error) => (Vec::new(), vec![error.to_string()]),
    };
    for why in unknown {
        let message = format!("whether a container was restarted meanwhile is not known: {why}");
        say(NAME, format_args!("error: {message}"));
        manifest.losses.push(Loss::new(message));
    }
    note_lives(&mut manifest, &targets, &histories, known, args.accumulate, staging.path());
    Ok(manifest)
}

/// Notes the pods that may hold counters and are not of the run, and says so.
fn note_pods_of_no_run(manifest: &mut Manifest, found: std::result::Result<Vec<(String, String)>, Error>) {
    let pods = found.unwrap_or_else(|error| {
        tracing::info!("pods of no run: {error}");
        Vec::new()
    });
    if pods.is_empty() {
        return;
    }
    let names: Vec<String> = pods.iter().map(|(namespace, pod)| format!("{namespace}/{pod}")).collect();
    let are = if pods.len() == 1 { "is" } else { "are" };
    say(
        NAME,
        format_args!(
            "{} with GOCOVERDIR or podcov-agent {are} not of this run: {}; \
             to collect from such pods too select them with --run-id '' and -l or --pod",
            count(pods.len(), "pod"),
            sift::list(&names)
        ),
    );
    manifest.not_of_run = pods.into_iter().map(|(namespace, pod)| PodName { namespace, pod }).collect();
}

/// Notes which processes each container has had, and what is lost of them: by its history now, or where the pod is gone
/// by what it was when it was found.
fn note_lives(
    manifest: &mut Manifest,
    targets: &[Target],
    histories: &[(Container, History)],
    known: &[Collected],
    accumulate: bool,
    staging: &Path,
) {
    for collected in &mut manifest.containers {
        let (uid, name) = (collected.pod_uid.clone(), collected.container.clone());
        let is = |c: &Container| c.uid == uid && c.container == name;
        let now = histories.iter().find(|(container, _)| is(container)).map(|(_, history)| history);
        let then = targets.iter().find(|target| is(&target.container)).map(|target| &target.history);
        let Some(history) = now.or(then) else { continue };
        collected.pod_started = history.pod_started;
        collected.restarts = collected.restarts.max(history.ended.cast_signed());
        let folder = staging.join(&collected.folder);
        let names = collected.files.iter().map(|file| file.name.as_str());
        let modes = names.clone().filter(|name| name.starts_with("covmeta.")).filter_map(|name| {
            let bytes = fs::read(folder.join(name)).ok()?;
            MetaFile::parse(&bytes).ok().map(|meta| meta.mode)
        });
        let earlier = known.iter().find(|old| old.is(collected));
        let lives = earlier.map(|old| &*old.lives).unwrap_or_default();
        // A snapshot is no evidence of what a process wrote when it ended.
        let is_snapshot = |name: &&str| collected.live.iter().any(|process| process.counters == **name);
        let read = collected.live.iter().filter(|process| process.unread.is_some());
        let mut written = Written::new(names.filter(|name| !is_snapshot(name)), modes);
        written.read = read.filter_map(|process| process.started).collect();
        let found = lives::judge(history, &written, lives);
        collected.lives = found.lives;
        let volume = targets.iter().find(|target| is(&target.container)).map(|target| target.volume);
        let hint = match volume {
            Some(CoverVolume::None) => "; GOCOVERDIR is on no volume, so a restart empties it",
            _ => "",
        };
        let mut losses = found.losses.iter().map(|loss| format!("{loss}{hint}"));
        if accumulate {
            collected.known_losses.extend(losses.by_ref().take(found.known_losses));
        }
        collected.losses.extend(losses);
    }
}

fn write_out(args: &Args, manifest: &Manifest, percent: &Percent, out: &mut dyn Write) -> io::Result<()> {
    if args.json {
        return writeln!(out, "{}", serde_json::to_string_pretty(manifest)?);
    }
    let files = manifest.containers.iter().map(|c| c.files.len()).sum::<usize>();
    if files > 0 {
        write!(out, "{}", Summary(percent))?;
    }
    let containers = match manifest.containers.len() {
        processes if !args.local.is_empty() => count_of(processes, "process", "processes"),
        containers => count(containers, "container"),
    };
    let files = count(files, "file");
    writeln!(out, "{files} of {containers} in {}", args.out.display())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::sync::oneshot;

    use super::*;

    /// An unpacking task goes on for a moment when the run is interrupted. Until then the staging folder stays: otherwise
    /// the task would make it again and leave it behind.
    #[tokio::test]
    async fn the_staging_folder_outlives_the_tasks_that_write_to_it() {
        /// Tells when the work is dropped.
        struct Dropped(mpsc::Sender<()>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let (signal, requested) = oneshot::channel();
        let (found, was_found) = mpsc::channel();
        let mut staging = None;
        let stopped = until_settled(async { requested.await.unwrap() }, async |tracker| {
            let manifest = Manifest::begin(None, "test");
            let folder = staging
                .insert(Staging::beside(&dir.path().join("out"), &manifest).unwrap())
                .path()
                .to_owned();
            let (dropped, was_dropped) = mpsc::channel();
            tracker.spawn_blocking(move || {
                was_dropped.recv().unwrap();
                found.send(folder.exists()).unwrap();
            });
            let _dropped = Dropped(dropped);
            signal.send(podcov_cli::INTERRUPT).unwrap();
            std::future::pending::<()>().await;
        })
        .await;
        assert_eq!(stopped, Err(Exit::Signalled(podcov_cli::INTERRUPT)));
        assert!(was_found.recv().unwrap(), "it was there when the task ended");
        drop(staging);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
