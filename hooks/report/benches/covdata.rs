//! Compares podcov-report with `go tool covdata`, with `go tool cover`, and with `cat`, which only reads the same files: wall
//! time (the median) and peak memory of the processes. Before they are measured, their results are compared.
//!
//! The large program is the `go` command itself, built here with coverage of all its packages, or the program whose
//! coverage files are in the folder of PODCOV_BENCH_DATA.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fs_err as fs;
use nix::sys::resource::{UsageWho, getrusage};
use tempfile::TempDir;

/// The first argument of this program when it measures one run of another: a process knows the peak memory of its
/// children only over all of them.
const MEASURE: &str = "--measure";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let done = match args.split_first() {
        Some((first, command)) if first == MEASURE => measure(command),
        _ => compare(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a command and prints its nanoseconds and its peak memory in KiB.
fn measure(command: &[String]) -> Result<()> {
    let (program, args) = command.split_first().context("a command")?;
    let begun = Instant::now();
    let status = Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    let took = begun.elapsed();
    ensure!(status.success(), "{command:?}: {status}");
    println!("{} {}", took.as_nanos(), getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss());
    Ok(())
}

struct Measured {
    took: Duration,
    peak_mib: f64,
}

/// A command to measure.
struct Case {
    command: Vec<String>,
    /// The folder that it writes into, empty each time: if a file is replaced, the system writes the new one to the
    /// disk at once, for each of the programs.
    folder: Option<PathBuf>,
}

impl Case {
    fn new(command: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        Self { command: command.into_iter().map(|part| part.as_ref().to_owned()).collect(), folder: None }
    }

    fn into(self, folder: &Path) -> Self {
        Self { folder: Some(folder.to_owned()), ..self }
    }

    fn once(&self) -> Result<(Duration, f64)> {
        if let Some(folder) = &self.folder {
            if folder.exists() {
                fs::remove_dir_all(folder)?;
            }
            fs::create_dir(folder)?;
        }
        let ended = Command::new(std::env::current_exe()?).arg(MEASURE).args(&self.command).output()?;
        ensure!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        let line = String::from_utf8(ended.stdout)?;
        let (nanos, kib) = line.trim().split_once(' ').context("two numbers")?;
        Ok((Duration::from_nanos(nanos.parse()?), kib.parse::<f64>()? / 1024.0))
    }
}

/// The median time of several runs of each command, and the largest peak memory. The commands run in turn, so that other
/// work of the machine has the same effect on all.
fn run<const N: usize>(cases: &[Case; N], runs: usize) -> Result<[Measured; N]> {
    let mut times = [const { Vec::new() }; N];
    let mut peaks = [0f64; N];
    for _ in 0..runs {
        for ((case, times), peak) in cases.iter().zip(&mut times).zip(&mut peaks) {
            let (took, peak_mib) = case.once()?;
            times.push(took);
            *peak = peak.max(peak_mib);
        }
    }
    let mut peaks = peaks.into_iter();
    Ok(times.map(|mut times| {
        times.sort();
        Measured { took: times[runs / 2], peak_mib: peaks.next().unwrap_or_default() }
    }))
}

fn compare() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let (module, small) = small(&dir)?;
    let large = match std::env::var_os("PODCOV_BENCH_DATA") {
        Some(folder) => PathBuf::from(folder),
        None => large(&dir)?,
    };
    println!("the large program's files: {}", large.display());
    let thousand = copies(&large, &dir.path().join("thousand"), 1_000)?;
    let varied = copies(&large, &dir.path().join("varied"), 1_000)?;
    vary(&varied)?;
    let ten_thousand = copies(&small, &dir.path().join("ten-thousand"), 10_000)?;

    // The tool itself, as the `go` command would only start it.
    let tool = output(Command::new("go").args(["tool", "-n", "covdata"]))?;
    ensure!(Path::new(tool.trim()).is_file(), "go tool -n covdata: {tool}");
    let ours = env!("CARGO_BIN_EXE_podcov-report");

    println!(
        "{:<36}{:>10}{:>10}{:>8}{:>10}{:>10}{:>10}{:>8}",
        "", "go", "podcov", "ratio", "go", "podcov", "cat", "times"
    );
    for (name, folder, runs) in [
        ("(a) a small program", &small, 21),
        ("(b) a large one", &large, 21),
        ("(c) 1,000 counter files of it", &thousand, 5),
        ("    the same, each with other counts", &varied, 5),
        ("(d) 10,000 of the small one", &ten_thousand, 5),
    ] {
        println!("{name}");
        let files = format!("cat {}/cov* >/dev/null", folder.display());
        let input = folder.display().to_string();
        for command in ["percent", "textfmt", "func", "merge"] {
            compare_results(tool.trim(), ours, command, &input, dir.path())?;
            let (out, copy) = (dir.path().join("out"), dir.path().join("copy"));
            let to = match command {
                "textfmt" => Some(out.join("cover.out")),
                "merge" => Some(out.clone()),
                _ => None,
            };
            let to = to.map(|path| path.display().to_string());
            let case = |program: &str| {
                let to = to.iter().flat_map(|to| ["-o", to]);
                Case::new([program, command, "-i", &input].into_iter().chain(to)).into(&out)
            };
            let cat = Case::new(["sh", "-c", &files]);
            let [cat, go, podcov] = run(&[cat, case(tool.trim()), case(ours)], runs)?;
            print(&format!("    {command}"), &go, &podcov, Some(&cat));
            if to.is_some() {
                let cp =
                    Case::new(["cp", "-r", &format!("{}/.", out.display()), &copy.display().to_string()]);
                let [cp] = run(&[cp.into(&copy)], runs)?;
                println!("    {:<32}{:>10.1} ms", "    cp of what it wrote", millis(cp.took));
            }
        }
    }

    let profile = dir.path().join("cover.out").display().to_string();
    output(Command::new(ours).args(["textfmt", "-o", &profile]).arg(&small))?;
    std::env::set_current_dir(module)?;
    // go tool cover names methods without their type, and tells two functions of one name apart.
    let words = |text: String| {
        let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let functions = lines.filter_map(|line| match line[..] {
            [place, name, percent] => {
                Some((place.to_owned(), name.rsplit('.').next()?.to_owned(), percent.to_owned()))
            }
            _ => None,
        });
        functions
            .filter(|(_, name, _)| !["init", "_", "(statements)"].contains(&name.as_str()))
            .collect::<Vec<_>>()
    };
    ensure!(
        words(output(Command::new("go").args(["tool", "cover", "-func", &profile]))?)
            == words(output(Command::new(ours).args(["func", &profile]))?),
        "func of a text profile: podcov-report and go tool cover print different things"
    );
    let cases = [Case::new(["go", "tool", "cover", "-func", &profile]), Case::new([ours, "func", &profile])];
    let [go, podcov] = run(&cases, 11)?;
    println!("(a) as a text profile, with the source");
    print("    func, beside go tool cover", &go, &podcov, None);
    Ok(())
}

/// Runs a command of both programs, and fails where they print or write different things.
fn compare_results(go: &str, podcov: &str, command: &str, input: &str, dir: &Path) -> Result<()> {
    let result = |program: &str, out: &Path| -> Result<Vec<String>> {
        fs::create_dir(out)?;
        let mut run = Command::new(program);
        run.args([command, "-i", input]);
        let file = out.join("cover.out");
        match command {
            "textfmt" => run.arg("-o").arg(&file),
            "merge" => run.arg("-o").arg(out),
            _ => &mut run,
        };
        let mut results = vec![output(&mut run)?];
        if command == "func" {
            // Where a file ends with a function and the next begins with one of the same name, Go merges the two.
            let is_init = |line: &&str| line.split_whitespace().nth(1) == Some("init");
            results = results[0].lines().filter(|line| !is_init(line)).map(str::to_owned).collect();
        }
        if command == "merge" {
            // The counter files hold functions in any order, and their names the time.
            let names = fs::read_dir(out)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
            let is_meta = |path: &&PathBuf| path.to_string_lossy().contains("covmeta.");
            results.extend(names.iter().filter(is_meta).map(|path| {
                let name = path.file_name().unwrap_or_default();
                format!("{name:?} {:?}", fs::read(path).map_err(|error| error.to_string()))
            }));
            results.sort();
            output(Command::new(go).arg("textfmt").arg("-i").arg(out).arg("-o").arg(&file))?;
        }
        if file.exists() {
            results.push(fs::read_to_string(file)?);
        }
        fs::remove_dir_all(out)?;
        Ok(results)
    };
    let same = result(go, &dir.join("of-go"))? == result(podcov, &dir.join("of-podcov"))?;
    ensure!(same, "{command} -i {input}: podcov-report and go tool covdata give different results");
    Ok(())
}

fn print(name: &str, go: &Measured, podcov: &Measured, cat: Option<&Measured>) {
    let ratio = go.took.as_secs_f64() / podcov.took.as_secs_f64();
    let beside_cat = cat.map_or_else(String::new, |cat| {
        let times = podcov.took.as_secs_f64() / cat.took.as_secs_f64();
        format!("{:>7.1} ms{times:>8.1}", millis(cat.took))
    });
    println!(
        "{name:<36}{:>7.1} ms{:>7.1} ms{ratio:>8.1}{:>6.0} MiB{:>6.0} MiB{beside_cat}",
        millis(go.took),
        millis(podcov.took),
        go.peak_mib,
        podcov.peak_mib
    );
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn output(command: &mut Command) -> Result<String> {
    let ended = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(ended.status.success(), "{command:?}: {}", String::from_utf8_lossy(&ended.stderr));
    Ok(String::from_utf8(ended.stdout)?)
}

/// The sample module, and the coverage files of one run of one of its commands.
fn small(dir: &TempDir) -> Result<(PathBuf, PathBuf)> {
    let module = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../crates/covdata/tests/programs/sample");
    let (bin, data) = (dir.path().join("small-bin"), dir.path().join("small"));
    fs::create_dir(&data)?;
    build(&module, &bin, "./cmd/three", &[])?;
    output(Command::new(bin).env("GOCOVERDIR", &data))?;
    Ok((module, data))
}

/// The `go` command with coverage of all its packages, and the coverage files of some runs.
fn large(dir: &TempDir) -> Result<PathBuf> {
    println!(
        "building the go command with coverage of itself; PODCOV_BENCH_DATA names a folder to use instead"
    );
    let (bin, data) = (dir.path().join("large-bin"), dir.path().join("large"));
    fs::create_dir(&data)?;
    build(dir.path(), &bin, "cmd/go", &["-coverpkg=cmd/...,std"])?;
    for args in [&["list", "std"][..], &["version"]] {
        output(Command::new(&bin).args(args).env("GOCOVERDIR", &data))?;
    }
    Ok(data)
}

fn build(module: &Path, bin: &Path, package: &str, flags: &[&str]) -> Result<()> {
    let mut go = Command::new("go");
    go.args(["build", "-buildvcs=false", "-cover", "-covermode=atomic"]).args(flags);
    output(go.arg("-o").arg(bin).arg(package).current_dir(module)).map(drop)
}

/// The meta-data of a folder, and its largest counter file under many names.
fn copies(from: &Path, to: &Path, count: usize) -> Result<PathBuf> {
    fs::create_dir(to)?;
    let mut largest = (0, PathBuf::new());
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with("covmeta.") {
            fs::copy(&path, to.join(name))?;
        } else if name.starts_with("covcounters.") {
            largest = largest.max((fs::metadata(&path)?.len(), path));
        }
    }
    let name = largest.1.file_name().context("a counter file")?.to_string_lossy().into_owned();
    let (stem, nanos) = name.rsplit_once('.').context("a name of three parts")?;
    let (stem, _) = stem.rsplit_once('.').context("a name of four parts")?;
    for pid in 1..=count {
        fs::copy(&largest.1, to.join(format!("{stem}.{pid}.{nanos}")))?;
    }
    Ok(to.to_path_buf())
}

/// Gives each counter file of a folder other counts: about a third of the functions that ran, at random. podcov-report
/// compares a binary's counter files with the first of them, and copies would be its best case.
fn vary(folder: &Path) -> Result<()> {
    let mut random = 1u64;
    let mut below = |limit: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % limit
    };
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if !path.file_name().unwrap_or_default().to_string_lossy().starts_with("covcounters.") {
            continue;
        }
        let mut bytes = fs::read(&path)?;
        let length =
            |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]) as usize;
        // The strings and the arguments come after the file's header of 32 bytes and the segment's of 16.
        let mut at = (48 + length(40) + length(44)).next_multiple_of(4);
        let functions = length(32);
        for _ in 0..functions {
            let mut number = || {
                let start = at;
                let mut value = 0;
                while bytes[at] >= 0x80 {
                    value |= usize::from(bytes[at] & 0x7f) << (7 * (at - start));
                    at += 1;
                }
                value |= usize::from(bytes[at]) << (7 * (at - start));
                at += 1;
                value
            };
            let counters = number();
            number();
            number();
            let change = below(3) == 0;
            for _ in 0..counters {
                if change && (1..0x80).contains(&bytes[at]) {
                    bytes[at] = 1 + below(100) as u8;
                }
                while bytes[at] >= 0x80 {
                    at += 1;
                }
                at += 1;
            }
        }
        fs::write(path, bytes)?;
    }
    Ok(())
}
