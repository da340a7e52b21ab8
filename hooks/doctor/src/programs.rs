//! The programs that hooks name: they can be found here, and are of one version.

use std::collections::BTreeMap;
use std::env::consts::EXE_SUFFIX;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::check::{Check, Group};
use crate::project::Project;

/// How long a program may take to say its version.
const LIMIT: Duration = Duration::from_secs(10);

/// The checks of the programs. `folder` is where Skaffold is started, `search_path` the value of PATH.
pub(crate) async fn check(project: &Project, folder: &Path, search_path: &OsStr) -> Vec<Check> {
    // Each program once, with the first hook that names it.
    let mut programs: BTreeMap<(&str, &Path), &str> = BTreeMap::new();
    for hook in &project.hooks {
        let is_shell = matches!(hook.program.rsplit('/').next(), Some("sh" | "bash"));
        if !is_shell {
            programs.entry((hook.program.as_str(), hook.dir.as_path())).or_insert(&hook.place);
        }
    }
    let mut checks = Vec::new();
    let mut versions: Vec<(String, String)> = Vec::new();
    for ((program, dir), place) in programs {
        let check = Check::new(Group::Programs, "program", program);
        let Some(found) = find(program, &folder.join(dir), search_path) else {
            checks.push(missing(check, program, place, project.may_build));
            continue;
        };
        match version(&found).await {
            Ok(version) => {
                checks.push(check.ok(format!("{} has version {version}", found.display())));
                versions.push((program.to_owned(), version));
            }
            Err(why) => checks.push(check.error(
                format!("{} does not say its version: {why}", found.display()),
                "run `make install` again, or name another program in the hook",
            )),
        }
    }
    checks.extend(compare(&versions, env!("CARGO_PKG_VERSION")));
    checks
}

fn missing(check: Check, program: &str, place: &str, may_build: bool) -> Check {
    if !program.contains('/') {
        let message = format!("{place} runs it, and it is not on PATH");
        return check.error(
            message,
            "`make install` puts it there (README.md, Install); or name its path in the hook",
        );
    }
    let message = format!("{place} runs it, and it does not exist");
    match may_build {
        true => check.unknown(message, "a hook before the deployment may build it"),
        false => check.error(message, "name the program alone, and put it on PATH by `make install`"),
    }
}

/// The file of a program, as a hook that is started in the folder finds it.
fn find(program: &str, folder: &Path, search_path: &OsStr) -> Option<PathBuf> {
    let file = |path: PathBuf| {
        let with_suffix = PathBuf::from(format!("{}{EXE_SUFFIX}", path.display()));
        [path, with_suffix].into_iter().find(|path| path.is_file())
    };
    if program.contains('/') {
        return file(folder.join(program));
    }
    std::env::split_paths(search_path).find_map(|folder| file(folder.join(program)))
}

async fn version(program: &Path) -> Result<String, String> {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(LIMIT, command.output()).await.map_err(|_| "it does not end".to_owned())?;
    let output = output.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        [name, version] if output.status.success() && name.starts_with("podcov") => Ok(version.to_owned()),
        _ => Err(format!("{}, and it printed {:?}", output.status, text.lines().next().unwrap_or_default())),
    }
}

/// Whether programs are of one version, and of this one's.
fn compare(versions: &[(String, String)], own: &str) -> Option<Check> {
    let (_, first) = versions.first()?;
    let check = Check::new(Group::Programs, "versions", "the hooks' programs");
    let fix = "`make install` puts all programs of one version into one folder";
    if versions.iter().any(|(_, version)| version != first) {
        let all: Vec<_> = versions.iter().map(|(program, version)| format!("{program} {version}")).collect();
        return Some(check.error(format!("they have different versions: {}", all.join(", ")), fix));
    }
    Some(match first == own {
        true => check.ok(format!("all have version {own}")),
        false => check.warning(format!("all have version {first}, and podcov-doctor has {own}"), fix),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::Level;

    #[test]
    fn programs_are_found_as_a_hook_finds_them() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("bin/podcov");
        fs_err::create_dir(dir.path().join("bin")).unwrap();
        fs_err::write(&file, "").unwrap();
        let path = std::env::join_paths([Path::new("/nowhere"), &dir.path().join("bin")]).unwrap();
        assert_eq!(find("podcov", Path::new("/"), &path), Some(file.clone()));
        assert_eq!(find("podcov-run", Path::new("/"), &path), None);
        assert_eq!(find("bin/podcov", dir.path(), OsStr::new("")), Some(file));
        let check = || Check::new(Group::Programs, "program", "x");
        assert_eq!(missing(check(), "podcov", "x", true).level, Level::Error);
        assert_eq!(missing(check(), "target/podcov", "x", true).level, Level::Unknown);
        assert_eq!(missing(check(), "target/podcov", "x", false).level, Level::Error);
    }

    #[test]
    fn versions_are_compared() {
        let level = |versions: &[&str]| {
            let versions: Vec<_> =
                versions.iter().map(|one| ("podcov".to_owned(), (*one).to_owned())).collect();
            compare(&versions, "2.0.0").map(|check| check.level)
        };
        assert_eq!(level(&[]), None);
        assert_eq!(level(&["2.0.0", "2.0.0"]), Some(Level::Ok));
        assert_eq!(level(&["1.0.0", "1.0.0"]), Some(Level::Warning));
        assert_eq!(level(&["2.0.0", "1.0.0"]), Some(Level::Error));
    }
}
