//! `podcov-agent watch`: a sidecar that reads the programs of the pod's other containers from their memory.
//!
//! It has a folder for each of these containers, with what `--flush-every` would have in the container itself, and uploads
//! each under that container's name. Nobody tells it when a program ends: it is seen at the next interval, and the last
//! snapshot is then what counts.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use bytes::Bytes;
use fs_err as fs;
use futures_util::future::join_all;
use hyper::{Response, StatusCode};
use livecov::{Stat, boot_time};
use podcov_cli::say;
use podcov_control::{EndedProcesses, Health, LiveProcess, ProgramState, Request};
use podcov_exit::{Exit, Failure};
use podcov_storage::{Address, Origin};
use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_blocking, spawn_local};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::args::{SharedArgs, WatchArgs};
use crate::containers::{self, Others, PodContainer};
use crate::endpoint::{self, Body, Endpoint, Handler, answer_json, refuse, snapshot_archive};
use crate::files::CoverFolder;
use crate::live_files::LiveFiles;
use crate::runtime::block_on;
use crate::signals::{self, Blocked, SignalEvent, Signals};
use crate::unread::Unread;
use crate::upload::{Uploader, last_deadline};
use crate::{NAME, files, identity, tarball};

/// How many messages about a container are printed while it is watched.
const MOST_TOLD: usize = 16;

/// Watches until the pod's other containers have ended.
///
/// # Errors
/// When there are no other containers to be seen, or the arguments are wrong.
pub(crate) fn main(args: &WatchArgs, blocked: Blocked) -> Result<u8> {
    block_on(watch(args, blocked))?
}

async fn watch(args: &WatchArgs, blocked: Blocked) -> Result<u8> {
    let shared = &args.shared;
    let own = own_container()?;
    let mut identity = identity::identity(shared, NAME.as_ref());
    identity.container.get_or_insert_with(|| own.name.clone());
    let mut origin = identity::origin(shared, &identity);
    origin.start = pod_start().unwrap_or(origin.start);
    let folder = files::folder(shared, &origin)?;
    let ports = endpoint::open(shared, None).await?;
    let signals = Signals::new(&blocked).context("cannot read signals")?;
    let watch = Arc::new(Watch {
        endpoint: Endpoint::new(identity),
        own,
        folder,
        origin,
        address: shared.address()?,
        containers: Mutex::default(),
        with_agent: Mutex::default(),
        snapshots: Arc::default(),
    });
    let control = spawn_local(endpoint::serve(ports, Arc::clone(&watch)));
    // One that is under way takes effect before the last one, or is given up after it.
    let mut uploads = JoinSet::new();
    let stop = until_over(&watch, args, signals, &mut uploads).await?;
    watch.finish(stop, shared).await;
    drop(uploads);
    watch.endpoint.close();
    let _ = control.await;
    Ok(Exit::Done.code())
}

/// The container that this runs in.
fn own_container() -> Result<PodContainer> {
    let fail = |message: &str, hint: &str| Failure::new(Exit::Usage, message).with_hint(hint);
    if std::process::id() == 1 {
        let hint = "set shareProcessNamespace: true in the pod's spec";
        return Err(
            fail("this container does not see the processes of the pod's other containers", hint).into()
        );
    }
    let hint = "run it in a container of a pod; podcov-collect --local reads processes of this machine";
    containers::own().ok_or_else(|| fail("this is no container of a Kubernetes pod", hint).into())
}

/// When the pod was started, where its first process tells: in nanoseconds since 1970-01-01 UTC. By this, what a
/// container of this pod uploads that was started again takes the place of what it has uploaded before.
fn pod_start() -> Option<u64> {
    let first = Stat::parse(&fs::read("/proc/1/stat").ok()?).filter(|first| first.name == "pause")?;
    Some(first.started(boot_time(&fs::read("/proc/stat").ok()?)?))
}

