//! `--dry-run`: for each container on which way it would be collected, what that would yield, and where it would be put.
//! Nothing is changed.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Result;
use covdata::Mode;
use futures_util::StreamExt;
use podcov_cli::{Progress, count, count_of, print, print_text, say};
use podcov_cluster::{Cluster, CoverDir, Error, Found, Skipped, Target};
use podcov_control::Action;
use podcov_exit::{Exit, ResultExt};
use podcov_reach::{CoveredProgram, ExaminedWay, Fault, FolderState, Prospect, Purpose, examine};
use serde::Serialize;

use crate::args::{Args, NAME};
use crate::manifest::{Collected, Loss, SkippedEntry, report_folder};
use crate::selection::{NOT_COVERED, NOT_READ, connect, no_coverage, no_targets};
use crate::staging::check_ours;

/// The version of the JSON.
const VERSION: u32 = 1;

/// What would be collected.
#[derive(Debug, Serialize)]
struct Preview {
    version: u32,
    podcov: &'static str,
    run_id: Option<String>,
    context: String,
    /// The reports' folder.
    out: String,
    containers: Vec<Planned>,
    skipped: Vec<SkippedEntry>,
    /// What would be missing.
    losses: Vec<Loss>,
}

/// What would be collected of a container.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Planned {
    namespace: String,
    pod: String,
    container: String,
    /// Its folder in the reports' folder.
    folder: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    memory: Option<PlannedMemory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<PlannedFiles>,
}

/// What would be read of its programs' memory.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct PlannedMemory {
    way: &'static str,
    programs: Vec<Program>,
    /// An ephemeral container would have to be added, without which the programs are not known.
    adds_container: bool,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Program {
    process: String,
    go: Option<String>,
    module: Option<String>,
    mode: Option<String>,
}

/// What would be copied of its folder.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct PlannedFiles {
    way: &'static str,
    dir: String,
    /// What its programs are told first: `SIGUSR1`, or `stop`.
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<String>,
    /// The processes that would get the signal, where a shell would send it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    signalled: Vec<String>,
    /// How many files are there now; not known where podcov-agent would write them first.
    meta: Option<usize>,
    counters: Option<usize>,
    profiles: Option<usize>,
}

/// The ways to a container that were looked into.
#[derive(Debug, Default)]
struct Examined {
    memory: Option<Vec<ExaminedWay>>,
    files: Option<Vec<ExaminedWay>>,
    /// Those to the files, where another has to copy what the first has written.
    copying: Option<Vec<ExaminedWay>>,
}

/// What would become of a container.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    planned: Planned,
    losses: Vec<String>,
    /// Why it would be skipped.
    skipped: Option<&'static str>,
}

/// Prints what podcov-collect would do.
///
/// # Errors
/// As podcov-collect's where nothing would be collected.
pub(crate) async fn run(args: &Args) -> Result<Exit> {
    check_ours(&args.out)?;
    let (cluster, scope) = connect(args).await?;
    let Found { targets, skipped, unlisted } =
        cluster.find_targets(&scope).await.map_err(Error::into_failure)?;
    let mut preview = Preview {
        version: VERSION,
        podcov: env!("CARGO_PKG_VERSION"),
        run_id: scope.run_id.clone(),
        context: cluster.context().to_owned(),
        out: args.out.display().to_string(),
        containers: Vec::new(),
        skipped: Vec::new(),
        losses: unlisted.iter().map(|namespace| Loss::new(namespace.to_string())).collect(),
    };
    for namespace in &unlisted {
        say(NAME, format_args!("error: {namespace}"));
    }
    if targets.is_empty() {
        Skipped::lines(&skipped).iter().for_each(|line| say(NAME, line));
        return Err(no_targets(args, &scope).into());
    }
    let (lost, skipped): (Vec<_>, Vec<_>) = skipped.into_iter().partition(|skipped| skipped.why.is_loss());
    Skipped::lines(&lost).iter().for_each(|line| say(NAME, line));
    preview.losses.extend(lost.iter().map(Loss::from));
    preview.skipped.extend(skipped.iter().map(SkippedEntry::from));

    let same_folder = scope.coverdir().is_some();
    let progress = Progress::new(targets.len(), "looking");
    let examined = targets.iter().map(async |target| {
        let examined = look(args, &cluster, target, same_folder).await;
        progress.done_one();
        (target, examined)
    });
    let mut examined = futures_util::stream::iter(examined).buffered(args.parallel.into());
    while let Some((target, examined)) = examined.next().await {
        let Outcome { planned, losses, skipped } = judge(args, target, same_folder, &examined);
        let of = Collected::new(&target.container, planned.folder.clone());
        for loss in losses.iter().map(|loss| of.loss(loss)) {
            progress.line(|| say(NAME, format_args!("error: {}", loss.message)));
            preview.losses.push(loss);
        }
        match skipped {
            Some(why) => preview.skipped.push(SkippedEntry::of(&target.container, why)),
            None if planned.memory.is_some() || planned.files.is_some() => preview.containers.push(planned),
            None => {}
        }
    }
    drop(examined);
    drop(progress);
    if preview.containers.is_empty() && preview.losses.is_empty() {
        return Err(no_coverage(&scope).into());
    }
    let printed = match args.json {
        true => print(|out| writeln!(out, "{}", serde_json::to_string_pretty(&preview)?)),
        false => print_text(|out| preview.write(args, out)),
    };
    printed.or_exit(Exit::Usage, "cannot write to stdout")?;
    Ok(if preview.losses.is_empty() { Exit::Done } else { Exit::Incomplete })
}

