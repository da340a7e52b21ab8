//! The manifest: what a report is made of, for machines and for people who look later.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fs_err as fs;
use jiff::Timestamp;
use podcov_cli::say;
use podcov_cluster::{Container, Skipped};
use podcov_control::{EndedProcesses, LiveProcess};
use podcov_exit::{Exit, Failure};
use podcov_profile::Coverage;
use podcov_unpack::TakenFile;
use serde::{Deserialize, Serialize};

use crate::args::NAME;
use crate::lives::Life;

/// The manifest's name in the reports' folder.
pub(crate) const FILE_NAME: &str = "manifest.json";

/// The version of the manifest's form. It changes when a field changes its meaning or goes.
pub(crate) const VERSION: u32 = 2;

/// `manifest.json`.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) version: u32,
    /// The podcov that wrote it.
    pub(crate) podcov: String,
    /// Skaffold's run, if there was one.
    pub(crate) run_id: Option<String>,
    /// The kubeconfig's context, or storage's address.
    pub(crate) context: String,
    pub(crate) started: Timestamp,
    pub(crate) finished: Timestamp,
    /// Nothing was lost, as far as can be known: `losses` is empty.
    pub(crate) complete: bool,
    /// The report has only what ran since this one was collected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<SinceEntry>,
    /// Ordered by namespace, pod and container.
    pub(crate) containers: Vec<Collected>,
    /// Pods and containers that were skipped, of which nothing was lost.
    pub(crate) skipped: Vec<SkippedEntry>,
    /// Containers that were read and have no coverage.
    #[serde(skip)]
    pub(crate) without_coverage: Vec<Collected>,
    /// Pods in the run's namespaces that may hold counters but carry no run's label.
    pub(crate) not_of_run: Vec<PodName>,
    /// All that is missing.
    pub(crate) losses: Vec<Loss>,
    /// Statements in all packages.
    pub(crate) total: Statements,
    /// Statements by package, ordered by import path.
    pub(crate) packages: BTreeMap<String, Statements>,
}

/// An earlier report whose counts were subtracted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SinceEntry {
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// When it was collected.
    pub(crate) finished: Timestamp,
}

/// How many statements ran, of how many; each counts once, in however many binaries it is.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Statements {
    pub(crate) covered: u64,
    pub(crate) total: u64,
}

impl From<Coverage> for Statements {
    fn from(coverage: Coverage) -> Self {
        Self { covered: coverage.covered, total: coverage.total }
    }
}

/// Something that is missing in the report. The exit code is made of these.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Loss {
    /// The container that lost it, or its pod, if it can be told.
    #[serde(flatten)]
    pub(crate) of: Option<LossOf>,
    /// The whole sentence, for a person.
    pub(crate) message: String,
    /// An earlier run lost it, to which this one has added.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) earlier: bool,
}

/// Whose loss it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct LossOf {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    /// The container, where it is not the whole pod's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) container: Option<String>,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PodName {
    pub(crate) namespace: String,
    pub(crate) pod: String,
}

/// One container's part.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Collected {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) container: String,
    /// The kubeconfig's context, or storage's address.
    pub(crate) context: String,
    pub(crate) pod_uid: String,
    pub(crate) image: String,
    pub(crate) image_id: String,
    pub(crate) restarts: i32,
    /// The processes that it has had, one after the other.
    pub(crate) lives: Vec<Life>,
    /// The processes of its program that have ended while its podcov-agent went on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) agent_lives: Option<EndedProcesses>,
    /// The processes whose memory was read, each with its counter file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) live: Vec<LiveProcess>,
    /// The way on which their memory was read: `agent`, `exec-sh-dd` or `ephemeral`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) live_way: String,
    /// Its folder in the reports' folder.
    pub(crate) folder: String,
    /// The way on which its files were copied: `exec-sh-tar`, `exec-tar`, `ephemeral-tar`, `agent` or `storage`; empty if it has none.
    pub(crate) way: String,
    /// They travelled compressed.
    pub(crate) gzip: bool,
    /// How many tries it took.
    pub(crate) attempts: u32,
    pub(crate) files: Vec<TakenFile>,
    /// Its files that are another container's too, which has them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) shared: Vec<SharedFiles>,
    /// Its files that are older than its pod and were left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) older: Vec<String>,
    /// What was lost of it while it was collected: this becomes the manifest's losses.
    #[serde(skip)]
    pub(crate) losses: Vec<String>,
    /// Losses of it that the report has to which this run adds.
    #[serde(skip)]
    pub(crate) known_losses: Vec<String>,
    /// Other pods may write to its folder of coverage files too.
    #[serde(skip)]
    pub(crate) may_share_folder: bool,
    /// When its pod started: what is older is not the pod's.
    #[serde(skip)]
    pub(crate) pod_started: Option<Timestamp>,
    /// An earlier run has collected it, to whose report this one is added.
    #[serde(skip)]
    pub(crate) earlier: bool,
}

