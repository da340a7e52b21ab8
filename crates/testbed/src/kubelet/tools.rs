//! Folders of programs that stand for an image's `PATH`, and the guard that keeps `kill` inside the container.
//!
//! Pods share the host's process ids, so `kill -USR1 1` in a container would reach the host's own process 1. Every
//! shell and every `kill` that a container can find is a small script here which reads pid 1 as the container's
//! process and refuses any process outside the container. Programs that signal processes by name do not exist.
//! What is left unguarded: a program that itself calls kill(2) with 1.

use std::{
    collections::BTreeMap,
    env, io,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use crate::image::Tools;

/// `kill` as a shell function.
const KILL: &str = include_str!("kill.sh");
/// A shell that defines that function first.
const SHELL: &str = include_str!("sh.sh");
const SHELLS: [&str; 4] = ["sh", "dash", "ash", "bash"];
/// Would reach other processes of the host.
const REFUSED: [&str; 17] = [
    "pkill",
    "killall",
    "killall5",
    "skill",
    "snice",
    "xkill",
    "fuser",
    "busybox",
    "toybox",
    "reboot",
    "shutdown",
    "halt",
    "poweroff",
    "systemctl",
    "nsenter",
    "chroot",
    "init",
];

/// An image's programs, as a folder on the host.
#[derive(Debug)]
pub(crate) struct ToolBox {
    bin: PathBuf,
    /// Where to look besides.
    host: Vec<PathBuf>,
}

/// Why a program cannot be run, in the words of the container runtime.
#[derive(Debug)]
pub(crate) struct CannotRun(pub(crate) String);

impl ToolBox {
    /// The container's `PATH`.
    pub(crate) fn path(&self) -> String {
        let folders: Vec<_> =
            std::iter::once(&self.bin).chain(&self.host).map(|folder| folder.to_string_lossy()).collect();
        folders.join(":")
    }

    /// Paths in the container that are to lead to the guarded programs.
    pub(crate) fn paths(&self) -> Vec<(String, String)> {
        let mut pairs = Vec::new();
        for name in SHELLS.iter().chain(&["kill"]).chain(&REFUSED) {
            let guarded = self.bin.join(name);
            if guarded.exists() {
                for folder in ["/bin", "/usr/bin", "/sbin", "/usr/sbin"] {
                    pairs.push((format!("{folder}/{name}"), guarded.to_string_lossy().into_owned()));
                }
            }
        }
        pairs
    }

    /// The host program that `program`, its paths already the host's, stands for.
    pub(crate) fn resolve(&self, program: &str, folder: &Path) -> Result<PathBuf, CannotRun> {
        let path = Path::new(program);
        if !program.contains('/') {
            let mut candidates =
                std::iter::once(&self.bin).chain(&self.host).map(|folder| folder.join(program));
            return candidates
                .find(|candidate| is_program(candidate))
                .ok_or_else(|| CannotRun(format!("exec: {program:?}: executable file not found in $PATH")));
        }
        let system = ["/bin", "/usr/bin", "/usr/local/bin", "/sbin", "/usr/sbin"];
        let in_system = path.parent().is_some_and(|parent| system.iter().any(|one| parent == Path::new(one)));
        let found = match path.file_name() {
            Some(name) if in_system => {
                let guarded = self.bin.join(name);
                if guarded.exists() || self.host.is_empty() { guarded } else { path.to_owned() }
            }
            _ => folder.join(path),
        };
        if !found.exists() {
            return Err(CannotRun(format!("exec: {program:?}: stat {program}: no such file or directory")));
        }
        if !is_program(&found) {
            return Err(CannotRun(format!("exec: {program:?}: permission denied")));
        }
        Ok(found)
    }
}

/// The tool boxes made so far, one for each different set of tools.
#[derive(Debug)]
pub(crate) struct ToolBoxes {
    root: PathBuf,
    made: Mutex<BTreeMap<Tools, Arc<ToolBox>>>,
}

impl ToolBoxes {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, made: Mutex::default() }
    }

    pub(crate) fn get(&self, tools: &Tools) -> io::Result<Arc<ToolBox>> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tool_box) = made.get(tools) {
            return Ok(tool_box.clone());
        }
        let tool_box = Arc::new(make(&self.root.join(made.len().to_string()), tools)?);
        made.insert(tools.clone(), tool_box.clone());
        Ok(tool_box)
    }
}

