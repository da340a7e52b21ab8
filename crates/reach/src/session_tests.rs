//! The script in each shell of this machine, on folders that stand for `/proc`.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use fs_err as fs;

use super::*;
use crate::process::{ProcessFilter, select};

/// Process IDs above all that Linux gives, so that none is the shell's own.
pub(crate) const APP: u32 = 5_000_007;
pub(crate) const WORKER: u32 = 5_000_008;
pub(crate) const OTHER: u32 = 5_000_009;

/// What a Go program catches, and what a shell does.
const BY_GO: &str = "fffffffd7fc1feff";
const BY_SHELL: &str = "0000000000010002";

/// What `go build -cover` adds.
const COVERED: &str = "\u{0}\nwarning: GOCOVERDIR not set, no coverage data emitted\n\u{0}";

/// A folder that stands for `/proc`.
pub(crate) struct Proc {
    pub(crate) folder: tempfile::TempDir,
}

/// A process in it.
pub(crate) struct FakeProcess<'a> {
    pub(crate) pid: u32,
    pub(crate) cgroup: &'a str,
    /// Its mount namespace; `None` where the user may not see it, and neither its program.
    pub(crate) mounts: Option<&'a str>,
    pub(crate) name: &'a str,
    pub(crate) program: &'a str,
    pub(crate) caught: &'a str,
    pub(crate) state: &'a str,
    pub(crate) arguments: &'a str,
}

pub(crate) const COVERED_APP: FakeProcess<'_> = FakeProcess {
    pid: APP,
    cgroup: "0::/",
    mounts: Some("own"),
    name: "app",
    program: COVERED,
    caught: BY_GO,
    state: "S (sleeping)",
    arguments: "/app\0serve\0",
};

pub(crate) const SHELL: FakeProcess<'_> = FakeProcess {
    pid: 1,
    name: "sh",
    program: "\u{7f}ELF",
    caught: BY_SHELL,
    arguments: "sh\0",
    ..COVERED_APP
};

impl Proc {
    /// The exec's shell has this cgroup.
    pub(crate) fn new(cgroup: &str) -> Self {
        let this = Self { folder: tempfile::tempdir().unwrap() };
        this.add("self", &FakeProcess { cgroup, ..SHELL });
        this
    }

    pub(crate) fn with(self, process: &FakeProcess<'_>) -> Self {
        self.add(&process.pid.to_string(), process);
        self
    }

    fn add(&self, name: &str, process: &FakeProcess<'_>) {
        let folder = self.folder.path().join(name);
        fs::create_dir_all(folder.join("ns")).unwrap();
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
        write("cgroup", &format!("{}\n", process.cgroup.replace(';', "\n")));
        write("comm", &format!("{}\n", process.name));
        write("cmdline", process.arguments);
        let (pid, state, caught) = (process.pid, process.state, process.caught);
        write(
            "status",
            &format!(
                "Name:\tx\nState:\t{state}\nPPid:\t0\nUid:\t7\t8\t9\t10\nGid:\t17\t18\t19\t20\nNSpid:\t{pid}\t3\nSigCgt:\t{caught}\nx:\t1\n"
            ),
        );
        let mounts = self.folder.path().join(format!("mounts-{}", process.mounts.unwrap_or("hidden")));
        if process.mounts.is_some() {
            fs::write(&mounts, "").unwrap();
            write("exe", process.program);
        }
        // What may not be seen is like a link that leads nowhere.
        symlink(mounts, folder.join("ns/mnt")).unwrap();
    }

    /// What every shell prints after the names of files; all must print the same.
    fn run(&self, name: &str, shared: bool, stdin: &str) -> Vec<String> {
        let shells = shells();
        let said: Vec<_> = shells.iter().map(|shell| self.run_in(shell, name, shared, stdin)).collect();
        for (shell, one) in shells.iter().zip(&said) {
            assert_eq!(one, &said[0], "{shell:?}");
        }
        said.into_iter().next().unwrap()
    }