/// Files of a folder that several containers share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SharedFiles {
    /// The folder in the report that has them.
    pub(crate) with: String,
    pub(crate) files: Vec<String>,
}

/// A pod or container that was skipped.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SkippedEntry {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) container: Option<String>,
    pub(crate) reason: String,
}

impl SkippedEntry {
    /// A container that is skipped for a reason.
    pub(crate) fn of(container: &Container, reason: &str) -> Self {
        let Container { namespace, pod, container, .. } = container.clone();
        Self { namespace, pod, container: Some(container), reason: reason.to_owned() }
    }
}

impl From<&Skipped> for SkippedEntry {
    fn from(skipped: &Skipped) -> Self {
        Self {
            namespace: skipped.namespace.clone(),
            pod: skipped.pod.clone(),
            container: skipped.container.clone(),
            reason: skipped.why.to_string(),
        }
    }
}

impl From<&Skipped> for Loss {
    fn from(skipped: &Skipped) -> Self {
        let (namespace, pod) = (skipped.namespace.clone(), skipped.pod.clone());
        let of = LossOf { namespace, pod, container: skipped.container.clone() };
        Self { of: Some(of), message: skipped.to_string(), earlier: false }
    }
}

impl Loss {
    /// Of no container alone.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { of: None, message: message.into(), earlier: false }
    }
}

/// The folder of a container in the report. Kubernetes' names become folders' names as they are, but for those that mean
/// devices on Windows, and what is no name of Kubernetes'.
pub(crate) fn report_folder(namespace: &str, pod: &str, container: &str) -> String {
    [namespace, pod, container].map(folder_name).join("/")
}

fn folder_name(name: &str) -> String {
    const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "com", "lpt"];
    let stem = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let numbered = stem.strip_suffix(|c: char| c.is_ascii_digit());
    let device =
        DEVICES[..4].contains(&stem.as_str()) || numbered.is_some_and(|stem| DEVICES[4..].contains(&stem));
    let mut folder = name.replace(['/', '\\', ':'], "_");
    if device {
        folder.push('_');
    }
    if folder.is_empty() || folder.starts_with('.') {
        folder.insert(0, '_');
    }
    folder
}

impl Collected {
    /// Of a container in the cluster.
    pub(crate) fn new(container: &Container, folder: String) -> Self {
        Self {
            pod_uid: container.uid.clone(),
            image: container.image.clone(),
            image_id: container.image_id.clone(),
            restarts: container.restarts,
            ..Self::of(&container.namespace, &container.pod, &container.container, folder)
        }
    }

    /// Of a container of which no more is known.
    pub(crate) fn of(namespace: &str, pod: &str, container: &str, folder: String) -> Self {
        Self {
            namespace: namespace.to_owned(),
            pod: pod.to_owned(),
            container: container.to_owned(),
            folder,
            ..Self::default()
        }
    }

    /// Moves the losses that podcov-agent reported before, as one of the `known` containers tells, to the known ones.
    pub(crate) fn keep_known_agent_losses(&mut self, known: &[Self]) {
        let before = known.iter().find(|old| old.is(self)).and_then(|old| old.agent_lives.as_ref());
        let (Some(before), Some(now)) = (before, &self.agent_lives) else { return };
        let loss = now.loss().filter(|_| now == before);
        let is_known = |error: &mut String| Some(&*error) == loss.as_ref();
        self.known_losses.extend(self.losses.extract_if(.., is_known));
    }

