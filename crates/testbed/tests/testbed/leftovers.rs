//! Nothing is left behind, however a testbed ends.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use podcov_testbed::Testbed;
use rustix::process::{Pid, test_kill_process};

use crate::common::{Exec, hello};

fn processes(bed: &Testbed) -> Vec<i32> {
    let name = |pod: &k8s_openapi::api::core::v1::Pod| pod.metadata.name.clone().unwrap();
    bed.pods().iter().map(|pod| bed.pid("default", &name(pod), "app").unwrap()).collect()
}

fn is_there(pid: i32) -> bool {
    Pid::from_raw(pid).is_some_and(|pid| test_kill_process(pid).is_ok())
}

async fn with_work() -> (Testbed, Vec<i32>, PathBuf) {
    let (bed, client, name) = hello().await;
    let mut pids = processes(&bed);
    let script = "sleep 300 & echo $$ $!; exec sleep 300";
    let mut exec = Exec::start(&client, &name, &["sh", "-c", script], "v5.channel.k8s.io").await.unwrap();
    exec.wait_for("\n").await;
    // The first is the testbed's own child, the second that child's.
    pids.push(exec.output.text().split_whitespace().next().unwrap().parse().unwrap());
    assert!(pids.iter().copied().all(is_there));
    let root = bed.kubeconfig().parent().unwrap().to_owned();
    (bed, pids, root)
}

#[tokio::test(flavor = "multi_thread")]
async fn after_shutdown() {
    let (bed, pids, root) = with_work().await;
    bed.shutdown().await;
    assert!(!pids.iter().copied().any(is_there));
    assert!(!root.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_drop() {
    let (bed, pids, root) = with_work().await;
    drop(bed);
    assert!(!pids.iter().copied().any(is_there));
    assert!(!root.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_panic() {
    let (bed, pids, root) = with_work().await;
    let panicked = tokio::spawn(async move {
        let _held = bed;
        panic!("as a test would");
    });
    assert!(panicked.await.unwrap_err().is_panic());
    assert!(!pids.iter().copied().any(is_there));
    assert!(!root.exists());
}

/// This test binary runs itself as the one that gets killed.
#[tokio::test(flavor = "multi_thread")]
async fn after_the_testbed_itself_is_killed() {
    const SELF: &str = "leftovers::after_the_testbed_itself_is_killed";
    if std::env::var_os("TESTBED_VICTIM").is_some() {
        let (bed, pids, root) = with_work().await;
        println!("victim: {} {pids:?}", root.display());
        std::future::pending::<()>().await;
        drop(bed);
    }
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args([SELF, "--exact", "--nocapture"])
        .env("TESTBED_VICTIM", "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(victim.stdout.take().unwrap()));
    let line =
        lines.map_while(Result::ok).find_map(|line| Some(line.split_once("victim: ")?.1.to_owned())).unwrap();
    victim.kill().unwrap();
    victim.wait().unwrap();
    let (root, pids) = line.split_once(' ').unwrap();
    let pids: Vec<i32> = serde_json::from_str(pids).unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    // The janitor is no child of this process: there is nothing to wait on but the effect.
    while std::path::Path::new(root).exists() || pids.iter().copied().any(is_running) {
        assert!(Instant::now() < deadline, "{root} or one of {pids:?} is still there");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether a process runs; one that has ended may wait long for a parent that is no longer there.
fn is_running(pid: i32) -> bool {
    let status = fs_err::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    is_there(pid) && !status.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
}
