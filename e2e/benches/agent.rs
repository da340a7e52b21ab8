//! podcov-agent as it goes into images (target/agent, static) beside the program alone: size, memory, and what it takes
//! from the program, which is e2e/measured, built with `-cover -covermode=atomic` and writing its coverage either way.
//!
//! Every time is that of the program alone, of the program under the agent, and of the program alone once more, in
//! turn and in another order each round: how far the two alone are apart is what the machine itself does. A ratio is
//! the median of the rounds' ratios to the first alone, and in brackets the middle half of them. Processor time is that
//! of the agent and the program together; what else goes on on the machine disturbs it least.
//!
//! `make agent-sizes` builds the agents with fewer clouds. PODCOV_BENCH_DATA names a folder with a large program's
//! coverage files to upload.

mod shared;

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use podcov_e2e::{go_build, top};
use rustix::process::{Pid, Signal, kill_process};
use shared::{
    CONNECTIONS, LOAD, WARM_UP, first_line, load, millis, processor_time, quartiles, signal, spawn,
};
use tempfile::TempDir;
use tokio::time::sleep;

/// The agent's flags, but for memory. Port 0, for the usual one may be taken.
const FLAGS: [&str; 1] = ["--control=127.0.0.1:0"];

const STARTS: usize = 300;
const LOADS: usize = 45;
const COMPUTATIONS: usize = 45;

fn main() -> Result<()> {
    let bench = Bench::new()?;
    bench.sizes()?;
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(bench.memory())?;
    println!(
        "\n{:<42}{:>10}{:>10}{:>10}{:>24}{:>24}",
        "", "alone", "again", "agent", "ratio of the two alone", "agent to alone"
    );
    bench.starts()?;
    bench.throughput()?;
    bench.computation()
}

struct Bench {
    agent: PathBuf,
    program: PathBuf,
    dir: TempDir,
}

/// What the program runs under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Under {
    Nothing,
    NothingAgain,
    Agent,
}

impl Bench {
    fn new() -> Result<Self> {
        let agent = top().join("target/agent/bin/podcov-agent").canonicalize();
        let agent = agent.context("podcov-agent: `make agent` builds it")?;
        let program = go_build("e2e/measured", "measured", &["-cover", "-covermode=atomic"])?;
        let processor = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = processor.lines().find_map(|line| line.strip_prefix("model name\t: "));
        println!(
            "on {} cores of {}: podcov-agent run {} -- measured …",
            std::thread::available_parallelism()?,
            model.unwrap_or("an unknown processor"),
            FLAGS.join(" ")
        );
        Ok(Self { agent, program, dir: tempfile::tempdir()? })
    }

