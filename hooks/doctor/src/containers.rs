//! The containers: which way leads to their counters, what it would yield, and what their programs are.

use std::collections::BTreeSet;
use std::time::Duration;

use covdata::Mode;
use futures_util::StreamExt;
use podcov_cluster::{Cluster, CoverDir, CoverVolume, Target};
use podcov_control::Action;
use podcov_reach::{
    ExaminedWay, Fault, FolderState, Instruction, OtherProcess, ProcessFilter, Prospect, Purpose,
};

use crate::check::{Check, Group};
use crate::needs::Method;
use crate::rights::{Rights, Rule, rules_of_way};

/// How much longer a container may take beside which an ephemeral one is added: its image may have to be pulled.
const TO_START: Duration = Duration::from_secs(120);

/// How a program is built for coverage.
const BUILD: &str = "build it with `go build -cover` (ko: `flags: [-cover]`), and deploy that build";

/// How containers are looked into.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Looking<'a> {
    pub(crate) method: &'a Method,
    pub(crate) image: &'a str,
    /// Ephemeral containers may be added.
    pub(crate) may_add: bool,
    pub(crate) timeout: Duration,
    pub(crate) parallel: usize,
}

/// A container that was looked into.
#[derive(Debug)]
pub(crate) struct Examined {
    target: Target,
    /// The ways that were looked into, in their order.
    ways: Vec<ExaminedWay>,
}

/// What is known of all containers of the run.
#[derive(Debug)]
struct Run<'a> {
    method: &'a Method,
    image: &'a str,
    /// A program that is built with `-cover` is there, or may be.
    has_coverage: bool,
    /// A container sets GOCOVERDIR, or mentions podcov-agent.
    has_coverdir: bool,
}

impl Looking<'_> {
    /// Looks into containers as the hooks would reach them.
    pub(crate) async fn examine(self, cluster: &Cluster, targets: Vec<Target>) -> Vec<Examined> {
        let timeout = if self.may_add { self.timeout + TO_START } else { self.timeout };
        let examined = targets.into_iter().map(async |target| {
            let ways = podcov_reach::examine(cluster, &target, self.purpose(&target), timeout).await;
            Examined { target, ways }
        });
        futures_util::stream::iter(examined).buffered(self.parallel).collect().await
    }

    fn purpose(&self, target: &Target) -> Purpose<'_> {
        let instruction =
            |action| Instruction { action, processes: ProcessFilter::Covered, timeout: self.timeout };
        // The hooks skip a container without GOCOVERDIR and podcov-agent; whether they should is to be found out. A sidecar is
        // asked unasked.
        let is_skipped = target.dir == CoverDir::Unset || target.sidecar.is_some();
        match self.method {
            Method::Stop if !is_skipped => Purpose::Written(instruction(Action::Stop)),
            Method::Signal(signal) if !is_skipped => {
                Purpose::Written(instruction(Action::Flush { signal: Some(*signal) }))
            }
            _ => Purpose::Memory { image: Some(self.image), may_add: self.may_add },
        }
    }
}

/// The checks of containers, and the rules that some of them need and the user has not.
pub(crate) fn judge(
    looking: Looking<'_>,
    examined: &[Examined],
    rights: &Rights,
) -> (Vec<Check>, BTreeSet<Rule>) {
    let prospects = || examined.iter().filter_map(Examined::prospect);
    let run = Run {
        method: looking.method,
        image: looking.image,
        has_coverage: prospects()
            .any(|(_, one)| !one.covered.is_empty() || one.is_unseen || one.agent.is_some()),
        has_coverdir: examined.iter().any(|one| one.target.dir != CoverDir::Unset),
    };
    let mut needed = BTreeSet::new();
    let mut checks = Vec::new();
    for one in examined {
        let lacking: Vec<&Rule> = match one.prospect() {
            Some(_) => Vec::new(),
            None => one.rules().filter(|rule| rights.lacks(&one.target.container.namespace, rule)).collect(),
        };
        if lacking.is_empty() {
            checks.extend(run.judge(one));
            continue;
        }
        let names: Vec<_> = lacking.iter().map(|rule| rule.resource).collect();
        let message = format!("not known without the right to {}", names.join(", "));
        checks.push(one.check("container").unknown(message, ""));
        needed.extend(lacking.into_iter().copied());
    }
    (checks, needed)
}

impl Examined {
    fn check(&self, name: &'static str) -> Check {
        Check::new(Group::Containers, name, &self.target.container)
    }

    /// What the first way that serves would yield.
    fn prospect(&self) -> Option<(&'static str, &Prospect)> {
        ExaminedWay::serving(&self.ways)
    }

    /// The rules that the ways take.
    fn rules(&self) -> impl Iterator<Item = &'static Rule> {
        let rules: BTreeSet<&Rule> = self.ways.iter().flat_map(|way| rules_of_way(way.name)).collect();
        rules.into_iter()
    }
}