    fn run_in(&self, shell: &[PathBuf], name: &str, shared: bool, stdin: &str) -> Vec<String> {
        let script = format!(
            "kill() {{ echo \"kill $*\"; }}\n{}",
            without_comments(&[TAR_SCRIPT, OURS_SCRIPT, SCRIPT])
        );
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(&shell[0]);
        command.args(&shell[1..]).args(["-c", &script, "podcov"]).arg(dir.path()).arg(self.folder.path());
        command.args([name, if shared { "shared" } else { "" }, "find"]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{shell:?}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.strip_prefix(".\n.\n").expect("no names of files").lines().map(str::to_owned).collect()
    }

    /// The processes that get the signal, or why none does.
    fn selected(&self, filter: ProcessFilter<'_>, shared: bool) -> Result<Vec<u32>, String> {
        let name = if let ProcessFilter::Name(name) = filter { name } else { "" };
        let lines = self.run(name, shared, "");
        let candidates: Vec<_> = lines.iter().filter_map(|line| Candidate::parse(line)).collect();
        assert_eq!(candidates.len() + 1, lines.len(), "{lines:?}");
        let mut pids: Vec<_> = select(&candidates, filter)?.iter().map(|process| process.pid).collect();
        pids.sort_unstable();
        Ok(pids)
    }
}

/// The shells of this machine, busybox's of the end-to-end tests included.
pub(crate) fn shells() -> Vec<Vec<PathBuf>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let find = |name: &str| std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.exists());
    let names = ["sh", "dash", "bash", "ash", "mksh", "yash"];
    let mut shells: Vec<_> = names.iter().filter_map(|name| find(name)).map(|shell| vec![shell]).collect();
    let busybox = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/e2e/debian/bin/busybox");
    let busybox = if busybox.exists() { Some(busybox) } else { find("busybox") };
    shells.extend(busybox.map(|busybox| vec![busybox, "sh".into()]));
    assert!(!shells.is_empty());
    shells
}

/// cgroup version 2, where each container sees its own cgroup as the root; and `kubectl debug` beside the program.
#[test]
fn a_container_with_process_ids_of_its_own() {
    let debugger = FakeProcess { pid: OTHER, cgroup: "0::/../4d5e", mounts: Some("debug"), ..COVERED_APP };
    let proc = Proc::new("0::/").with(&SHELL).with(&COVERED_APP).with(&debugger);
    assert_eq!(proc.selected(ProcessFilter::Covered, false), Ok(vec![APP]));
    assert_eq!(proc.selected(ProcessFilter::Id(1), false), Ok(vec![1]));
    assert!(proc.selected(ProcessFilter::Id(OTHER), false).is_err());
    let hidden = FakeProcess { mounts: None, ..COVERED_APP };
    let proc = Proc::new("0::/").with(&SHELL).with(&hidden);
    assert_eq!(proc.selected(ProcessFilter::Covered, false), Ok(vec![APP]), "another user's program");
}

/// A container with an init system that sorts its processes into cgroups: the exec's shell is beside the program.
#[test]
fn a_container_that_has_cgroups_of_its_own() {
    let app = FakeProcess { cgroup: "0::/system.slice/app.service", ..COVERED_APP };
    let debugger = FakeProcess { pid: OTHER, cgroup: "0::/../4d5e", mounts: Some("debug"), ..COVERED_APP };
    let proc = Proc::new("0::/init.scope").with(&SHELL).with(&app).with(&debugger);
    assert_eq!(proc.selected(ProcessFilter::Covered, false), Ok(vec![APP]));
}

/// cgroup version 1 has a line for each controller; a runtime without cgroups none at all.
#[test]
fn other_kinds_of_cgroups() {
    let own = "9:memory:/kubepods/pod1/c1;8:cpu:/kubepods/pod1/c1;0::/";
    let other = "9:memory:/kubepods/pod1/c2;8:cpu:/kubepods/pod1/c2;0::/";
    let neighbour = FakeProcess { pid: OTHER, cgroup: other, mounts: None, ..COVERED_APP };
    let app = FakeProcess { cgroup: own, mounts: None, ..COVERED_APP };
    let init = FakeProcess { cgroup: "9:memory:/;8:cpu:/;0::/", mounts: None, ..SHELL };
    let proc = Proc::new(own).with(&app).with(&neighbour).with(&init);
    assert_eq!(proc.selected(ProcessFilter::Covered, true), Ok(vec![APP]));
    let proc =
        Proc::new("").with(&FakeProcess { cgroup: "", ..SHELL }).with(&FakeProcess { cgroup: "", ..app });
    assert_eq!(proc.selected(ProcessFilter::Covered, false), Ok(vec![APP]));
    assert!(proc.selected(ProcessFilter::Covered, true).is_err(), "nothing tells whose they are");
}

