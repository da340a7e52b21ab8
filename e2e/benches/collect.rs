//! podcov-collect at 20 and at 1,000 pods: wall time, processor time and peak memory, beside the shell script's
//! way (one `kubectl exec … tar` after the other) at 20.
//!
//! The pods are the embedded cluster's: folders without a process, so that a thousand of them fit one machine. The
//! cluster runs on the same processors, and what it takes to run sh, tar and gzip for each pod is in the times.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use podcov_e2e::{World, on_path};
use podcov_testbed::FixedPod;
use serde_json::json;
use tokio::process::Command;

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        println!("{:<34}{:>8}{:>10}{:>12}{:>14}", "", "pods", "seconds", "ms a pod", "peak memory");
        let twenty = collect(20).await?;
        let thousand = collect(1000).await?;
        println!(
            "memory at 1,000 pods is {:.2} times that at 20",
            thousand.peak_kib as f64 / twenty.peak_kib as f64
        );
        if let Some(kubectl) = shell_script(20).await? {
            println!(
                "at 20 pods podcov-collect is {:.1} times as fast as the script",
                kubectl.as_secs_f64() / twenty.took.as_secs_f64()
            );
        }
        Ok(())
    })
}

struct Measured {
    took: Duration,
    peak_kib: u64,
}

async fn world(pods: usize) -> Result<World> {
    let world = World::new().await?;
    let fixtures = podcov_e2e::top().join("crates/covdata/tests/fixtures/atomic");
    for n in 0..pods {
        let folder = world.dir().join(format!("pods/{n}"));
        fs::create_dir_all(&folder)?;
        for file in [
            "covmeta.62ff98db792937fd37f18adced298d04",
            "covcounters.62ff98db792937fd37f18adced298d04.19644.1795224885693041480",
        ] {
            fs::copy(fixtures.join(file), folder.join(file))?;
        }
        let running = json!({"running": {"startedAt": "2026-01-01T00:00:00Z"}});
        let pod = json!({
            "metadata": {"namespace": "default", "name": format!("pod-{n:04}"), "labels": {"skaffold.dev/run-id": "bench"}},
            "spec": {"nodeName": "node", "containers": [{"name": "app", "env": [{"name": "GOCOVERDIR", "value": "/coverage-data"}]}]},
            "status": {"phase": "Running", "containerStatuses": [
                {"name": "app", "image": "i", "imageID": "i", "ready": true, "restartCount": 0, "state": running}]}
        });
        world.bed.add_pod(FixedPod::new(serde_json::from_value(pod)?).mount(
            "app",
            "/coverage-data",
            folder,
        ))?;
    }
    Ok(world)
}

async fn collect(pods: usize) -> Result<Measured> {
    let world = world(pods).await?;
    let mut command = world.command("podcov-collect", ["--run-id", "bench"]);
    command.stderr(std::process::Stdio::inherit());
    let begun = Instant::now();
    let mut child = command.spawn().context("podcov-collect: `make bench` builds it")?;
    let pid = child.id().context("it has ended")?;
    let mut peak_kib = 0;
    let status = loop {
        // The kernel keeps the peak itself, and tells it as long as the process is there: the last look counts.
        match tokio::time::timeout(Duration::from_millis(2), child.wait()).await {
            Ok(status) => break status?,
            Err(_) => peak_kib = peak(pid).unwrap_or(peak_kib),
        }
    };
    let took = begun.elapsed();
    ensure!(status.success(), "podcov-collect: {status}");
    println!(
        "{:<34}{pods:>8}{:>10.2}{:>12.1}{:>10.1} MiB",
        "podcov-collect",
        took.as_secs_f64(),
        took.as_secs_f64() * 1000.0 / pods as f64,
        peak_kib as f64 / 1024.0
    );
    Ok(Measured { took, peak_kib })
}

fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// What the tutorial's script does: one pod after the other. `None` where there is no kubectl.
async fn shell_script(pods: usize) -> Result<Option<Duration>> {
    if !on_path("kubectl") {
        println!("skipped: the script's way needs kubectl, which is not on PATH");
        return Ok(None);
    }
    let world = world(pods).await?;
    let begun = Instant::now();
    for n in 0..pods {
        let folder = world.dir().join(format!("script/{n}"));
        fs::create_dir_all(&folder)?;
        run_script(world.bed.kubeconfig(), n, &folder).await?;
    }
    let took = begun.elapsed();
    println!(
        "{:<34}{pods:>8}{:>10.2}{:>12.1}",
        "kubectl exec … tar, in turn",
        took.as_secs_f64(),
        took.as_secs_f64() * 1000.0 / pods as f64
    );
    Ok(Some(took))
}

async fn run_script(kubeconfig: &Path, n: usize, folder: &Path) -> Result<()> {
    let script = format!(
        "set -o pipefail; kubectl exec pod-{n:04} -c app -- tar -C /coverage-data -cf - . | tar -xf - -C {}",
        folder.display()
    );
    let status = Command::new("bash").args(["-c", &script]).env("KUBECONFIG", kubeconfig).status().await?;
    ensure!(status.success(), "the script failed: {status}");
    Ok(())
}
