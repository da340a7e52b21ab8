//! skaffold.yaml: the hooks that run podcov, and what they ask for.

use std::path::{Path, PathBuf};

use clap::Parser;
use fs_err as fs;
use podcov_control::Signal;
use podcov_test::Route;
use serde_json::{Map, Value};

use crate::check::{Check, Group};
use crate::needs::{Method, Needs, Selection};

/// The default name of Skaffold's configuration.
const FILE: &str = "skaffold.yaml";

/// A configuration, and the hooks of it that run podcov.
#[derive(Debug)]
pub(crate) struct Project {
    file: PathBuf,
    profile: Option<String>,
    pub(crate) hooks: Vec<Hook>,
    /// A hook before the deployment may build what the others run.
    pub(crate) may_build: bool,
    /// What could not be read, with what to do.
    problems: Vec<(String, String)>,
}

/// A hook that runs a program of podcov.
#[derive(Debug)]
pub(crate) struct Hook {
    /// Where it is: `deploy.kubectl.hooks.after[0]`.
    pub(crate) place: String,
    is_after: bool,
    /// The systems that it runs on; all if there are none.
    os: Vec<String>,
    /// The program, as the hook names it.
    pub(crate) program: String,
    /// Where it is started, from where Skaffold is started.
    pub(crate) dir: PathBuf,
    command: Command,
}

/// What a hook asks for.
#[derive(Debug)]
enum Command {
    Run(Box<podcov_run::Args>),
    Test(Box<podcov_test::Args>),
    Signal(Box<podcov_signal::Args>),
    Collect(Box<podcov_collect::Args>),
    /// A program that asks nothing of a cluster.
    Other,
    /// It does not understand its arguments.
    Wrong(String),
    /// A shell's text.
    Shell,
}

impl Project {
    /// Reads a configuration: that of the name, else `skaffold.yaml` in the folder if there is one.
    ///
    /// # Errors
    /// Why the file cannot be read.
    pub(crate) fn read(
        filename: Option<&Path>,
        profile: Option<&str>,
        folder: &Path,
    ) -> Result<Option<Self>, String> {
        let file = folder.join(filename.unwrap_or(Path::new(FILE)));
        if filename.is_none() && !file.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&file).map_err(|error| error.to_string())?;
        let shown = filename.unwrap_or(Path::new(FILE)).to_owned();
        Self::parse(&text, profile, shown).map(Some)
    }

    fn parse(text: &str, profile: Option<&str>, file: PathBuf) -> Result<Self, String> {
        let named = |why: String| format!("{}: {why}", file.display());
        let documents: Vec<Value> =
            serde_saphyr::from_multiple(text).map_err(|error| named(format!("it is no YAML: {error}")))?;
        let profiles =
            documents.iter().flat_map(|document| document["profiles"].as_array().into_iter().flatten());
        let name_of = |profile: &Value| profile["name"].as_str().map(str::to_owned);
        let names: Vec<String> = profiles.clone().filter_map(name_of).collect();
        let mut problems = Vec::new();
        let profile = match profile {
            Some(name) if !names.iter().any(|known| known == name) => {
                return Err(named(format!("it has no profile {name}; it has: {}", names.join(", "))));
            }
            Some(name) => Some(name.to_owned()),
            None => {
                let runs_podcov = |profile: &&Value| !hooks(&profile["deploy"]).0.is_empty();
                let mut with: Vec<String> =
                    profiles.clone().filter(runs_podcov).filter_map(name_of).collect();
                with.dedup();
                if with.len() > 1 {
                    let message = format!("the hooks of several profiles run podcov: {}", with.join(", "));
                    problems.push((message, "name one with --profile".to_owned()));
                    None
                } else {
                    with.pop()
                }
            }
        };
        let (mut found, mut may_build) = (Vec::new(), false);
        for document in &documents {
            let mut deploy = document["deploy"].clone();
            let of_profile = document["profiles"].as_array().into_iter().flatten();
            for applied in of_profile.filter(|one| profile.is_some() && name_of(one) == profile) {
                if applied["patches"].is_array() {
                    let message = format!(
                        "profile {} has patches, which are not read here",
                        profile.as_deref().unwrap_or_default()
                    );
                    problems.push((message, "hooks that they add are not checked".to_owned()));
                }
                overlay(&mut deploy, &applied["deploy"]);
            }
            let (of_document, builds) = hooks(&deploy);
            found.extend(of_document);
            may_build |= builds;
        }
        Ok(Self { file, profile, hooks: found, may_build, problems })
    }

    /// Adds what its hooks ask for to what is not given otherwise.
    pub(crate) fn add_to(&self, needs: &mut Needs, has_routes: bool, has_method: bool) {
        let mut method = None;
        let mut selections = Vec::new();
        for hook in &self.hooks {
            match &hook.command {
                Command::Run(args) => {
                    method = Some(args.signal.map_or(Method::Live, Method::Signal));
                    needs.live_image.get_or_insert_with(|| args.live_image.clone());
                    selections.push(selection(&args.selector, &args.pod, &args.container));
                    if !has_routes {
                        needs.routes.extend(routes(&args.test));
                    }
                }
                Command::Test(args) if !has_routes => needs.routes.extend(routes(&args.test)),
                Command::Signal(args) if args.stop => method = Some(Method::Stop),
                Command::Signal(args) => method = Some(Method::Signal(args.signal.unwrap_or(Signal::FLUSH))),
                Command::Collect(args) => {
                    let select = &args.select;
                    selections.push(selection(&select.selector, &select.pod, &select.container));
                    let own = if args.live {
                        Some(Method::Live)
                    } else if args.stop {
                        Some(Method::Stop)
                    } else {
                        args.from.clone().map(Method::Stored).or(args.signal.map(Method::Signal))
                    };
                    if args.live {
                        needs.live_image.get_or_insert_with(|| args.live_image.clone());
                    }
                    method = own.or(method);
                }
                _ => {}
            }
        }
        // Where hooks select different pods, all are looked at.
        selections.dedup();
        if let [only] = &selections[..] {
            needs.selection = only.clone();
        }
        if let Some(method) = method.filter(|_| !has_method) {
            needs.method = method;
        }
    }

    /// The checks of the hooks.
    pub(crate) fn checks(&self) -> Vec<Check> {
        let of_profile = self.profile.as_ref().map(|name| format!(" profile {name}")).unwrap_or_default();
        let place = |hook: &Hook| format!("{}{of_profile} {}", self.file.display(), hook.place);
        let whole = format!("{}{of_profile}", self.file.display());
        let mut checks = Vec::new();
        for (message, fix) in &self.problems {
            checks.push(Check::new(Group::Skaffold, "hooks", &whole).unknown(message, fix));
        }
        if self.hooks.is_empty() && self.problems.is_empty() {
            checks.push(Check::new(Group::Skaffold, "hooks", &whole).warning(
                "no hook runs podcov",
                "add `podcov run` to deploy.kubectl.hooks.after of a profile, as README.md shows",
            ));
        }
        for (number, hook) in self.hooks.iter().enumerate() {
            let check = |name| Check::new(Group::Skaffold, name, place(hook));
            let before = self.hooks[..number].iter().filter(|other| other.is_after == hook.is_after);
            checks.push(hook.judge(check("hook"), before));
            checks.extend(hook.judge_os(check("os"), std::env::consts::OS));
        }
        checks
    }
}