/// hostPID: the node's init, another pod's program, and one of this pod's other containers.
#[test]
fn a_container_that_sees_the_nodes_processes() {
    for (own, below, others) in [
        (
            "0::/kubepods/pod1/c1",
            "0::/kubepods/pod1/c1/deeper",
            ["0::/init.scope", "0::/kubepods/pod1/c2", "0::/kubepods/pod1/c1x", "0::/"],
        ),
        ("0::/", "0::/deeper", ["0::/../../../init.scope", "0::/../c2", "0::/../../pod2/c1", "0::/.."]),
    ] {
        for hidden in [false, true] {
            let of = |pid, cgroup, mounts| FakeProcess {
                pid,
                cgroup,
                mounts: if hidden { None } else { Some(mounts) },
                ..COVERED_APP
            };
            let mut proc = Proc::new(own).with(&of(APP, own, "own")).with(&of(WORKER, below, "own"));
            for (pid, cgroup) in [1, OTHER, OTHER + 1, OTHER + 2].into_iter().zip(others) {
                proc = proc.with(&of(pid, cgroup, "node"));
            }
            // Programs that cannot be searched, neither of which started the other, are told apart by name alone.
            let found = proc.selected(ProcessFilter::Covered, true);
            if hidden {
                assert!(found.unwrap_err().contains("so none was signalled: name one"), "{own}");
            } else {
                assert_eq!(found, Ok(vec![APP, WORKER]), "{own}");
            }
            assert_eq!(proc.selected(ProcessFilter::Name("app"), true), Ok(vec![APP, WORKER]), "{own}");
            for other in [1, OTHER, OTHER + 1, OTHER + 2] {
                let why = proc.selected(ProcessFilter::Id(other), true).unwrap_err();
                assert!(why.contains("so none was signalled"), "{why}");
            }
        }
    }
}

/// Nobody is signalled where neither cgroups nor mount namespaces tell.
#[test]
fn a_node_without_cgroups() {
    let init = FakeProcess { pid: 1, mounts: None, ..COVERED_APP };
    let hidden = Proc::new("0::/").with(&init).with(&FakeProcess { mounts: None, ..COVERED_APP });
    for filter in [ProcessFilter::Covered, ProcessFilter::Id(1), ProcessFilter::Name("app")] {
        let why = hidden.selected(filter, true).unwrap_err();
        assert!(why.starts_with("none of the processes that are seen"), "{why}");
    }
    let seen = Proc::new("0::/").with(&init).with(&COVERED_APP);
    assert_eq!(seen.selected(ProcessFilter::Covered, true), Ok(vec![APP]));
}

#[test]
fn programs_are_told_apart() {
    let proc = Proc::new("0::/")
        .with(&SHELL)
        .with(&FakeProcess { pid: OTHER, program: "uncovered", ..COVERED_APP })
        .with(&FakeProcess { pid: WORKER, state: "Z (zombie)", ..COVERED_APP })
        .with(&COVERED_APP);
    assert_eq!(proc.selected(ProcessFilter::Covered, false), Ok(vec![APP]));
    let line = format!("{APP} 0 3 covered - app");
    assert!(proc.run("", false, "").contains(&line), "the ID that the program sees is 3");
    let proc = Proc::new("0::/").with(&FakeProcess { program: "uncovered", ..COVERED_APP });
    assert!(
        proc.selected(ProcessFilter::Covered, false)
            .unwrap_err()
            .contains("runs no Go program that is built")
    );
}

#[test]
fn names_of_more_than_15_letters() {
    let first =
        FakeProcess { name: "inventory-servi", arguments: "/bin/inventory-service\0--port\0", ..COVERED_APP };
    let second = FakeProcess { pid: WORKER, arguments: "inventory-service-2\0", ..first };
    let short = FakeProcess { pid: OTHER, name: "inventory", ..COVERED_APP };
    let proc = Proc::new("0::/").with(&first).with(&second).with(&short);
    let named = |name| proc.selected(ProcessFilter::Name(name), false);
    assert_eq!(named("inventory-service-2"), Ok(vec![WORKER]));
    assert_eq!(named("inventory-servi"), Ok(vec![APP, WORKER]));
    assert_eq!(named("inventory"), Ok(vec![OTHER]));
    assert!(named("inventory-service-3").is_err());
}

#[test]
fn what_has_ended_before_the_signal_is_told() {
    let zombie = FakeProcess { pid: WORKER, state: "Z (zombie)", ..COVERED_APP };
    let proc = Proc::new("0::/").with(&COVERED_APP).with(&zombie);
    let said = proc.run("", false, &format!("signal USR1 {APP} {OTHER}\nend\n"));
    assert!(said.ends_with(&[format!("ended {OTHER}"), format!("signalled {APP}")]), "{said:?}");
}

/// Also one that the host asked for.
#[test]
fn another_containers_process_is_never_signalled() {
    let other = FakeProcess { pid: OTHER, cgroup: "0::/../c2", mounts: Some("other"), ..COVERED_APP };
    let proc = Proc::new("0::/").with(&COVERED_APP).with(&other);
    for shared in [false, true] {
        let said = proc.run("", shared, &format!("signal USR1 {OTHER} {APP} 1\nend\n"));
        let sent = said.iter().filter(|line| line.starts_with("kill ")).collect::<Vec<_>>();
        assert_eq!(sent, [&format!("kill -s USR1 {APP}")]);
        assert_eq!(said.last().unwrap(), &format!("signalled {APP}"));
    }
}
