//! One container's life: started, probed, signalled, restarted.

use std::{
    io,
    os::unix::process::ExitStatusExt,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    process::{Child, Command},
    sync::{mpsc, watch},
    time::{self, Instant},
};

use super::{env, paths::Paths, ports, probe, runtime::PodRuntime, slot::Target, tools::CannotRun};
use crate::{cluster::Cluster, image::Image, object};

/// What a container is to its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs to its end before the next starts.
    Init,
    /// An init container that goes on running beside the others.
    Sidecar,
    Main,
}

/// The wait before the second restart; it doubles with each, up to the longest. The first restart is immediate.
/// A hundredth of the real kubelet's.
const BACK_OFF: Duration = Duration::from_millis(100);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(3);
/// A container that ran this long is restarted without a back-off.
const STEADY: Duration = Duration::from_secs(10);

type Stop = watch::Receiver<Option<Duration>>;

/// Runs a container until it has ended for good; whether with success.
pub(crate) async fn run(
    cluster: &Arc<Cluster>,
    runtime: &Arc<PodRuntime>,
    pod: &Pod,
    container: &Container,
    role: Role,
    mut stop: Stop,
) -> bool {
    let name = container.name.as_str();
    let mut crashes = 0;
    loop {
        let Some(image) = image(cluster, runtime, container, &mut stop).await else {
            runtime.edit(name, |slot| slot.finished = true);
            return false;
        };
        let begun = Instant::now();
        let started = Timestamp::now();
        let ended = match start(cluster, runtime, pod, container, &image) {
            Ok((child, pid)) => {
                let ended = attend(cluster, runtime, container, child, pid, &mut stop).await;
                terminated(&ended, started)
            }
            Err(error) => could_not_start(&error, started),
        };
        let code = ended.exit_code;
        let policy = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always");
        let again = match (role, policy) {
            (Role::Sidecar, _) | (Role::Main, "Always") => true,
            (_, "Never") => false,
            _ => code != 0,
        };
        let stopping = stop.borrow().is_some();
        crashes = if begun.elapsed() > STEADY { 1 } else { crashes + 1 };
        let back_off = if crashes == 1 { Duration::ZERO } else { BACK_OFF * (1 << (crashes - 2).min(5)) };
        let back_off = back_off.min(LONGEST_BACK_OFF);
        runtime.edit(name, |slot| {
            slot.target = None;
            slot.signals = None;
            slot.status.ready = role == Role::Init && code == 0;
            slot.status.started = Some(false);
            slot.finished = stopping || !again;
            let over = ContainerState { terminated: Some(ended.clone()), ..ContainerState::default() };
            if slot.finished || back_off.is_zero() {
                slot.status.state = Some(over);
            } else {
                let message =
                    format!("back-off {back_off:?} restarting failed container={name} pod={}", runtime.name);
                slot.status.state = waiting("CrashLoopBackOff", &message);
                slot.status.last_state = Some(over);
            }
        });
        runtime.publish(&cluster.store);
        if stopping || !again {
            return code == 0;
        }
        tokio::select! {
            () = time::sleep(back_off) => {}
            _ = stop.wait_for(Option::is_some) => {
                runtime.edit(name, |slot| slot.finished = true);
                return false;
            }
        }
        runtime.edit(name, |slot| {
            slot.status.restart_count += 1;
            slot.status.last_state =
                Some(ContainerState { terminated: Some(ended), ..ContainerState::default() });
        });
    }
}

/// The container's image, once there is one; `None` if the pod must stop before.
async fn image(
    cluster: &Cluster,
    runtime: &PodRuntime,
    container: &Container,
    stop: &mut Stop,
) -> Option<Image> {
    let name = container.image.as_deref().unwrap_or_default();
    let mut changes = cluster.images.changes();
    loop {
        if stop.borrow().is_some() {
            return None;
        }
        if let Some(image) = cluster.images.get(name) {
            return Some(image);
        }
        let message = format!("Back-off pulling image {name:?}: ErrImagePull: no such image in the testbed");
        runtime.edit(&container.name, |slot| slot.status.state = waiting("ImagePullBackOff", &message));
        runtime.publish(&cluster.store);
        tokio::select! {
            changed = changes.changed() => changed.ok()?,
            _ = stop.wait_for(Option::is_some) => return None,
        }
    }
}