/// What is read, and where it is.
struct Watch {
    endpoint: Endpoint,
    own: PodContainer,
    /// The parent of the containers' folders.
    folder: CoverFolder,
    /// Of this container.
    origin: Origin,
    address: Option<Address>,
    containers: Mutex<BTreeMap<String, Arc<Watched>>>,
    /// Those that are left out: they have a podcov-agent of their own.
    with_agent: Mutex<BTreeSet<String>>,
    /// One snapshot at a time.
    snapshots: Arc<tokio::sync::Mutex<()>>,
}

/// A container whose programs are read.
struct Watched {
    name: String,
    folder: Arc<CoverFolder>,
    live: Arc<LiveFiles>,
    uploader: Option<Uploader>,
    /// Why some of its programs could not be read.
    unread: Mutex<Unread>,
    /// There is something to be uploaded.
    has_any: AtomicBool,
    /// What was printed.
    told: Mutex<BTreeSet<String>>,
}

/// Reads at each interval. Gives when the stop signal came, once the programs have ended after it.
async fn until_over(
    watch: &Arc<Watch>,
    args: &WatchArgs,
    mut signals: Signals,
    uploads: &mut JoinSet<()>,
) -> Result<Instant> {
    let mut ticks = interval(args.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rounds = JoinSet::new();
    let (mut stop, mut told) = (None, None);
    loop {
        let deadline = stop.map(|stop| stop + args.shared.deadline);
        tokio::select! {
            came = signals.next() => {
                if let SignalEvent::Forward(number) | SignalEvent::Ignore(number) = came?
                    && signals::is_stop(number)
                    && stop.is_none()
                {
                    stop = Some(Instant::now());
                    ticks.reset_immediately();
                }
            }
            // The last one may still be under way.
            _ = ticks.tick(), if rounds.is_empty() => {
                let (watch, begun) = (Arc::clone(watch), Instant::now());
                rounds.spawn_blocking(move || watch.take().map(|failed| (begun, failed)));
            }
            Some(round) = rounds.join_next() => {
                let round = round.map_err(io::Error::other).flatten();
                let failed = match &round {
                    Ok((_, failed)) => list(failed),
                    Err(error) => Some(error.to_string()),
                };
                // Once, though it comes again every time.
                if let Some(why) = failed.as_ref().filter(|_| failed != told) {
                    say(NAME, format_args!("error: no snapshot was taken: {why}"));
                }
                told = failed;
                // As a native sidecar it is stopped when all other containers have ended. Else they are ending now.
                if let Some(stop) = stop
                    && round.is_ok_and(|(begun, _)| begun >= stop)
                    && !watch.all().iter().any(|one| one.live.has_running())
                {
                    return Ok(stop);
                }
                if uploads.is_empty() {
                    let (watch, deadline) = (Arc::clone(watch), Instant::now() + args.shared.deadline);
                    uploads.spawn_local(async move { watch.upload(deadline, None).await });
                }
            }
            Some(_) = uploads.join_next() => {}
            stop = at(stop, deadline) => return Ok(stop),
        }
    }
}

/// Gives the time of the stop signal at the deadline.
async fn at(stop: Option<Instant>, deadline: Option<Instant>) -> Instant {
    match (stop, deadline) {
        (Some(stop), Some(deadline)) => {
            sleep_until(deadline).await;
            stop
        }
        _ => std::future::pending().await,
    }
}

impl Watch {
    /// Reads all programs once. Gives why those of a container could not be read, by its name. It reads files.
    fn take(&self) -> io::Result<BTreeMap<String, String>> {
        let Others { processes: mut found, with_agent } = containers::others(&self.own)?;
        *self.with_agent.lock().unwrap_or_else(PoisonError::into_inner) = with_agent;
        // Of a container that is known all processes may have ended. And a program may have written counters itself, if its
        // GOCOVERDIR is the container's folder here. Other folders may be anything.
        for name in self.lock().keys() {
            found.entry(name.clone()).or_default();
        }
        for entry in fs::read_dir(self.folder.path())? {
            let Ok(name) = entry?.file_name().into_string() else { continue };
            if files::list(&self.folder.path().join(&name)).is_ok_and(|listed| !listed.is_empty()) {
                found.entry(name).or_default();
            }
        }
        let mut failed = BTreeMap::new();
        for (name, pids) in found {
            if let Err(error) = self.watched(&name).and_then(|watched| watched.take(&pids)) {
                failed.insert(name, error.to_string());
            }
        }
        Ok(failed)
    }

    /// A container, which is new if it was not known.
    fn watched(&self, name: &str) -> io::Result<Arc<Watched>> {
        let mut containers = self.lock();
        if let Some(watched) = containers.get(name) {
            return Ok(Arc::clone(watched));
        }
        let folder = files::make(&self.folder.path().join(name))?;
        let folder = Arc::new(CoverFolder::of_container(folder));
        let live = Arc::new(LiveFiles::of_others(Arc::clone(&folder)));
        let uploader = self.address.clone().map(|address| {
            let origin = Origin { container: Origin::part(name), ..self.origin.clone() };
            Uploader::new(address, origin, Arc::clone(&folder), Arc::clone(&live), false)
        });
        let (name, unread, has_any, told) =
            (name.to_owned(), Mutex::default(), AtomicBool::new(false), Mutex::default());
        let watched = Arc::new(Watched { name: name.clone(), folder, live, uploader, unread, has_any, told });
        containers.insert(name, Arc::clone(&watched));
        Ok(watched)
    }

    fn all(&self) -> Vec<Arc<Watched>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Watched>>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn upload(&self, deadline: Instant, exit_code: Option<u8>) {
        let all = self.all();
        join_all(all.iter().map(|watched| watched.upload(deadline, exit_code))).await;
    }

    /// Uploads the rest, and says what is lost.
    async fn finish(&self, stop: Instant, args: &SharedArgs) {
        let all = self.all();
        for watched in &all {
            let live = Arc::clone(&watched.live);
            if let Ok(Err(error)) = spawn_blocking(move || live.settle()).await {
                let name = &watched.name;
                say(
                    NAME,
                    format_args!("error: container {name}: what was counted may be there twice: {error}"),
                );
            }
            if let Some(loss) = watched.live.loss() {
                say(NAME, format_args!("warning: container {}: {loss}", watched.name));
            }
        }
        let some = all.iter().filter(|watched| watched.has_any.load(Ordering::Relaxed));
        let folders: Vec<String> = some.map(|watched| watched.folder.path().display().to_string()).collect();
        if folders.is_empty() {
            say(NAME, "warning: no process of the pod's other containers was a Go program built with -cover");
        } else if self.address.is_none() {
            let folders = folders.join(", ");
            say(NAME, format_args!("warning: there is no storage; the coverage files stay in {folders}"));
        }
        self.upload(last_deadline(Some(stop), args.deadline), Some(Exit::Done.code())).await;
    }

    fn health(&self) -> Health {
        let Origin { run, namespace, pod, container, start } = self.origin.clone();
        Health {
            podcov: env!("CARGO_PKG_VERSION").to_owned(),
            state: ProgramState::Watching,
            pid: None,
            exit_code: None,
            starts: 0,
            lives: EndedProcesses::default(),
            coverdir: self.folder.path().display().to_string(),
            storage: self.address.as_ref().map(ToString::to_string),
            run,
            namespace,
            pod,
            container,
            start: start.to_string(),
        }
    }
}

impl Watched {
    /// Reads the container's programs. `pids` are its processes.
    fn take(&self, pids: &[u32]) -> io::Result<()> {
        let round = self.live.take(pids, None)?;
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).note(pids, round);
        let missing = self.missing();
        for missing in &missing {
            self.tell(missing);
        }
        let has_any = !missing.is_empty() || fs::read_dir(self.folder.path())?.next().is_some();
        self.has_any.fetch_or(has_any, Ordering::Relaxed);
        Ok(())
    }

    fn missing(&self) -> Vec<String> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner).sentences()
    }

    async fn upload(&self, deadline: Instant, exit_code: Option<u8>) {
        if let Some(uploader) = self.uploader.as_ref().filter(|_| self.has_any.load(Ordering::Relaxed)) {
            let lost: Vec<String> = self.live.loss().into_iter().chain(self.missing()).collect();
            uploader.set_loss(Some(lost.join("; ")).filter(|lost| !lost.is_empty()));
            uploader.upload(deadline, exit_code).await;
        }
    }

    /// Says what is missing of the container, once. A message may have the numbers of processes, so not all are printed.
    fn tell(&self, missing: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.len() > MOST_TOLD || !told.insert(missing.to_owned()) {
            return;
        }
        let name = &self.name;
        if told.len() > MOST_TOLD {
            say(NAME, format_args!("warning: container {name}: further messages are left out"));
        } else {
            say(NAME, format_args!("warning: container {name}: a snapshot is not complete: {missing}"));
        }
    }
}