    /// A folder of that name, empty.
    fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.dir.path().join(name);
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir(&folder)?;
        Ok(folder)
    }

    fn sizes(&self) -> Result<()> {
        println!("\n{:<42}{:>10}{:>10}{:>22}", "size on disk", "bytes", "MB", "more than without");
        let size = |path: &Path| fs::metadata(path).map(|file| file.len()).ok();
        let variant = |name: &str| self.agent.with_file_name(format!("podcov-agent-{name}"));
        let none = size(&variant("none"));
        for (name, path) in [
            ("podcov-agent, file:// alone", variant("none")),
            ("    and gs://", variant("gcp")),
            ("    and az://", variant("azure")),
            ("    and s3://", variant("aws")),
            ("    and all three", self.agent.clone()),
            ("for comparison: the program itself", self.program.clone()),
        ] {
            let Some(bytes) = size(&path) else {
                println!("{name:<42}{:>10}", "not built");
                continue;
            };
            let more = match none {
                Some(none) if bytes > none && path != self.program => (bytes - none).to_string(),
                _ => String::new(),
            };
            println!("{name:<42}{bytes:>10}{:>10.2}{more:>22}", bytes as f64 / 1e6);
        }
        if none.is_none() {
            println!("`make agent-sizes` builds the others");
        }
        Ok(())
    }

    async fn memory(&self) -> Result<()> {
        println!(
            "\n{:<42}{:>10}{:>10}{:>10}{:>24}",
            "the agent's memory, MB", "resident", "its own", "peak", "files uploaded"
        );
        let idle = self.idle().await?;
        println!("{:<42}{idle}", "idle, gs:// and control endpoint set");
        let small = top().join("crates/covdata/tests/fixtures/atomic");
        for (name, data) in [("a small program", Some(small)), ("a large one", large())] {
            let Some(data) = data else {
                println!("skipped: {name}: PODCOV_BENCH_DATA names no folder");
                continue;
            };
            let (memory, count, bytes) = self.uploaded(&data).await?;
            let files = format!("{count} of {:.0} kB", bytes as f64 / 1000.0);
            println!("{:<42}{memory}{files:>24}", format!("after upload to file://: {name}"));
        }
        Ok(())
    }

    /// While the program waits and nothing has been uploaded.
    async fn idle(&self) -> Result<Memory> {
        let flags = ["--storage=gs://bucket/folder", FLAGS[0]];
        let mut agent = self.start(&flags, "wait", &self.folder("idle")?)?;
        first_line(&mut agent)?;
        // Being idle is no event. By then it has been for long.
        sleep(Duration::from_millis(500)).await;
        let memory = Memory::of(agent.id())?;
        // It would try to upload when the program ends.
        kill_process(child_of(agent.id())?, Signal::KILL)?;
        agent.kill()?;
        agent.wait()?;
        Ok(memory)
    }

    /// The files of a folder, uploaded on a stop signal, of which the program takes no notice. Gives their number and
    /// bytes too.
    async fn uploaded(&self, data: &Path) -> Result<(Memory, usize, u64)> {
        let (folder, storage) = (self.folder("coverage")?, self.folder("storage")?);
        for entry in fs::read_dir(data)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("cov") {
                fs::copy(entry.path(), folder.join(entry.file_name()))?;
            }
        }
        let address = format!("--storage=file://{}", storage.display());
        let flags = [&address, FLAGS[0], "--run=r", "--namespace=n", "--pod=p", "--container=c"];
        let mut agent = self.start(&flags, "wait", &folder)?;
        first_line(&mut agent)?;
        let mut bytes = 0;
        let mut count = 0;
        for entry in fs::read_dir(&folder)? {
            bytes += entry?.metadata()?.len();
            count += 1;
        }
        signal(&agent, Signal::TERM)?;
        let starts = storage.join("r/n/p/c");
        let has_manifest = || {
            let starts = fs::read_dir(&starts).into_iter().flatten().flatten();
            starts.into_iter().any(|start| start.path().join("manifest.json").exists())
        };
        while !has_manifest() {
            ensure!(agent.try_wait()?.is_none(), "the agent has ended");
            sleep(Duration::from_millis(5)).await;
        }
        // It reads the manifest back, which is small.
        sleep(Duration::from_millis(100)).await;
        let memory = Memory::of(agent.id())?;
        signal(&agent, Signal::USR2)?;
        ensure!(agent.wait()?.success(), "the program has failed");
        Ok((memory, count, bytes))
    }

    /// The program under the agent.
    fn start(&self, flags: &[&str], what: &str, coverdir: &Path) -> Result<Child> {
        let mut command = Command::new(&self.agent);
        command.arg("run").args(flags).arg("--").arg(&self.program).arg(what);
        spawn(&mut command, coverdir)
    }

    /// The program, under the agent or not.
    fn run(&self, under: Under, what: &str, coverdir: &Path) -> Result<Child> {
        match under {
            Under::Nothing | Under::NothingAgain => spawn(Command::new(&self.program).arg(what), coverdir),
            Under::Agent => self.start(&FLAGS, what, coverdir),
        }
    }

    /// From the start of the process to the program's first line, and to the end.
    fn starts(&self) -> Result<()> {
        let [mut line, mut end, mut processor]: [Compared; 3] = Default::default();
        for round in 0..STARTS {
            // Coverage files of one run each, for a folder that fills makes later ones slower.
            let coverdir = self.folder("start")?;
            for under in order(round) {
                let (begun, before) = (Instant::now(), processor_time()?);
                let mut child = self.run(under, "line", &coverdir)?;
                first_line(&mut child)?;
                line.add(under, millis(begun.elapsed()));
                ensure!(child.wait()?.success(), "the program has failed");
                end.add(under, millis(begun.elapsed()));
                processor.add(under, millis(processor_time()? - before));
            }
        }
        println!("start-up, {STARTS} rounds");
        line.print("    ms to the program's first line", 2, true);
        end.print("    ms to the end", 2, true);
        processor.print("    ms of processor time", 2, true);
        Ok(())
    }

    /// Requests a second of an HTTP server.
    fn throughput(&self) -> Result<()> {
        let coverdir = self.folder("serve")?;
        let [mut rates, mut processor]: [Compared; 2] = Default::default();
        let mut busy = 0;
        for round in 0..LOADS {
            for under in order(round) {
                let before = processor_time()?;
                let mut child = self.run(under, "serve", &coverdir)?;
                let address = first_line(&mut child)?;
                let on_processor = nanos_on_processor(child.id())?;
                let answered = load(&address)?;
                if under == Under::Agent {
                    busy += nanos_on_processor(child.id())? - on_processor;
                }
                signal(&child, Signal::TERM)?;
                ensure!(child.wait()?.success(), "the server has failed");
                rates.add(under, answered.in_time as f64 / LOAD.as_secs_f64());
                processor.add(under, millis(processor_time()? - before) * 1000.0 / answered.all as f64);
            }
        }
        println!("{CONNECTIONS} connections to an HTTP server, {LOADS} rounds of {} ms", LOAD.as_millis());
        rates.print("    requests a second", 0, false);
        processor.print("    µs of processor time a request", 2, false);
        let micros = busy as f64 / 1000.0 / (LOADS as f64 * (WARM_UP + LOAD).as_secs_f64());
        println!("    of which the agent used {micros:.2} µs in a second");
        Ok(())
    }

    /// A program that needs nothing but the processor.
    fn computation(&self) -> Result<()> {
        let coverdir = self.folder("compute")?;
        let [mut times, mut processor]: [Compared; 2] = Default::default();
        for round in 0..COMPUTATIONS {
            for under in order(round) {
                let (begun, before) = (Instant::now(), processor_time()?);
                let mut child = self.run(under, "compute", &coverdir)?;
                first_line(&mut child)?;
                ensure!(child.wait()?.success(), "the program has failed");
                times.add(under, millis(begun.elapsed()));
                processor.add(under, millis(processor_time()? - before));
            }
        }
        println!("a computation, {COMPUTATIONS} rounds");
        times.print("    ms to the end", 1, true);
        processor.print("    ms of processor time", 1, true);
        Ok(())
    }
}

