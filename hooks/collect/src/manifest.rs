//! The manifest: what a report is made of, for machines and for whoever wonders later.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use covdata::Coverage;
use fs_err as fs;
use jiff::Timestamp;
use podcov_cluster::{Container, Skipped};
use podcov_unpack::TakenFile;
use serde::{Deserialize, Serialize};

/// The manifest's name in the reports' folder.
pub(crate) const FILE_NAME: &str = "manifest.json";

/// The version of the manifest's form. It changes when a field changes its meaning or goes.
pub(crate) const VERSION: u32 = 1;

/// `manifest.json`.
#[derive(Debug, Serialize, Deserialize)]
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
    /// Nothing was lost, as far as can be known.
    pub(crate) complete: bool,
    /// Ordered by namespace, pod and container.
    pub(crate) containers: Vec<Collected>,
    pub(crate) skipped: Vec<SkippedEntry>,
    /// What is wrong with the files as a whole.
    pub(crate) problems: Vec<String>,
    /// Statements in all packages.
    pub(crate) total: Statements,
    /// Statements by package, ordered by import path.
    pub(crate) packages: BTreeMap<String, Statements>,
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

/// One container's part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Collected {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) container: String,
    pub(crate) pod_uid: String,
    pub(crate) image: String,
    pub(crate) image_id: String,
    pub(crate) restarts: i32,
    /// Its folder in the reports' folder.
    pub(crate) folder: String,
    /// How its files were had.
    pub(crate) way: Way,
    /// They travelled compressed.
    pub(crate) gzip: bool,
    /// How many tries it took.
    pub(crate) attempts: u32,
    pub(crate) files: Vec<TakenFile>,
    /// What was lost of it; empty where nothing was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) errors: Vec<String>,
}

/// How a container's files were had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Way {
    /// `tar` under a shell that picks the coverage files.
    ExecShTar,
    /// `tar` of the whole folder, in an image without a shell.
    ExecTar,
    /// From the container's podcov-agent.
    Agent,
    /// From storage, where a podcov-agent has put them.
    Storage,
}

/// A pod or container that was passed over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SkippedEntry {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) container: Option<String>,
    pub(crate) reason: String,
    /// Counters were out of reach with it.
    pub(crate) loss: bool,
}

impl From<&Skipped> for SkippedEntry {
    fn from(skipped: &Skipped) -> Self {
        Self {
            namespace: skipped.namespace.clone(),
            pod: skipped.pod.clone(),
            container: skipped.container.clone(),
            reason: skipped.why.to_string(),
            loss: skipped.why.is_loss(),
        }
    }
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
            pod_uid: String::new(),
            image: String::new(),
            image_id: String::new(),
            restarts: 0,
            folder,
            way: Way::ExecShTar,
            gzip: false,
            attempts: 0,
            files: Vec::new(),
            errors: Vec::new(),
        }
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
            complete: false,
            containers: Vec::new(),
            skipped: Vec::new(),
            problems: Vec::new(),
            total: Statements::default(),
            packages: BTreeMap::new(),
        }
    }

    /// The manifest in a reports' folder, if there is one.
    pub(crate) fn read(out: &Path) -> Result<Option<Self>> {
        let path = out.join(FILE_NAME);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read(&path)?;
        let manifest: Self =
            serde_json::from_slice(&text).with_context(|| format!("{} is not readable", path.display()))?;
        Ok(Some(manifest))
    }

    /// Takes over what an earlier run left in the same folder; `take_over` does so with one file.
    pub(crate) fn accumulate(
        &mut self,
        earlier: Self,
        take_over: impl Fn(&Path, &Path) -> Result<()>,
    ) -> Result<()> {
        for mut old in earlier.containers {
            let new = self.containers.iter_mut().find(|new| new.folder == old.folder);
            if let Some(new) = &new {
                // Go never writes a name twice: it is the same file.
                old.files.retain(|file| new.files.iter().all(|newer| newer.name != file.name));
            }
            for file in &old.files {
                let path = Path::new(&old.folder).join(&file.name);
                take_over(&path, &path)?;
            }
            match new {
                Some(new) => {
                    new.files.append(&mut old.files);
                    new.files.sort();
                }
                None => self.containers.push(old),
            }
        }
        Ok(())
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(folder.join(FILE_NAME), text)?;
        Ok(())
    }
}