impl Hook {
    /// Whether it can do its work at its place, after other hooks.
    fn judge<'a>(&self, check: Check, mut before: impl Iterator<Item = &'a Self>) -> Check {
        if let Command::Wrong(why) = &self.command {
            return check.error(
                format!("{} does not understand its arguments: {why}", self.program),
                format!("see `{} --help`", self.program),
            );
        }
        if !self.is_after && !matches!(self.command, Command::Other | Command::Shell) {
            return check.error(
                format!(
                    "{} runs before the deployment, so it meets the pods of an earlier run",
                    self.program
                ),
                "move it to hooks.after",
            );
        }
        match &self.command {
            Command::Shell => check.ok("a shell runs podcov, and what it asks for is not read here"),
            Command::Test(_) => match before.find(|other| other.collects()) {
                Some(first) => check.error(
                    format!("it tests after {} has collected", first.place),
                    "put podcov-test before the hook that collects",
                ),
                None => check.ok("it tests before the coverage is collected"),
            },
            Command::Signal(_) => match before.find(|other| other.collects()) {
                Some(first) => check.error(
                    format!("it signals after {} has collected", first.place),
                    "put podcov-signal before podcov-collect",
                ),
                None => check.ok("it signals before the coverage is collected"),
            },
            Command::Collect(args) => {
                let before: Vec<&Self> = before.collect();
                let is_told = args.live || args.stop || args.signal.is_some() || args.from.is_some();
                let is_signalled =
                    before.iter().any(|other| matches!(other.command, Command::Signal(_) | Command::Shell));
                let fails_first = before
                    .iter()
                    .find(|other| matches!(&other.command, Command::Test(args) if !args.defer_failure));
                if !is_told && args.local.is_empty() && !is_signalled {
                    check.error(
                        "it collects files, and no hook before it makes the programs write them",
                        "give it --live, --signal or --stop, or put podcov-signal before it",
                    )
                } else if let Some(test) = fails_first {
                    check.warning(
                        format!("it does not run if the tests of {} fail", test.place),
                        "give podcov-test --defer-failure: podcov-collect then exits with the failure",
                    )
                } else {
                    check.ok("it collects at its place")
                }
            }
            Command::Run(_) => check.ok("it tests and collects"),
            Command::Other | Command::Wrong(_) => check.ok("it needs no cluster"),
        }
    }

    fn collects(&self) -> bool {
        matches!(self.command, Command::Run(_) | Command::Collect(_))
    }

    /// Whether it runs on a system, as Rust names that.
    fn judge_os(&self, check: Check, system: &str) -> Option<Check> {
        let own = if system == "macos" { "darwin" } else { system };
        let is_left_out = !self.os.is_empty() && !self.os.iter().any(|os| os == own);
        is_left_out.then(|| {
            check.error(
                format!("Skaffold skips it on this system: its os is {}", self.os.join(", ")),
                format!("add {own} to its os, or leave os out"),
            )
        })
    }
}

