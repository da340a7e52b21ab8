//! The commands of `go tool covdata`.

use std::path::Path;

use anyhow::Result;
use covdata::Data;
use podcov_cli::{Exit, Failure, ResultExt};

use crate::input::{InputArgs, report};
use crate::output;

pub(crate) fn percent(input: &InputArgs, text: Option<&Path>, total: bool) -> Result<Exit> {
    let files = input.load()?;
    let (data, problems) = files.read();
    let exit = report(&problems);
    let profile = input.profile(&data);
    if let Some(path) = text {
        output::write(Some(path), |mut out| profile.write_text(&mut out))?;
    }
    let percent = profile.percent();
    output::write(None, |out| {
        write!(out, "{percent}")?;
        if total { writeln!(out, "{}", percent.total()) } else { Ok(()) }
    })?;
    Ok(exit)
}

pub(crate) fn func(input: &InputArgs) -> Result<Exit> {
    let files = input.load()?;
    let (data, problems) = files.read();
    let exit = report(&problems);
    let profile = input.profile(&data);
    output::write(None, |out| write!(out, "{}", profile.functions()))?;
    Ok(exit)
}

pub(crate) fn textfmt(input: &InputArgs, path: Option<&Path>) -> Result<Exit> {
    let files = input.load()?;
    let (data, problems) = files.read();
    let exit = report(&problems);
    let profile = input.profile(&data);
    output::write(path, |mut out| profile.write_text(&mut out))?;
    Ok(exit)
}

pub(crate) fn pkglist(input: &InputArgs) -> Result<Exit> {
    let files = input.load()?;
    let (data, problems) = files.read();
    let exit = report(&problems);
    let profile = input.profile(&data);
    output::write(None, |out| {
        profile.packages().iter().try_for_each(|package| writeln!(out, "{}", package.path))
    })?;
    Ok(exit)
}

pub(crate) fn merge(input: &InputArgs, to: &Path, combine: bool) -> Result<Exit> {
    let files = input.load()?;
    let (data, problems) = files.read();
    let exit = report(&problems);
    write(input, &data, to, combine)?;
    Ok(exit)
}

pub(crate) fn set_operation(
    input: &InputArgs,
    to: &Path,
    operation: for<'a> fn(&mut Data<'a>, &[Data<'a>]),
) -> Result<Exit> {
    let files = input.load()?;
    let (mut each, problems) = files.read_each();
    let exit = report(&problems);
    if each.len() < 2 {
        return Err(Failure::new(Exit::Usage, "at least two inputs are needed").into());
    }
    let others = each.split_off(1);
    operation(&mut each[0], &others);
    write(input, &each[0], to, false)?;
    Ok(exit)
}

/// Writes a folder; a text profile where a folder could not hold the data.
fn write(input: &InputArgs, data: &Data<'_>, to: &Path, combine: bool) -> Result<()> {
    if data.has_text() {
        if to.is_dir() {
            let what = format!("{} is a folder, and an input is a text profile", to.display());
            return Err(Failure::new(Exit::Usage, what)
                .with_hint("give a file with -o: the result is a text profile too")
                .into());
        }
        return output::write(Some(to), |mut out| input.profile(data).write_text(&mut out));
    }
    let same = |path: &Path| matches!((path.canonicalize(), to.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if input.paths().any(|path| same(path)) {
        return Err(Failure::new(Exit::Usage, format!("{} is an input as well", to.display()))
            .with_hint("write to another folder: what is in this one would count twice from then on")
            .into());
    }
    let wanted = |path: &str| input.pattern().is_none_or(|pattern| pattern.matches(path));
    let files = match (combine, input.pattern()) {
        (true, _) => data.combined_files(wanted),
        (false, Some(_)) => data.selected_files(wanted),
        (false, None) => data.files(),
    };
    let files = files.or_exit(Exit::Usage, "the result does not fit Go's format")?;
    output::write_folder(to, &files).or_exit(Exit::Usage, format!("cannot write to {}", to.display()))
}