impl Run<'_> {
    fn judge(&self, one: &Examined) -> Vec<Check> {
        let Some((way, prospect)) = one.prospect() else { return vec![self.unreached(one)] };
        let mut checks = Vec::new();
        let own = env!("CARGO_PKG_VERSION");
        if let Some(version) = prospect.agent.as_ref().filter(|version| *version != own) {
            checks.push(one.check("agent-version").warning(
                format!("its podcov-agent has version {version}, and the hooks have {own}"),
                format!("put podcov-agent {own} into its image (docs/agent.md)"),
            ));
        }
        if prospect.is_unseen && self.skips(one) {
            checks.push(match self.has_coverdir {
                true => one
                    .check("coverdir")
                    .ok("it sets no GOCOVERDIR and mentions no podcov-agent, so it is skipped"),
                false => self.without_coverdir(one),
            });
        } else if prospect.is_unseen {
            checks.push(one.check("covered").unknown(
                format!(
                    "{}; an ephemeral container of {} would be admitted, and without it its programs are not known",
                    ExaminedWay::reasons(&one.ways),
                    self.image
                ),
                "--add-containers adds it, as podcov-run and podcov-collect --live do, and looks",
            ));
        } else if let Some(version) = prospect.agent.as_ref().filter(|_| self.asks_agent(prospect)) {
            checks.push(one.check("covered").ok(format!("podcov-agent {version} answers")));
        } else if prospect.folder == Some(FolderState::Missing) {
            // Nothing more was looked at.
            checks.push(self.folder(one, FolderState::Missing, None));
        } else if prospect.covered.is_empty() {
            checks.push(self.without_coverage(one, prospect));
        } else {
            checks.extend(self.with_coverage(one, way, prospect));
        }
        for missing in &prospect.missing {
            checks.push(one.check("readable").error(missing, "docs/messages.md says what to do about it"));
        }
        checks
    }

    /// The hooks skip it.
    fn skips(&self, one: &Examined) -> bool {
        matches!(self.method, Method::Signal(_) | Method::Stop) && one.target.dir == CoverDir::Unset
    }

    /// An agent that is to act on its program was not asked for more than who it is.
    fn asks_agent(&self, prospect: &Prospect) -> bool {
        *self.method != Method::Live && prospect.covered.is_empty()
    }

    /// No way leads to its counters.
    fn unreached(&self, one: &Examined) -> Check {
        let check = one.check("reachable");
        let reasons = ExaminedWay::reasons(&one.ways);
        if self.skips(one) && self.has_coverdir {
            return check.ok(format!(
                "it sets no GOCOVERDIR and mentions no podcov-agent, so it is skipped ({reasons})"
            ));
        }
        if self.skips(one) {
            return self.without_coverdir(one);
        }
        if matches!(one.ways.last(), Some(ExaminedWay { result: Err(Fault::Passing(_)), .. })) {
            return check.error(reasons, "this may pass: try again");
        }
        if reasons.contains("violates PodSecurity") {
            let namespace = &one.target.container.namespace;
            return check.error(
                reasons,
                format!(
                    "use an image that has sh and dd, or podcov-agent (docs/agent.md); or give the pod a securityContext \
                     that its namespace admits; or `kubectl label namespace {namespace} \
                     pod-security.kubernetes.io/enforce=privileged --overwrite`"
                ),
            );
        }
        let fix = match self.method {
            Method::Signal(_) => {
                "use an image that has sh and tar, such as busybox:stable (ko: `fromImage`), or podcov-agent; \
                 `podcov-collect --live` needs neither"
            }
            Method::Stop => {
                "start the program under podcov-agent (docs/agent.md), or collect with `podcov-collect --live`"
            }
            _ => "see docs/messages.md; podcov-agent reads its own program without a shell (docs/agent.md)",
        };
        check.error(reasons, fix)
    }

    /// None of its programs is built with `-cover`.
    fn without_coverage(&self, one: &Examined, prospect: &Prospect) -> Check {
        let check = one.check("covered");
        if !prospect.missing.is_empty() {
            return check.unknown("whether a program of it is built with -cover is not known", "");
        }
        let go: Vec<&OtherProcess> = prospect.others.iter().filter(|one| one.is_go == Some(true)).collect();
        let names = |processes: &[&OtherProcess]| {
            processes.iter().map(|one| one.process.as_str()).collect::<Vec<_>>().join(", ")
        };
        let all: Vec<&OtherProcess> = prospect.others.iter().collect();
        let is_unknown = all.iter().any(|one| one.is_go.is_none());
        let message = if is_unknown {
            format!("it runs no Go program that is built with -cover; its processes: {}", names(&all))
        } else if go.is_empty() && all.is_empty() {
            "it runs no Go program that is built with -cover".to_owned()
        } else if go.is_empty() {
            format!("it runs no Go program; its processes: {}", names(&all))
        } else {
            format!("its Go program is not built with -cover: {}", names(&go))
        };
        let is_certain = !go.is_empty() || is_unknown;
        let sets_dir = matches!(self.method, Method::Signal(_)) && one.target.dir != CoverDir::Unset;
        if sets_dir || !self.has_coverage && is_certain {
            // It would be signalled, or nothing at all is collected.
            check.error(message, BUILD)
        } else if !self.has_coverage {
            check.error(message, format!("{BUILD}; --container selects others"))
        } else if !go.is_empty() {
            check.warning(format!("{message}; it is skipped"), BUILD)
        } else {
            check.ok(format!("{message}; it is skipped"))
        }
    }

    fn with_coverage(&self, one: &Examined, way: &str, prospect: &Prospect) -> Vec<Check> {
        let programs: Vec<String> = prospect.covered.iter().map(ToString::to_string).collect();
        let covered = one.check("covered").ok(format!("{} ({way})", programs.join("; ")));
        if self.skips(one) {
            return vec![covered, self.without_coverdir(one)];
        }
        let Method::Signal(signal) = self.method else { return vec![covered] };
        let mut checks = vec![covered];
        if let Some(folder) = prospect.folder {
            checks.push(self.folder(one, folder, prospect.has_tar));
        }
        let mode = prospect.covered.iter().find_map(|program| program.mode);
        if let Some(mode @ (Mode::Set | Mode::Count)) = mode.filter(|_| !signal.ends_programs()) {
            checks.push(one.check("mode").error(
                format!("its program is built with -covermode={mode}, and only -covermode=atomic can write while it runs"),
                "build it with `-cover -covermode=atomic`, or collect with `podcov-collect --live`, which takes every mode",
            ));
        } else if !signal.ends_programs() && prospect.folder.is_some() {
            checks.push(
                one.check("handler").ok(format!(
                    "whether its program writes on {signal} cannot be seen; podcov-signal tells"
                )),
            );
        }
        if one.target.volume == CoverVolume::None {
            let message = format!("GOCOVERDIR {} is on no volume", one.target.dir);
            let fix = mount(&one.target);
            checks.push(match signal.ends_programs() {
                true => one.check("volume").error(
                    format!(
                        "{message}: what its program writes when {signal} ends it goes with the container"
                    ),
                    fix,
                ),
                false => one.check("volume").warning(format!("{message}: a restart empties it"), fix),
            });
        }
        checks
    }

    fn without_coverdir(&self, one: &Examined) -> Check {
        let check = one.check("coverdir");
        match self.method {
            Method::Stop => check.error(
                "its spec mentions no podcov-agent, so it is skipped",
                "start the program under podcov-agent (docs/agent.md), or collect with `podcov-collect --live`",
            ),
            _ => check.error(
                "GOCOVERDIR is not set, so it is skipped",
                "set it in the container's env (`{name: GOCOVERDIR, value: /coverage-data}`) and mount an emptyDir there, or \
                 collect with `podcov-collect --live`, which needs none",
            ),
        }
    }

    fn folder(&self, one: &Examined, folder: FolderState, has_tar: Option<bool>) -> Check {
        let dir = &one.target.dir;
        let check = one.check("coverdir");
        match folder {
            FolderState::Missing => {
                check.error(format!("GOCOVERDIR names {dir}, which does not exist"), mount(&one.target))
            }
            FolderState::ReadOnly => check.error(
                format!("its user may not write to GOCOVERDIR {dir}"),
                format!("{}, or set securityContext.fsGroup of the pod for another kind of volume", mount(&one.target)),
            ),
            FolderState::WithoutMetaData => check.error(
                format!("GOCOVERDIR {dir} holds no meta-data file, which a program built with -cover writes when it starts"),
                "start the pod again; is GOCOVERDIR the same in the program's own environment?",
            ),
            FolderState::HasMetaData if has_tar == Some(false) => check.error(
                "the image has no tar, so its files cannot be copied",
                "use an image that has sh and tar, such as busybox:stable (ko: `fromImage`), or collect with \
                 `podcov-collect --live`",
            ),
            FolderState::HasMetaData => check.ok(format!("GOCOVERDIR {dir} may be written to")),
        }
    }
}

/// How to mount a volume for the counters.
fn mount(target: &Target) -> String {
    let dir = match &target.dir {
        CoverDir::Path(dir) => dir,
        CoverDir::Env | CoverDir::Unset => "/coverage-data",
    };
    format!(
        "mount an emptyDir there: `volumes: [{{name: coverage, emptyDir: {{}}}}]` in the pod's spec, `volumeMounts: [{{name: \
         coverage, mountPath: {dir}}}]` in the container's"
    )
}

#[cfg(test)]
#[path = "containers_tests.rs"]
mod tests;