fn selection(selector: &Option<String>, pod: &Option<String>, container: &Option<String>) -> Selection {
    Selection { selector: selector.clone(), pod: pod.clone(), container: container.clone() }
}

/// The targets of a hook, in its own namespace if it names one.
fn routes(args: &podcov_test::TestArgs) -> Vec<Route> {
    let mut routes = podcov_test::parse_routes(&args.routes, &args.http).unwrap_or_default();
    for route in &mut routes {
        if route.target.namespace.is_none() {
            route.target.namespace.clone_from(&args.namespace);
        }
    }
    routes
}

/// Lays the deployers of a profile over those of the file: each replaces the one below it whole.
fn overlay(deploy: &mut Value, profile: &Value) {
    let Some(profile) = profile.as_object() else { return };
    if !deploy.is_object() {
        *deploy = Value::Object(Map::new());
    }
    let below = deploy.as_object_mut().expect("it is one by now");
    below.extend(profile.iter().map(|(name, value)| (name.clone(), value.clone())));
}

/// The hooks that run podcov, in the order in which they run, and whether another one before them may build programs.
fn hooks(deploy: &Value) -> (Vec<Hook>, bool) {
    let (mut found, mut may_build) = (Vec::new(), false);
    let deployers = deploy.as_object().into_iter().flatten();
    let lists = deployers.flat_map(|(deployer, value)| {
        ["before", "after"].map(|list| (deployer, list, &value["hooks"][list]))
    });
    for (deployer, list, hooks) in lists {
        for (number, hook) in hooks.as_array().into_iter().flatten().enumerate() {
            let host = &hook["host"];
            let texts = |list: &Value| -> Vec<String> {
                let all = list.as_array().into_iter().flatten();
                all.filter_map(|one| one.as_str().map(str::to_owned)).collect()
            };
            let command = texts(&host["command"]);
            let Some((program, arguments)) = command.split_first() else { continue };
            let mut words = host["command"].as_array().into_iter().flatten();
            let unquoted = words.find(|word| !word.is_string());
            let parsed = parse(program, arguments).map(|parsed| match unquoted {
                Some(word) => {
                    Command::Wrong(format!("{word} is no text, and Skaffold takes texts alone: quote it"))
                }
                None => parsed,
            });
            match parsed {
                Some(parsed) => found.push(Hook {
                    place: format!("deploy.{deployer}.hooks.{list}[{number}]"),
                    is_after: list == "after",
                    os: texts(&host["os"]),
                    program: program.clone(),
                    dir: host["dir"].as_str().unwrap_or_default().into(),
                    command: parsed,
                }),
                None => may_build |= list == "before",
            }
        }
    }
    (found, may_build)
}

/// What a command asks for; `None` if it does not run podcov.
fn parse(program: &str, arguments: &[String]) -> Option<Command> {
    let name = Path::new(program).file_stem()?.to_str()?;
    let (name, arguments) = match (name, arguments) {
        ("podcov", [command, arguments @ ..]) => (format!("podcov-{command}"), arguments),
        ("sh" | "bash", arguments) => {
            let runs = arguments
                .iter()
                .any(|word| word.split_whitespace().any(|part| part == "podcov" || part.contains("podcov-")));
            return runs.then_some(Command::Shell);
        }
        (name, arguments) => (name.to_owned(), arguments),
    };
    let words = || [&name].into_iter().chain(arguments);
    Some(match name.as_str() {
        "podcov-run" => parsed(podcov_run::Args::try_parse_from(words()), Command::Run),
        "podcov-test" => parsed(podcov_test::Args::try_parse_from(words()), Command::Test),
        "podcov-signal" => parsed(podcov_signal::Args::try_parse_from(words()), Command::Signal),
        "podcov-collect" => parsed(podcov_collect::Args::try_parse_from(words()), Command::Collect),
        "podcov-report" => parsed(podcov_report::Args::try_parse_from(words()), |_| Command::Other),
        "podcov-doctor" => Command::Other,
        _ => return None,
    })
}

fn parsed<A>(parsed: Result<A, clap::Error>, command: fn(Box<A>) -> Command) -> Command {
    match parsed {
        Ok(args) => command(Box::new(args)),
        Err(error) => {
            let text = error.render().to_string();
            let first = text.lines().next().unwrap_or_default();
            Command::Wrong(first.strip_prefix("error: ").unwrap_or(first).to_owned())
        }
    }
}

#[cfg(test)]
#[path = "project_tests.rs"]
mod tests;