fn start(
    cluster: &Cluster,
    runtime: &PodRuntime,
    pod: &Pod,
    container: &Container,
    image: &Image,
) -> anyhow::Result<(Child, Pid)> {
    let name = container.name.as_str();
    let slot = runtime.slots().get(name).cloned().context("no such container")?;
    let tools = cluster.tool_boxes.get(&image.tools)?;
    let paths = paths(cluster, runtime, container, image)?.with(tools.paths());
    for port in container.ports.iter().flatten() {
        runtime.set_port(u16::try_from(port.container_port)?, ports::free());
    }
    let env = env::environment(pod, container, &paths, &tools.path(), |port| runtime.port(port));
    let (program, args) = env::command(container, image, &paths);
    let folder = match container.working_dir.as_ref().map(|folder| paths.apply(folder)) {
        // A mount, or else a folder below the container's own.
        Some(folder) if folder.starts_with(&*cluster.root.to_string_lossy()) => folder.into(),
        Some(folder) => slot.folder.join(folder.trim_start_matches('/')),
        None => slot.folder.clone(),
    };
    fs_err::create_dir_all(&folder)?;
    let resolved = tools.resolve(&program, &folder).map_err(|CannotRun(why)| anyhow::anyhow!(why))?;
    let log = fs_err::OpenOptions::new().create(true).append(true).open(runtime.log_path(name))?;
    let log = log.into_parts().0;
    let mut command = Command::new(resolved);
    command
        .args(args)
        .env_clear()
        .envs(env.iter().map(|(key, value)| (key, value)))
        .current_dir(&folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    let (child, pid) = cluster.processes.spawn(&slot.owner, &mut command)?;
    let raw = pid.as_raw_pid();
    let target = Target {
        owner: slot.owner,
        pid: Some(raw),
        folder,
        env,
        paths: paths.with([("/proc/1".to_owned(), format!("/proc/{raw}"))]),
        tools,
    };
    runtime.edit(name, |slot| {
        slot.target = Some(target);
        slot.status.container_id = Some(format!("containerd://{}", object::new_digest()));
        slot.status.image_id = format!("testbed.local/{}@sha256:{}", slot.status.image, image_digest(image));
    });
    Ok((child, pid))
}

/// Where the container's paths are: its mounts, its image's files, and whatever lies in the testbed's folder,
/// which commands may have been told before.
fn paths(
    cluster: &Cluster,
    runtime: &PodRuntime,
    container: &Container,
    image: &Image,
) -> anyhow::Result<Paths> {
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let mut pairs = vec![(text(&cluster.root), text(&cluster.root))];
    for mount in container.volume_mounts.iter().flatten() {
        let mut folder = runtime.volume(&mount.name);
        if let Some(below) = &mount.sub_path {
            folder = folder.join(below);
            fs_err::create_dir_all(&folder)?;
        }
        pairs.push((mount.mount_path.clone(), text(&folder)));
    }
    pairs.extend(image.files.iter().map(|(inside, host)| (inside.clone(), text(host))));
    Ok(Paths::new(pairs))
}

/// Watches a running container to its end.
async fn attend(
    cluster: &Cluster,
    runtime: &PodRuntime,
    container: &Container,
    mut child: Child,
    pid: Pid,
    stop: &mut Stop,
) -> io::Result<ExitStatus> {
    let name = container.name.as_str();
    let (signals, mut to_send) = mpsc::unbounded_channel();
    runtime.edit(name, |slot| {
        slot.signals = Some(signals);
        let running = ContainerStateRunning { started_at: Some(Time(object::now())) };
        slot.status.state = Some(ContainerState { running: Some(running), ..ContainerState::default() });
    });
    runtime.publish(&cluster.store);
    let mut probes = std::pin::pin!(probe::run(&cluster.store, runtime, container));
    let mut kill_at: Option<Instant> = None;
    let ended = loop {
        let deadline = kill_at.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
        tokio::select! {
            ended = child.wait() => break ended,
            Some(signal) = to_send.recv() => send(&child, pid, signal),
            () = &mut probes => {}
            // A second stop may bring the end nearer.
            changed = stop.changed() => {
                let grace = *stop.borrow_and_update();
                if changed.is_err() || grace.is_none() { continue }
                send(&child, pid, Signal::TERM);
                kill_at = Some(Instant::now() + grace.unwrap_or_default());
            }
            () = time::sleep_until(deadline), if kill_at.is_some() => send(&child, pid, Signal::KILL),
        }
    };
    cluster.processes.ended(pid);
    // With process 1 everything in the container ends, execs included.
    let owner = runtime.owner(name);
    cluster.processes.kill_owned(&owner);
    ended
}

/// Sends a signal, as long as the process was not waited for and its id is its own.
fn send(child: &Child, pid: Pid, signal: Signal) {
    if child.id().is_some() {
        // It may have ended and not been waited for yet.
        let _ = kill_process(pid, signal);
    }
}

fn terminated(ended: &io::Result<ExitStatus>, started: Timestamp) -> ContainerStateTerminated {
    let (code, signal) = match ended {
        Ok(status) => {
            (status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default()), status.signal())
        }
        Err(_) => (255, None),
    };
    ContainerStateTerminated {
        exit_code: code,
        signal,
        reason: Some(if code == 0 { "Completed" } else { "Error" }.to_owned()),
        started_at: Some(Time(started)),
        finished_at: Some(Time(object::now())),
        ..ContainerStateTerminated::default()
    }
}

fn could_not_start(error: &anyhow::Error, started: Timestamp) -> ContainerStateTerminated {
    ContainerStateTerminated {
        exit_code: 128,
        reason: Some("StartError".to_owned()),
        message: Some(format!(
            "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create \
             failed: unable to start container process: error during container init: {error:#}"
        )),
        started_at: Some(Time(started)),
        finished_at: Some(Time(object::now())),
        ..ContainerStateTerminated::default()
    }
}

fn waiting(reason: &str, message: &str) -> Option<ContainerState> {
    let waiting =
        ContainerStateWaiting { reason: Some(reason.to_owned()), message: Some(message.to_owned()) };
    Some(ContainerState { waiting: Some(waiting), ..ContainerState::default() })
}

/// Equal for equal programs, as an image's digest is.
fn image_digest(image: &Image) -> String {
    let part = object::content_name(&image.program.to_string_lossy());
    part.bytes().cycle().take(32).map(|byte| format!("{byte:02x}")).collect()
}