    /// Moves what was lost of it out, for the manifest, and prints what is new.
    pub(crate) fn take_losses(&mut self) -> Vec<Loss> {
        let (known, new) = (std::mem::take(&mut self.known_losses), std::mem::take(&mut self.losses));
        let new: Vec<Loss> = new.iter().map(|loss| self.loss(loss)).collect();
        for loss in &new {
            say(NAME, format_args!("error: {}", loss.message));
        }
        known.iter().map(|loss| Loss { earlier: true, ..self.loss(loss) }).chain(new).collect()
    }

    /// Whether it is the same container of the same pod, in the same cluster.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let key = |c: &Self| {
            (c.context.clone(), c.namespace.clone(), c.pod.clone(), c.container.clone(), c.pod_uid.clone())
        };
        key(self) == key(other)
    }

    /// Whether a loss is one of it.
    pub(crate) fn has(&self, loss: &Loss) -> bool {
        loss.of.as_ref().is_some_and(|of| {
            of.namespace == self.namespace
                && of.pod == self.pod
                && of.container.as_deref() == Some(&self.container)
        })
    }

    /// A loss of it, which `what` says: `the stream was cut`.
    pub(crate) fn loss(&self, what: &str) -> Loss {
        let Self { namespace, pod, container, .. } = self;
        let of =
            LossOf { namespace: namespace.clone(), pod: pod.clone(), container: Some(container.clone()) };
        Loss { of: Some(of), message: format!("{self}: {what}"), earlier: false }
    }
}

impl fmt::Display for Collected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pod {}/{} container {}", self.namespace, self.pod, self.container)
    }
}

impl Manifest {
    /// A manifest of a run that begins now.
    pub(crate) fn begin(run_id: Option<String>, context: &str) -> Self {
        Self {
            version: VERSION,
            podcov: env!("CARGO_PKG_VERSION").to_owned(),
            run_id,
            context: context.to_owned(),
            started: Timestamp::now(),
            finished: Timestamp::now(),
            ..Self::default()
        }
    }

    /// The manifest in a reports' folder that [`check_ours`](crate::staging::check_ours) has let pass, if there is one.
    ///
    /// # Errors
    /// A [`Failure`] with exit code 2 when it has another version.
    pub(crate) fn read(out: &Path) -> Result<Option<Self>> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let path = out.join(FILE_NAME);
        if !path.exists() {
            return Ok(None);
        }
        let doing = || Failure::new(Exit::Usage, format!("cannot read {}", path.display()));
        let text = fs::read(&path).with_context(doing)?;
        let Version { version } = serde_json::from_slice(&text).with_context(doing)?;
        if version != VERSION {
            let message = format!("{} has version {version}, only {VERSION} can be added to", path.display());
            let hint = "collect without --accumulate, which replaces it, or name another folder with --out";
            return Err(Failure::new(Exit::Usage, message).with_hint(hint).into());
        }
        serde_json::from_slice(&text).map(Some).with_context(doing)
    }

    /// Moves what was lost of the containers to the manifest's losses, which make the exit code, and prints what is new.
    pub(crate) fn record_losses(&mut self) {
        self.losses.extend(self.containers.iter_mut().flat_map(Collected::take_losses));
    }

    /// The exit code that the losses of this run make.
    pub(crate) fn exit(&self) -> Exit {
        if self.losses.iter().all(|loss| loss.earlier) { Exit::Done } else { Exit::Incomplete }
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(folder.join(FILE_NAME), text)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_folders() {
        for (name, folder) in [
            ("cart-5d9", "cart-5d9"),
            ("con", "con_"),
            ("com1", "com1_"),
            ("lpt9.x", "lpt9.x_"),
            ("com", "com"),
            ("console", "console"),
            ("aux.2", "aux.2_"),
            ("..", "_.."),
            ("", "_"),
            ("a/../b", "a_.._b"),
        ] {
            assert_eq!(folder_name(name), folder);
        }
        assert_eq!(report_folder("shop", "nul", "app"), "shop/nul_/app");
    }
}