fn make(root: &Path, tools: &Tools) -> io::Result<ToolBox> {
    let bin = root.join("bin");
    let lib = root.join("lib");
    fs_err::create_dir_all(&bin)?;
    fs_err::create_dir_all(&lib)?;
    fs_err::write(lib.join("kill.sh"), KILL)?;
    let host = host_path();
    let has = |name: &str| tools.0.as_ref().is_none_or(|names| names.contains(name));
    for name in SHELLS.iter().copied().filter(|name| has(name)) {
        if let Some(shell) = find(&host, name) {
            write_script(&bin.join(name), &SHELL.replace("@SHELL@", &shell.to_string_lossy()))?;
        }
    }
    if has("kill") {
        write_script(&bin.join("kill"), "#!/bin/sh\n. \"${0%/*}/../lib/kill.sh\"\nkill \"$@\"\n")?;
    }
    match &tools.0 {
        None => {
            for name in REFUSED {
                let script = format!(
                    "#!/bin/sh\necho '{name}: not in the testbed: it would reach the host' >&2\nexit 127\n"
                );
                write_script(&bin.join(name), &script)?;
            }
            Ok(ToolBox { bin, host })
        }
        Some(names) => {
            let guarded = |name: &str| SHELLS.contains(&name) || name == "kill" || REFUSED.contains(&name);
            for name in names.iter().filter(|name| !guarded(name)) {
                match find(&host, name) {
                    Some(program) => symlink(program, bin.join(name))?,
                    None => tracing::warn!("the host has no {name} for an image's tools"),
                }
            }
            Ok(ToolBox { bin, host: Vec::new() })
        }
    }
}

fn write_script(path: &Path, text: &str) -> io::Result<()> {
    fs_err::write(path, text)?;
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755))
}

fn host_path() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    env::split_paths(&path).filter(|folder| folder.is_absolute()).collect()
}

fn find(folders: &[PathBuf], name: &str) -> Option<PathBuf> {
    folders.iter().map(|folder| folder.join(name)).find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    fs_err::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// What the guard would call, in each shell of the host.
    #[test]
    fn kill_is_kept_inside_the_container() {
        let dry = KILL.replace("command kill", "echo kill");
        for shell in ["sh", "dash", "bash", "ash"] {
            if find(&host_path(), shell).is_none() {
                continue;
            }
            for (args, expected) in [
                ("-USR1 1", "kill -s USR1 -- 4242\n"),
                ("-SIGUSR1 1", "kill -s USR1 -- 4242\n"),
                ("-s USR1 1", "kill -s USR1 -- 4242\n"),
                ("-sUSR1 1", "kill -s USR1 -- 4242\n"),
                ("-n 10 1", "kill -s 10 -- 4242\n"),
                ("1", "kill -s TERM -- 4242\n"),
                ("-1 1", "kill -s 1 -- 4242\n"),
                ("-9 -1", "kill -s 9 -- -4242\n"),
                ("-- -1", "kill -s TERM -- -4242\n"),
                ("-9 -- -1", "kill -s 9 -- -4242\n"),
                ("-9 -0001", "kill -s 9 -- -4242\n"),
                ("-s 9 -- 1", "kill -s 9 -- 4242\n"),
                ("-USR1 01 +1", "kill -s USR1 -- 4242 4242\n"),
                ("-USR1 0", "kill -s USR1 -- 0\n"),
                ("-USR1 %1", "kill -s USR1 -- %1\n"),
                ("-l 1", "kill -l 1\n"),
                ("-USR1 2", "No such process\n"),
                ("-USR1 -2", "No such process\n"),
                ("-USR1 1 2", "No such process\nkill -s USR1 -- 4242\n"),
                ("-USR1 1x", "kill: illegal pid: 1x\n"),
                ("-USR1 ''", "kill: illegal pid: \n"),
            ] {
                let script = format!("exec 2>&1\n{dry}\nkill {args}");
                let output =
                    Command::new(shell).args(["-c", &script]).env("TESTBED_PID", "4242").output().unwrap();
                let text = String::from_utf8(output.stdout)
                    .unwrap()
                    .replace("kill: (2) - ", "")
                    .replace("kill: (-2) - ", "");
                assert_eq!(text, expected, "{shell}: kill {args}");
            }
            for nothing in ["", "0", "1"] {
                let script = format!("exec 2>&1\n{dry}\nkill -9 1; kill -9 -1");
                let output =
                    Command::new(shell).args(["-c", &script]).env("TESTBED_PID", nothing).output().unwrap();
                let text = String::from_utf8(output.stdout).unwrap();
                assert_eq!(text.matches("No such process").count(), 2, "{shell}: {text}");
            }
        }
    }
}