impl Handler for Watch {
    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn answer(self: &Arc<Self>, request: Request) -> Response<Body> {
        match request {
            Request::Health => answer_json(StatusCode::OK, &self.health()),
            Request::Coverage(None) => {
                let folders = self.all().iter().map(|one| one.folder.path().to_owned()).collect();
                let (sender, receiver) = mpsc::channel(1);
                spawn_local(tarball::send(folders, sender));
                endpoint::archive(self, receiver)
            }
            Request::Snapshot { container } => snapshot(self, container).await,
            Request::Do(_) | Request::Reset | Request::Coverage(Some(_)) => {
                let why = "this podcov-agent runs no program of its own, and signals none: it is a sidecar";
                refuse(StatusCode::CONFLICT, why)
            }
            Request::Identity(_) => unreachable!("the endpoint answers that"),
        }
    }
}

/// What the programs of a container have counted, of those too that have ended; without its name, of all.
async fn snapshot(watch: &Arc<Watch>, container: Option<String>) -> Response<Body> {
    // One at a time, for each is held as a whole until it is sent.
    let turn = Arc::clone(&watch.snapshots).lock_owned().await;
    let this = Arc::clone(watch);
    let read = move || -> io::Result<_> {
        let mut failed = this.take()?;
        // What is wrong with another container is nothing to who asks for this one.
        failed.retain(|name, _| container.as_ref().is_none_or(|container| container == name));
        if let Some(why) = list(&failed) {
            return Err(io::Error::other(why));
        }
        let with_agent = this.with_agent.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (mut files, mut processes, mut missing) = (BTreeMap::new(), Vec::new(), Vec::new());
        let is_meant = |one: &Arc<Watched>| container.as_ref().is_none_or(|name| *name == one.name);
        for watched in this.all().into_iter().filter(is_meant) {
            files.extend(read_all(watched.folder.path())?);
            processes.extend(watched.live.processes());
            missing.extend(watched.missing());
        }
        let left_out = container.iter().filter(|name| with_agent.contains(*name));
        missing.extend(left_out.map(|name| format!("container {name} has a podcov-agent of its own")));
        Ok::<(BTreeMap<_, _>, Vec<LiveProcess>, Vec<String>), _>((files, processes, missing))
    };
    match spawn_blocking(read).await.map_err(io::Error::other).flatten() {
        Ok((files, _, missing)) if files.is_empty() && !missing.is_empty() => {
            refuse(StatusCode::CONFLICT, &format!("no snapshot could be taken: {}", missing.join("; ")))
        }
        Ok((files, processes, missing)) => snapshot_archive(watch, files, &processes, &missing, turn),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// Why containers could not be read, if any could not.
fn list(failed: &BTreeMap<String, String>) -> Option<String> {
    let all: Vec<String> = failed.iter().map(|(name, why)| format!("container {name}: {why}")).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// The coverage files of a folder.
fn read_all(folder: &Path) -> io::Result<Vec<(String, Bytes)>> {
    let mut all = Vec::new();
    for name in files::list(folder)?.into_keys() {
        match fs::read(folder.join(&name)) {
            Ok(bytes) => all.push((name, bytes.into())),
            // It has been uploaded, or a file of its process has what it had.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}
