//! Which container of the pod a process is of, where containers share their processes.
//!
//! The kubelet mounts a file for the container's last words into each, from its own folder for that container:
//! `…/pods/UID/containers/NAME/…` (`makeMounts` in `pkg/kubelet/kuberuntime`). Which file is mounted, any process may
//! read of any other. The pause container has no such file, nor has a process of the node.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use fs_err as fs;
use livecov::process::scan::processes;

/// How a process is called that runs as `podcov-agent run`.
const AGENT: &str = "podcov-agent";

/// A container, as the kubelet names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PodContainer {
    /// The pod's UID; of a static pod another ID.
    pod: String,
    /// The container's name.
    pub(crate) name: String,
}

/// The container that this process is in. `None` outside of Kubernetes.
pub(crate) fn own() -> Option<PodContainer> {
    of("self")
}

/// The other containers of this one's pod.
#[derive(Debug, Default)]
pub(crate) struct Others {
    /// Their processes, by container.
    pub(crate) processes: BTreeMap<String, Vec<u32>>,
    /// Those whose programs have a podcov-agent of their own. They are left out.
    pub(crate) with_agent: BTreeSet<String>,
}

/// Finds the other containers of this one's pod.
///
/// # Errors
/// When the processes cannot be listed.
pub(crate) fn others(own: &PodContainer) -> io::Result<Others> {
    let mut others = Others::default();
    for (pid, stat) in processes()? {
        // One that has ended meanwhile is in none.
        let Some(container) = of(&pid.to_string()) else { continue };
        if container.pod == own.pod && container.name != own.name {
            if stat.name == AGENT {
                others.with_agent.insert(container.name.clone());
            }
            others.processes.entry(container.name).or_default().push(pid);
        }
    }
    let Others { processes, with_agent } = &mut others;
    processes.retain(|name, _| !with_agent.contains(name));
    Ok(others)
}

fn of(pid: &str) -> Option<PodContainer> {
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok()?;
    mounts.lines().find_map(of_mount)
}

/// By a line of `mountinfo`, whose fourth field is what is mounted. See `proc_pid_mountinfo(5)`.
fn of_mount(line: &str) -> Option<PodContainer> {
    let mounted = line.split(' ').nth(3)?;
    let mounted = mounted.strip_suffix("//deleted").unwrap_or(mounted);
    let mut parts = mounted.rsplit('/').skip(1);
    let [name, containers, pod, pods] = std::array::from_fn(|_| parts.next().unwrap_or_default());
    let is_it = containers == "containers" && pods == "pods" && !name.is_empty() && !pod.is_empty();
    is_it.then(|| PodContainer { pod: pod.to_owned(), name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubelets_file_tells_the_container() {
        for (mounted, expected) in [
            ("/var/lib/kubelet/pods/0a-1b/containers/app/1f2e3d4c", Some(("0a-1b", "app"))),
            ("/pods/0a-1b/containers/cart-1/1f2e3d4c//deleted", Some(("0a-1b", "cart-1"))),
            ("/var/lib/kubelet/pods/0a-1b/etc-hosts", None),
            ("/var/lib/kubelet/pods/0a-1b/volumes/kubernetes.io~empty-dir/cov", None),
            ("/var/lib/kubelet/pods/0a-1b/volume-subpaths/cov/app/0", None),
            ("/var/lib/kubelet/pods/0a-1b/containers", None),
            ("/", None),
        ] {
            let line =
                format!("2109 2093 254:1 {mounted} /dev/termination-log rw,relatime - ext4 /dev/vda1 rw");
            let found = of_mount(&line).map(|one| (one.pod, one.name));
            let expected = expected.map(|(pod, name)| (pod.to_owned(), name.to_owned()));
            assert_eq!(found, expected, "{mounted}");
        }
        assert_eq!(of_mount("2109 2093"), None);
    }
}
