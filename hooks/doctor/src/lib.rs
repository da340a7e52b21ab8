//! Checks what the hooks need, by the same steps by which they do their work, and says how to mend what is missing.

mod args;
mod check;
mod containers;
mod needs;
mod pods;
mod programs;
mod project;
mod rights;
mod stored;
mod targets;

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use podcov_cli::{Shutdown, print, print_text};
use podcov_cluster::{Cluster, Error, PodSet, Scope, ServerInfo};
use podcov_exit::{Exit, Failure, ResultExt};

use args::NAME;
use check::{Check, Group, Level, Report};
use containers::Looking;
use needs::{Method, Needs, Selection};
use project::Project;
use rights::Rights;

pub use args::Args;

/// The image of ephemeral containers where nothing names another.
const LIVE_IMAGE: &str = "busybox:stable";

/// How far two clocks may be apart, in seconds: an answer takes a while, and a date has whole seconds.
const CLOCKS_APART: i64 = 30;

/// Runs podcov-doctor with a program's arguments.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    podcov_cli::main(NAME, args, |args: &Args| &args.common, run)
}

/// Runs podcov-doctor.
///
/// # Errors
/// A [`Failure`] when an argument or skaffold.yaml cannot be understood, or the result cannot be printed. What is found is
/// no error but the exit code.
pub async fn run(args: Args, shutdown: Shutdown) -> Result<Exit> {
    shutdown.or_stop(diagnose(&args)).await.unwrap_or_else(Ok)
}

async fn diagnose(args: &Args) -> Result<Exit> {
    let folder = Path::new("");
    let project = Project::read(args.filename.as_deref(), args.profile.as_deref(), folder);
    let project = project.map_err(|why| Failure::new(Exit::Usage, why))?;
    if project.is_none() && args.profile.is_some() {
        let failure = Failure::new(Exit::Usage, "there is no skaffold.yaml that could have the profile");
        return Err(failure.with_hint("name it with --filename").into());
    }
    let needs = needs(args, project.as_ref())?;
    let mut report = Report::default();
    if let Some(project) = &project {
        report.extend(project.checks());
        let search_path = std::env::var_os("PATH").unwrap_or_default();
        report.extend(programs::check(project, folder, &search_path).await);
    }
    if let Method::Stored(address) = &needs.method {
        report.add(stored::check(address, args.cluster.request_timeout).await);
    }
    let unreached = in_cluster(args, &needs, &mut report).await?;
    report.sort();
    let printed = match args.json {
        true => print(|out| report.write_json(out)),
        false => print_text(|out| report.write(out, args.all)),
    };
    printed.or_exit(Exit::Usage, "cannot write to stdout")?;
    Ok(match report.count(Level::Error) {
        0 => Exit::Done,
        _ => unreached.unwrap_or(Exit::FellShort),
    })
}

/// What is given by the arguments, else by the hooks.
fn needs(args: &Args, project: Option<&Project>) -> Result<Needs> {
    let method = if args.live || args.add_containers {
        Some(Method::Live)
    } else if args.stop {
        Some(Method::Stop)
    } else {
        args.from.clone().map(Method::Stored).or(args.signal.map(Method::Signal))
    };
    let mut needs = Needs {
        routes: podcov_test::parse_routes(&args.routes, &[])?,
        method: method.clone().unwrap_or_default(),
        live_image: args.live_image.clone(),
        selection: Selection::default(),
    };
    if let Some(project) = project {
        project.add_to(&mut needs, !args.routes.is_empty(), method.is_some());
    }
    Ok(needs)
}

