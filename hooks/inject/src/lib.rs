//! Adds to manifests what coverage needs in a pod. A filter: standard input to standard output, and nothing else.

mod args;
mod block;
mod documents;
mod edit;
mod pod;
mod selection;

use std::ffi::OsString;
use std::io::Read;
use std::process::ExitCode;

use anyhow::Result;
use podcov_cli::{print, say};
use podcov_exit::{Exit, Failure, ResultExt};
use serde_json::Value;

use args::NAME;
use edit::{Addition, Step, change_text, change_value};
use pod::{Lacking, Mode, lacking};
use selection::{Kind, Selection, may_have_pods};

pub use args::Args;

/// Runs podcov-inject with a program's arguments.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    podcov_cli::main_blocking(NAME, args, |args: &Args| &args.common, |args| run(&args))
}

/// Runs podcov-inject.
///
/// # Errors
/// A [`Failure`] with exit code 2 when an argument is wrong, or a manifest cannot be changed. Then nothing is written.
pub fn run(args: &Args) -> Result<Exit> {
    let mut stream = String::new();
    std::io::stdin().read_to_string(&mut stream).or_exit(Exit::Usage, "cannot read the manifests")?;
    let (changed, notes) = inject(args, &stream)?;
    // A render hook of Skaffold gets this in the same stream as the manifests: there a comment is no manifest.
    for note in notes {
        say(&format!("# {NAME}"), note);
    }
    print(|out| out.write_all(changed.as_bytes())).or_exit(Exit::Usage, "cannot write to stdout")?;
    Ok(Exit::Done)
}

/// The stream with what its pods lack, and what was left as it is.
///
/// # Errors
/// As [`run`].
pub fn inject(args: &Args, stream: &str) -> Result<(String, Vec<String>)> {
    let mode = match &args.image {
        Some(image) => Mode::Sidecar { image: image.clone(), storage: args.storage.clone() },
        None if !args.coverdir.starts_with('/') || args.coverdir.contains("$(") => {
            let message = format!("--coverdir {}: that is no path from the root", args.coverdir);
            return Err(Failure::new(Exit::Usage, message).into());
        }
        None => Mode::Folder(args.coverdir.clone()),
    };
    let mut selection = Selection::of(args)?;
    let (mut changed, mut notes, mut errors) = (String::new(), Vec::new(), Vec::new());
    for (number, text) in (1..).zip(documents::split(stream)) {
        match change_document(text, &mode, &mut selection, &mut notes) {
            Ok(text) => changed.push_str(&text),
            Err(whys) => errors.extend(whys.into_iter().map(|why| format!("document {number}: {why}"))),
        }
    }
    if let Some((last, others)) = errors.split_last() {
        others.iter().for_each(|error| say(NAME, format_args!("error: {error}")));
        return Err(Failure::new(Exit::Usage, last.clone()).into());
    }
    match selection.missing() {
        Some(missing) => Err(Failure::new(Exit::Usage, missing).into()),
        None => Ok((changed, notes)),
    }
}

/// A document with what its pods lack.
fn change_document(
    text: &str,
    mode: &Mode,
    selection: &mut Selection,
    notes: &mut Vec<String>,
) -> Result<String, Vec<String>> {
    // What has no pods may be as it likes.
    if !may_have_pods(text) || block::Lines::of(text).top().is_none() {
        return Ok(text.to_owned());
    }
    let document: Value = serde_saphyr::from_str(text).map_err(|error| {
        // The first line has the place; what follows is an excerpt.
        let error = error.to_string();
        vec![format!("it is no YAML: {}", error.lines().next().unwrap_or_default())]
    })?;
    let (mut additions, mut errors, mut first) = (Vec::new(), Vec::new(), None);
    for (kind, object, path) in objects(&document) {
        if !selection.selects(kind, object) {
            continue;
        }
        let subject = format!("{}/{}", kind.word(), object["metadata"]["name"].as_str().unwrap_or_default());
        let steps = kind.template.iter().chain(&["spec"]).map(|key| Step::Key(key));
        let path: Vec<Step> = path.into_iter().chain(steps).collect();
        let Lacking { additions: own, notes: left, errors: wrong } =
            lacking(&kind.pod(object)["spec"], &path, mode, selection);
        additions.extend(own);
        notes.extend(left.into_iter().map(|note| format!("{subject}{note}")));
        errors.extend(wrong.into_iter().map(|error| format!("{subject}{error}")));
        first.get_or_insert(subject);
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    if additions.is_empty() {
        return Ok(text.to_owned());
    }
    changed(text, &document, &additions).map_err(|why| vec![format!("{}: {why}", first.unwrap_or_default())])
}

fn changed(text: &str, document: &Value, additions: &[Addition]) -> Result<String, String> {
    // JSON has no lines of its own.
    let content = text.lines().skip_while(|line| line.trim().is_empty() || documents::is_marker(line));
    let is_json = content.clone().next().is_some_and(|line| line.trim_start().starts_with('{'));
    if !is_json {
        return change_text(text, document, additions).map_err(|why| {
            format!(
                "{why}, or written in a way that is not edited here; write it as `kubectl get -o yaml` does"
            )
        });
    }
    let json: String = content.flat_map(|line| [line, "\n"]).collect();
    let mut value: Value =
        serde_json::from_str(&json).map_err(|_| "it is in flow style, and no JSON".to_owned())?;
    change_value(&mut value, additions);
    let marker = text.split_inclusive('\n').next().filter(|line| documents::is_marker(line));
    Ok(format!("{}{value:#}\n", marker.unwrap_or_default()))
}

/// The objects of a document that have pods, with the steps to each: those of lists too.
fn objects(document: &Value) -> Vec<(&'static Kind, &Value, Vec<Step>)> {
    if let Some(kind) = Kind::of(document) {
        return vec![(kind, document, Vec::new())];
    }
    let is_list = document["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
    let items = document["items"].as_array().filter(|_| is_list).into_iter().flatten();
    let items = items.enumerate().filter_map(|(number, object)| {
        Some((Kind::of(object)?, object, vec![Step::Key("items"), Step::Item(number)]))
    });
    items.collect()
}
