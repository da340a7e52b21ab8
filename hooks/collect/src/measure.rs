//! What the files of a report say, read back from them.

use std::path::{Path, PathBuf};

use anyhow::Result;
use podcov_cli::say;
use podcov_profile::{Builder, Percent, Problem, Reason};

use crate::args::NAME;
use crate::manifest::{Loss, Manifest};

/// Reads the coverage back from the files and notes it in the manifest.
pub(crate) async fn measure(staging: &Path, manifest: &mut Manifest) -> Result<Percent> {
    let mut folders: Vec<PathBuf> = manifest.containers.iter().map(|c| staging.join(&c.folder)).collect();
    folders.retain(|folder| folder.exists());
    let measured = tokio::task::spawn_blocking(move || {
        let mut builder = Builder::new();
        folders.iter().for_each(|folder| builder.add_dir(folder));
        let files = builder.load();
        let (data, problems) = files.read();
        let (percent, findings) = data.percent(|_| true);
        let worst = findings.into_iter().max_by_key(|(_, finding)| *finding);
        (percent, worst.map(|(file, finding)| finding.message(file)), problems)
    });
    let (percent, finding, problems) = measured.await?;
    if let Some(message) = finding {
        say(NAME, format_args!("warning: {message}"));
    }
    for problem in problems {
        let path = problem.path.strip_prefix(staging).unwrap_or(&problem.path);
        let of = manifest.containers.iter().find(|container| path.starts_with(&container.folder));
        let message = describe(path, &problem);
        let loss = Loss { message, ..of.map_or_else(|| Loss::new(""), |container| container.loss("")) };
        // What was collected by an earlier run was told then.
        let loss = Loss { earlier: of.is_some_and(|container| container.earlier), ..loss };
        if !loss.earlier {
            say(NAME, format_args!("error: {}", loss.message));
        }
        if !manifest.losses.contains(&loss) {
            manifest.losses.push(loss);
        }
    }
    manifest.total = percent.total().into();
    manifest.packages = percent.packages.iter().map(|p| (p.path.clone(), p.coverage.into())).collect();
    Ok(percent)
}

/// A problem with its file as it is called in the report: namespace/pod/container/name.
fn describe(path: &Path, problem: &Problem) -> String {
    let path = path.display();
    match &problem.reason {
        Reason::NoCounters => format!(
            "{path}: no counters were written; signal the program first (podcov-signal), or was it killed?"
        ),
        reason => format!("{path}: {reason}"),
    }
}