/// The checks for which the cluster is asked. Gives the exit code if it cannot be.
async fn in_cluster(args: &Args, needs: &Needs, report: &mut Report) -> Result<Option<Exit>> {
    let context = args.cluster.context.as_deref().filter(|name| !name.is_empty());
    let unusable = |error: &Error| {
        let subject = context.map_or("the current context".to_owned(), |name| format!("context {name}"));
        let check = Check::new(Group::Cluster, "context", subject);
        check.error(error, error.hint().unwrap_or_default())
    };
    let cluster = match Cluster::connect(&args.cluster).await {
        Ok(cluster) => cluster,
        Err(error) => {
            report.add(unusable(&error));
            return Ok(Some(error.exit()));
        }
    };
    let info = match cluster.server_info().await {
        Ok(info) => info,
        Err(error) => {
            report.add(unusable(&error));
            return Ok(Some(error.exit()));
        }
    };
    report.extend(server_checks(&cluster, &info));

    let named = named_namespaces(args);
    // Targets are looked up as podcov-test has it.
    let namespace = match &named[..] {
        [only] => only.clone(),
        _ => cluster.default_namespace().to_owned(),
    };
    let namespaces = namespaces(args, needs, named, &namespace);
    let rights = Rights::ask(&cluster, &namespaces, needs, info.minor).await;
    let (mut of_targets, sets) =
        targets::check(&cluster, &needs.routes, &namespace, &rights, args.timeout).await;
    let mut needed = BTreeSet::new();
    if !matches!(needs.method, Method::Stored(_)) {
        match scope(args, needs, &cluster, sets)? {
            Some(scope) => {
                let (checks, targets) = pods::check(&cluster, &scope, &rights).await;
                if checks.iter().any(|check| check.level == Level::Error) {
                    targets::explain_by_pods(&mut of_targets);
                }
                report.extend(checks);
                let looking = Looking {
                    method: &needs.method,
                    image: needs.live_image.as_deref().unwrap_or(LIVE_IMAGE),
                    may_add: args.add_containers,
                    timeout: args.timeout,
                    parallel: args.parallel.into(),
                };
                let examined = looking.examine(&cluster, targets).await;
                let (checks, rules) = containers::judge(looking, &examined, &rights);
                report.extend(checks);
                needed = rules;
            }
            None => report.add(Check::new(Group::Pods, "pods-exist", "the pods of the run").unknown(
                "none are selected, so no pod was looked at",
                "Skaffold sets SKAFFOLD_RUN_ID for its hooks; by hand give --run-id, --selector, --pod or a target",
            )),
        }
    }
    report.extend(of_targets);
    report.extend(rights.checks(needs, &needed));
    Ok(None)
}

fn server_checks(cluster: &Cluster, info: &ServerInfo) -> [Check; 2] {
    let ServerInfo { version, clock, .. } = info;
    let context = Check::new(Group::Cluster, "context", format!("context {}", cluster.context()));
    let clocks = Check::new(Group::Cluster, "clock", "the clocks of this machine and of the API server");
    [
        context.ok(match version {
            Some(version) => format!("{} answers, Kubernetes {version}", cluster.server()),
            None => format!("{} answers, and does not tell its version", cluster.server()),
        }),
        judge_clock(clocks, clock.map(|ahead| ahead.as_secs())),
    ]
}

fn judge_clock(check: Check, ahead: Option<i64>) -> Check {
    match ahead {
        None => check.unknown("the API server's answer has no date, so they are not compared", ""),
        Some(ahead) if ahead.abs() <= CLOCKS_APART => check.ok("they agree"),
        Some(ahead) => {
            let which = if ahead > 0 { "slow" } else { "fast" };
            check.warning(
                format!(
                    "this machine's is {} s {which}; credentials and certificates may be refused",
                    ahead.abs()
                ),
                "set the clock, as by `timedatectl set-ntp true`",
            )
        }
    }
}

/// The namespaces that are given.
fn named_namespaces(args: &Args) -> Vec<String> {
    let named = args.select.namespaces.iter().map(|name| name.trim());
    named.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

/// The namespaces in which rights are needed; `None` for all of them.
fn namespaces(args: &Args, needs: &Needs, named: Vec<String>, default: &str) -> BTreeSet<Option<String>> {
    if args.select.all_namespaces {
        return [None].into();
    }
    let of_routes = needs.routes.iter().filter_map(|route| route.target.namespace.clone());
    let mut all: BTreeSet<Option<String>> = named.into_iter().chain(of_routes).map(Some).collect();
    // Pods that are not those of targets, and targets that name none.
    if all.is_empty() || needs.routes.iter().any(|route| route.target.namespace.is_none()) {
        all.insert(Some(default.to_owned()));
    }
    all
}

/// The pods of the run, as podcov-run has it. `None` if none are selected.
fn scope(args: &Args, needs: &Needs, cluster: &Cluster, of_targets: Vec<PodSet>) -> Result<Option<Scope>> {
    let mut select = args.select.clone();
    let Selection { selector, pod, container } = needs.selection.clone();
    for (own, of_hooks) in
        [(&mut select.selector, selector), (&mut select.pod, pod), (&mut select.container, container)]
    {
        *own = own.take().or(of_hooks);
    }
    if of_targets.is_empty() && !select.selects() {
        return Ok(None);
    }
    let mut scope = select.scope_or_targets(cluster.default_namespace(), of_targets)?;
    scope.all_containers = true;
    scope.by_sidecar = true;
    Ok(Some(scope))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_are_named() {
        let judge = |ahead| judge_clock(Check::new(Group::Cluster, "clock", "x"), ahead);
        assert_eq!(judge(Some(0)).level, Level::Ok);
        assert_eq!(judge(Some(-30)).level, Level::Ok);
        assert_eq!(judge(None).level, Level::Unknown);
        let slow = judge(Some(3600));
        assert_eq!(slow.level, Level::Warning);
        assert!(slow.message.starts_with("this machine's is 3600 s slow"), "{}", slow.message);
        assert!(judge(Some(-100)).message.starts_with("this machine's is 100 s fast"));
    }
}