/// Looks into the ways that would be gone, in their order: the memory first.
async fn look(args: &Args, cluster: &Cluster, target: &Target, same_folder: bool) -> Examined {
    let mut examined = Examined::default();
    let into = async |purpose| examine(cluster, target, purpose, args.transfer_timeout).await;
    if reads_memory(args, target) {
        let image = args.live.then_some(args.live_image.as_str());
        examined.memory = Some(into(Purpose::Memory { image, may_add: false }).await);
    }
    if !target.runs || target.dir == CoverDir::Unset {
        return examined;
    }
    let there = Purpose::Files {
        maybe_none: may_have_no_files(args, target, same_folder, &examined),
        beside: args.live,
    };
    let Some(first) = args.instruction() else {
        examined.files = Some(into(there).await);
        return examined;
    };
    let ways = into(Purpose::Written(first)).await;
    let cannot_send = ExaminedWay::serving(&ways).is_none_or(|(_, prospect)| prospect.has_tar == Some(false));
    examined.files = Some(ways);
    if cannot_send {
        examined.copying = Some(into(there).await);
    }
    examined
}

fn reads_memory(args: &Args, target: &Target) -> bool {
    args.live || target.sidecar.is_some()
}

/// Whether it is no loss that a folder has no files: what is in memory may be all, and a folder that is named for all
/// containers is not in each of them.
fn may_have_no_files(args: &Args, target: &Target, same_folder: bool, examined: &Examined) -> bool {
    let ways = examined.memory.as_deref().unwrap_or_default();
    let memory = ExaminedWay::serving(ways).map(|(_, prospect)| prospect);
    let has_some = memory.is_some_and(|memory| !memory.covered.is_empty() || memory.is_unseen);
    let is_whole = memory.is_some_and(|memory| memory.missing.is_empty());
    reads_memory(args, target) && (has_some || same_folder && is_whole)
}

/// What follows of what was found.
fn judge(args: &Args, target: &Target, same_folder: bool, examined: &Examined) -> Outcome {
    let container = &target.container;
    let mut outcome = Outcome::default();
    outcome.planned.folder = report_folder(&container.namespace, &container.pod, &container.container);
    outcome.planned.namespace.clone_from(&container.namespace);
    outcome.planned.pod.clone_from(&container.pod);
    outcome.planned.container.clone_from(&container.container);
    let mut is_unseen = false;
    if let Some(ways) = &examined.memory {
        match ExaminedWay::serving(ways) {
            None => outcome.losses.push(ExaminedWay::reasons(ways)),
            Some((way, prospect)) => {
                is_unseen = prospect.is_unseen;
                outcome.losses.extend(prospect.missing.iter().cloned());
                if is_unseen || !prospect.covered.is_empty() {
                    let programs = prospect.covered.iter().map(Program::from).collect();
                    outcome.planned.memory = Some(PlannedMemory { way, programs, adds_container: is_unseen });
                }
            }
        }
    }
    let writing = args.instruction().and(examined.files.as_deref());
    let copying = match writing {
        Some(_) => examined.copying.as_deref(),
        None => examined.files.as_deref(),
    };
    if let Some(ways) = writing {
        match ExaminedWay::serving(ways) {
            None => outcome.losses.push(ExaminedWay::reasons(ways)),
            Some((way, prospect)) => {
                outcome.losses.extend(what_keeps_from_writing(args, target, prospect));
                outcome.planned.files = Some(planned_files(args, target, way, prospect));
            }
        }
    }
    if let Some(ways) = copying {
        match ExaminedWay::serving(ways) {
            Some((_, Prospect { files: Some(files), .. })) if files.is_empty() => {}
            Some((way, prospect)) => match &mut outcome.planned.files {
                // It copies what another way has written.
                Some(planned) => planned.way = way,
                None => outcome.planned.files = Some(planned_files(args, target, way, prospect)),
            },
            // An ephemeral container may copy them, once it is there.
            None if is_unseen && !is_final(ways) => {}
            // What is not written cannot be copied: one event is one loss.
            None if writing.is_some() && !outcome.losses.is_empty() => {}
            None => outcome.losses.push(ExaminedWay::reasons(ways)),
        }
    }
    let nothing = outcome.planned.memory.is_none() && outcome.planned.files.is_none();
    if nothing && outcome.losses.is_empty() {
        if target.dir == CoverDir::Unset || args.live && same_folder {
            outcome.skipped = Some(if target.runs { NOT_COVERED } else { NOT_READ });
        } else if !target.runs {
            outcome.losses.push(format!("it is not running; {NOT_READ}"));
        }
    }
    outcome
}

