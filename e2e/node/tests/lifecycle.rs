//! A cluster that is started leaves nothing behind, whichever way it ends: `make e2e`.
//!
//! One test, as there is one bridge: two clusters would be in each other's way. For the same reason it fails where a
//! cluster runs.
#![cfg(target_os = "linux")]

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{chown, symlink};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fs_err as fs;
use podcov_node::Folder;
use rustix::process::{Pid, Signal, kill_process};

#[tokio::test]
async fn nothing_stays_behind() {
    let place = tempfile::tempdir().unwrap();
    let folder = Folder::at(place.path()).unwrap();
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/e2e");
    for name in ["bin", "debian"] {
        symlink(fs::canonicalize(built.join(name)).unwrap(), place.path().join(name)).unwrap();
    }
    let before = outside(&folder);

    // A command that ends well, and one that does not.
    assert_eq!(cluster(&folder, "true").status().unwrap().code(), Some(0));
    assert_eq!(outside(&folder), before);
    assert_eq!(cluster(&folder, "kubectl get nodes && exit 7").status().unwrap().code(), Some(7));
    assert_eq!(outside(&folder), before);

    // A signal goes to the command, and the cluster ends after it.
    let (child, _) = started(&folder);
    signal(child.id(), Signal::INT);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    assert_eq!(outside(&folder), before);

    // Nobody can hold that one up: the keeper sees that its starter is gone.
    let (mut child, command) = started(&folder);
    signal(child.id(), Signal::KILL);
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    podcov_node::gone(&folder).await.unwrap();
    assert_eq!(outside(&folder), before);
    while fs::metadata(format!("/proc/{command}")).is_ok() {
        tokio::task::yield_now().await;
    }

    // Nor that one: the cluster's processes end with it, and the next start takes the rest away.
    let (child, _) = started(&folder);
    let keeper: u32 = fs::read_to_string(place.path().join("keeper")).unwrap().parse().unwrap();
    signal(keeper, Signal::KILL);
    signal(child.id(), Signal::TERM);
    child.wait_with_output().unwrap();
    assert_eq!(cluster(&folder, "true").status().unwrap().code(), Some(0));
    assert_eq!(outside(&folder), before);

    // A cluster that stays until it is told.
    stays(&folder, &["up"]);
    assert_ne!(outside(&folder), before);
    // NET_ADDR_SET of the kernel: the node's address does not change with the pods.
    let assigned = fs::read_to_string("/sys/class/net/podcov0/addr_assign_type").unwrap();
    assert_eq!(assigned.trim(), "3");
    stays(&folder, &["up"]);
    stays(&folder, &["down"]);
    assert_eq!(outside(&folder), before);
    stays(&folder, &["down"]);

    // Without root one line says what to do.
    chown(place.path(), Some(NOBODY), Some(NOBODY)).unwrap();
    fs::remove_dir_all(folder.logs()).unwrap();
    let refused = cluster(&folder, "true").uid(NOBODY).gid(NOBODY).output().unwrap();
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.starts_with("cluster: error: the cluster needs root") && said.lines().count() == 1,
        "{said}"
    );
}

const NOBODY: u32 = 65534;

/// `cluster run` of a shell's command.
fn cluster(folder: &Folder, command: &str) -> Command {
    let mut cluster = example(folder);
    cluster.args(["run", "--", "sh", "-c", command]);
    let path = format!("{}:{}", folder.bin().display(), std::env::var("PATH").unwrap());
    cluster.env("PATH", path).stdin(Stdio::null());
    cluster
}

/// A cluster whose command runs, and that command's process.
fn started(folder: &Folder) -> (Child, u32) {
    let mut child = cluster(folder, "echo $$; exec sleep 1000").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (child, line.trim().parse().unwrap())
}

/// `cluster up` and `cluster down`.
fn stays(folder: &Folder, args: &[&str]) {
    let ended = example(folder).args(args).stdout(Stdio::null()).status().unwrap();
    assert!(ended.success(), "{args:?}");
}

/// The program, for this folder.
fn example(folder: &Folder) -> Command {
    let tests = std::env::current_exe().unwrap();
    let mut command = Command::new(tests.parent().unwrap().with_file_name("examples/cluster"));
    command.arg("--folder").arg(folder.bin().parent().unwrap());
    command
}

fn signal(process: u32, signal: Signal) {
    kill_process(Pid::from_raw(process.cast_signed()).unwrap(), signal).unwrap();
}

/// All of a cluster that can be seen from outside of it.
fn outside(folder: &Folder) -> Vec<String> {
    let place = folder.bin().parent().unwrap().to_owned();
    let mut seen = Vec::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let command = fs::read_to_string(entry.path().join("cmdline")).unwrap_or_default();
        if ["kube", "etcd", "containerd", "crane"].iter().any(|name| {
            command.contains(&format!("/run/podcov/bin/{name}"))
                || command.contains(&format!("/run/podcov/debian/usr/bin/{name}"))
        }) {
            seen.push(command);
        }
    }
    let devices = fs::read_dir("/sys/class/net").unwrap().map(|entry| entry.unwrap().path());
    // The veth of each pod goes with its namespace, in the kernel's own time.
    seen.extend(devices.filter(|path| !path.ends_with("lo")).map(|path| path.display().to_string()));
    // The server of names; the columns are a socket's number, its own address and more.
    let sockets = fs::read_to_string("/proc/net/udp").unwrap();
    let addresses = sockets.lines().filter_map(|line| line.split_whitespace().nth(1));
    seen.extend(addresses.filter(|address| address.ends_with(":0035")).map(str::to_owned));
    seen.extend(fs::read_to_string("/proc/self/mounts").unwrap().lines().map(str::to_owned));
    for controller in fs::read_dir("/sys/fs/cgroup").unwrap().flatten() {
        seen.extend(
            fs::read_dir(controller.path())
                .into_iter()
                .flatten()
                .flatten()
                .filter(|entry| entry.path().is_dir())
                .map(|entry| entry.path().display().to_string()),
        );
    }
    seen.extend(
        fs::read_dir(place)
            .unwrap()
            .flatten()
            .map(|entry| entry.path().display().to_string())
            .filter(|path| path.ends_with("/state")),
    );
    seen.sort();
    seen
}
