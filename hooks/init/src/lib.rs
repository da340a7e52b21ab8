//! Gives a Skaffold project a profile that builds with `-cover` and runs `podcov run` as a hook. Works on files alone.

mod args;
mod change;
mod dockerfile;
mod profile;
mod services;
mod yaml;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use fs_err as fs;
use podcov_cli::{print, say};
use podcov_exit::{Exit, Failure, ResultExt};
use serde_json::Value;

use args::{NAME, usage};
use change::Change;
use profile::Plan;
use services::Target;

pub use args::Args;

/// Runs podcov-init with a program's arguments.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    podcov_cli::main_blocking(NAME, args, |args: &Args| &args.common, |args| run(&args))
}

/// Runs podcov-init.
///
/// # Errors
/// A [`Failure`] when a file cannot be read or written, or a choice is missing.
pub fn run(args: &Args) -> Result<Exit> {
    let folder = match args.filename.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let text = fs::read_to_string(&args.filename).or_exit(Exit::Usage, "cannot read the configuration")?;
    let module = yaml::parse(&text, args.module.as_deref())
        .map_err(|why| usage(format!("{}: {why}", args.filename.display())))?;
    let config = &module.config;
    if args.command.is_empty() {
        return Err(usage("the command that runs the tests is not known")
            .with_hint("write it at the end: podcov-init -- go test -count=1 ./integration/...")
            .into());
    }
    check_artifacts(args, config)?;
    let target = if args.no_target { None } else { Some(target(args, config, &folder)?) };
    let Plan { profile, mut changes, notes } = profile::plan(args, config, &folder, target.as_ref())?;
    let edited = yaml::with_profile(&text, &module, &profile)
        .map_err(|why| usage(format!("{}: {why}", args.filename.display())))?;
    changes.insert(0, Change { file: args.filename.clone(), before: text, after: edited });
    for note in notes {
        say(NAME, note);
    }
    if args.write {
        for change in &changes {
            change.write().or_exit(Exit::Usage, "cannot write a file of the project")?;
            say(NAME, format_args!("changed {}", change.file.display()));
        }
        say(NAME, "add reports/ and coverage.html to .gitignore, or Skaffold tags images as dirty");
        return Ok(Exit::Done);
    }
    let printed = print(|out| changes.iter().try_for_each(|change| write!(out, "{}", change.diff())));
    printed.or_exit(Exit::Usage, "cannot write to stdout")?;
    Ok(Exit::Done)
}

/// That the configuration builds something itself.
fn check_artifacts(args: &Args, config: &Value) -> Result<()> {
    let others = config["requires"].as_array().into_iter().flatten();
    let others: Vec<&str> = others.filter_map(|one| one["path"].as_str()).collect();
    if config["build"]["artifacts"].is_array() || others.is_empty() {
        return Ok(());
    }
    let message = format!("{} builds no artifacts itself", args.filename.display());
    let hint = format!("give the one that does with --filename; it requires {}", others.join(", "));
    Err(usage(message).with_hint(hint).into())
}

/// What the tests are run against.
fn target(args: &Args, config: &Value, folder: &Path) -> Result<Target> {
    let named = args.target.as_ref();
    if let Some(name) = named.filter(|name| !name.contains('/')) {
        return Err(usage(format!("--target {name}: write KIND/NAME, for example service/{name}")).into());
    }
    if let (Some(name), Some(port)) = (named, &args.port) {
        return Ok(Target { name: name.clone(), port: port.clone() });
    }
    let found = services::find(config, folder).map_err(|why| {
        let failure =
            Failure::new(Exit::Usage, format!("the services of the manifests are not known: {why}"));
        failure.with_hint("name one with --target service/NAME --port PORT")
    })?;
    let listed = |targets: &[&Target]| {
        targets.iter().map(|one| format!("{} port {}", one.name, one.port)).collect::<Vec<_>>().join(", ")
    };
    let of_name: Vec<&Target> =
        found.iter().filter(|one| named.is_none_or(|name| one.name == *name)).collect();
    match &of_name[..] {
        [only] => Ok((*only).clone()),
        [] => Err(usage("the manifests have no service with a port that could be the tests' target")
            .with_hint(
                "name another with --target KIND/NAME --port PORT; --no-target is for tests without one",
            )
            .into()),
        several => {
            Err(usage(format!("which of these the tests are run against is not known: {}", listed(several)))
                .with_hint("name one with --target and --port")
                .into())
        }
    }
}