/// Whether no other way would help.
fn is_final(ways: &[ExaminedWay]) -> bool {
    matches!(ways.last(), Some(ExaminedWay { result: Err(Fault::Final(_)), .. }))
}

/// Why its programs would not write, as far as that can be seen.
fn what_keeps_from_writing(args: &Args, target: &Target, prospect: &Prospect) -> Option<String> {
    // Its podcov-agent knows better.
    let folder = prospect.folder?;
    let dir = &target.dir;
    if folder == FolderState::Missing {
        return Some(format!("there is no folder {dir}"));
    }
    if prospect.covered.is_empty() {
        return Some(
            "no process of it would get the signal: none is a Go program that is built with -cover"
                .to_owned(),
        );
    }
    if folder == FolderState::ReadOnly {
        return Some(format!("its user may not write to {dir}"));
    }
    let mode = prospect.covered.iter().find_map(|program| program.mode);
    let goes_on = args.signal.is_some_and(|signal| !signal.ends_programs());
    mode.filter(|mode| goes_on && matches!(mode, Mode::Set | Mode::Count)).map(|mode| {
        format!(
            "its program is built with -covermode={mode}, and only -covermode=atomic can write while it runs"
        )
    })
}

fn planned_files(args: &Args, target: &Target, way: &'static str, prospect: &Prospect) -> PlannedFiles {
    let first = args.instruction().map(|instruction| match instruction.action {
        Action::Flush { signal } => signal.map(|signal| signal.to_string()).unwrap_or_default(),
        Action::Stop => "stop".to_owned(),
    });
    PlannedFiles {
        way,
        dir: target.dir.to_string(),
        first,
        signalled: prospect.covered.iter().map(|program| program.process.clone()).collect(),
        meta: prospect.files.map(|files| files.meta),
        counters: prospect.files.map(|files| files.counters),
        profiles: prospect.files.map(|files| files.profiles),
    }
}

impl From<&CoveredProgram> for Program {
    fn from(program: &CoveredProgram) -> Self {
        let CoveredProgram { process, go, module, mode } = program.clone();
        Self { process, go, module, mode: mode.map(|mode| mode.to_string()) }
    }
}

impl Preview {
    fn write(&self, args: &Args, out: &mut dyn Write) -> io::Result<()> {
        for planned in &self.containers {
            let Planned { namespace, pod, container, folder, memory, files } = planned;
            let folder = Path::new(&self.out).join(folder);
            writeln!(out, "pod {namespace}/{pod} container {container}: into {}", folder.display())?;
            if let Some(memory) = memory {
                writeln!(out, "    memory by {}: {}", memory.way, memory.describe(&args.live_image))?;
            }
            if let Some(files) = files {
                writeln!(out, "    files by {}: {}", files.way, files.describe())?;
            }
        }
        for SkippedEntry { namespace, pod, container, reason } in &self.skipped {
            let container = container.as_ref().map(|name| format!(" container {name}")).unwrap_or_default();
            writeln!(out, "pod {namespace}/{pod}{container}: skipped: {reason}")?;
        }
        let lost = match self.losses.len() {
            0 => String::new(),
            lost => format!(", with {}", count_of(lost, "loss", "losses")),
        };
        let containers = count(self.containers.len(), "container");
        writeln!(out, "dry run: {containers} would be collected into {}{lost}; nothing was changed", self.out)
    }
}

impl PlannedMemory {
    fn describe(&self, image: &str) -> String {
        if self.adds_container {
            return format!(
                "an ephemeral container of {image} would be added; its programs are not known before that"
            );
        }
        let programs = self.programs.iter().map(|Program { process, go, module, mode }| {
            let parts = [mode.as_ref().map(|mode| format!("-covermode={mode}")), go.clone(), module.clone()];
            let parts: Vec<_> = [Some(process.clone())].into_iter().chain(parts).flatten().collect();
            parts.join(", ")
        });
        programs.collect::<Vec<_>>().join("; ")
    }
}

impl PlannedFiles {
    fn describe(&self) -> String {
        let Self { dir, first, signalled, meta, counters, profiles, .. } = self;
        let mut text = String::new();
        match first.as_deref() {
            None => {}
            Some("stop") => text.push_str("podcov-agent would stop the program first; "),
            Some(signal) if signalled.is_empty() => {
                let _ = write!(text, "podcov-agent would send {signal} first; ");
            }
            Some(signal) => {
                let _ = write!(text, "{signal} would be sent to {} first; ", signalled.join(", "));
            }
        }
        let (Some(meta), Some(counters)) = (meta, counters) else {
            let _ = write!(text, "what is then in {dir}");
            return text;
        };
        let _ = write!(text, "{} and {}", count(*meta, "meta-data file"), count(*counters, "counter file"));
        if let Some(profiles) = profiles.filter(|profiles| *profiles > 0) {
            let _ = write!(text, " and {}", count(profiles, "text profile"));
        }
        let _ = write!(text, "{} in {dir}", if first.is_some() { " now" } else { "" });
        text
    }
}

#[cfg(test)]
#[path = "dry_run_tests.rs"]
mod tests;