/// A large program's coverage files.
fn large() -> Option<PathBuf> {
    std::env::var_os("PODCOV_BENCH_DATA").map(PathBuf::from)
}

/// Each place in the round comes to each in turn.
fn order(round: usize) -> [Under; 3] {
    let mut order = [Under::Nothing, Under::Agent, Under::NothingAgain];
    order.rotate_left(round % 3);
    order
}

/// The only child that a process has.
fn child_of(pid: u32) -> Result<Pid> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"))?;
    Pid::from_raw(children.trim().parse()?).context("it has a number")
}

/// A process's memory as the kernel reports it, in MB.
struct Memory {
    resident: f64,
    /// Without the pages of the binary, which all processes of a node that run it share.
    own: f64,
    peak: f64,
}

impl Memory {
    fn of(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next()).context("it is not there")?;
            anyhow::Ok(kib.parse::<f64>()? * 1024.0 / 1e6)
        };
        Ok(Self { resident: field("VmRSS:")?, own: field("RssAnon:")?, peak: field("VmHWM:")? })
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:>10.2}{:>10.2}{:>10.2}", self.resident, self.own, self.peak)
    }
}

/// How long the first thread of a process, and the agent has no other then, has been on a processor.
fn nanos_on_processor(pid: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    let nanos = stat.split_whitespace().next().context("three numbers")?.parse()?;
    ensure!(nanos > 0, "the kernel does not count that");
    Ok(nanos)
}

/// A figure of all rounds.
#[derive(Default)]
struct Compared {
    alone: Vec<f64>,
    again: Vec<f64>,
    agent: Vec<f64>,
}

impl Compared {
    fn add(&mut self, under: Under, figure: f64) {
        match under {
            Under::Nothing => self.alone.push(figure),
            Under::NothingAgain => self.again.push(figure),
            Under::Agent => self.agent.push(figure),
        }
    }

    /// With the difference of the medians where that says more than a ratio.
    fn print(&self, name: &str, decimals: usize, difference: bool) {
        let ratio = |of: &[f64]| {
            let [low, middle, high] = quartiles(of.iter().zip(&self.alone).map(|(of, alone)| of / alone));
            format!("{middle:.3} ({low:.3}–{high:.3})")
        };
        let [alone, again, agent] =
            [&self.alone, &self.again, &self.agent].map(|figures| quartiles(figures.iter().copied())[1]);
        println!(
            "{name:<42}{alone:>10.decimals$}{again:>10.decimals$}{agent:>10.decimals$}{:>24}{:>24}",
            ratio(&self.again),
            ratio(&self.agent)
        );
        if difference {
            println!(
                "{:<42}{:>10}{:>+10.2}{:>+10.2}",
                "    more than alone",
                "",
                again - alone,
                agent - alone
            );
        }
    }
}
