//! What several benchmarks share: programs that run beside each other, and requests to them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use rustix::process::{Pid, Signal, kill_process};

pub(crate) const CONNECTIONS: usize = 16;
pub(crate) const LOAD: Duration = Duration::from_millis(500);
pub(crate) const WARM_UP: Duration = Duration::from_millis(200);

/// Starts a program that writes its coverage to a folder.
pub(crate) fn spawn(command: &mut Command, coverdir: &Path) -> Result<Child> {
    command.env("GOCOVERDIR", coverdir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.spawn().with_context(|| format!("{command:?}"))
}

/// Sends a signal to a program.
pub(crate) fn signal(child: &Child, signal: Signal) -> Result<()> {
    Ok(kill_process(Pid::from_child(child), signal)?)
}

/// The first line that a process prints.
pub(crate) fn first_line(child: &mut Child) -> Result<String> {
    let out = child.stdout.as_mut().context("its output is piped")?;
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line)?;
    ensure!(!line.is_empty(), "it printed nothing");
    Ok(line.trim_end().to_owned())
}

/// How long processes that have ended, and those that these have waited for, have been on processors.
pub(crate) fn processor_time() -> Result<Duration> {
    let used = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let micros = (used.user_time() + used.system_time()).num_microseconds();
    Ok(Duration::from_micros(micros.try_into()?))
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// How many requests a server has answered.
#[derive(Default)]
pub(crate) struct Answered {
    pub(crate) all: usize,
    /// After the warm-up.
    pub(crate) in_time: usize,
}

/// Asks a server on several connections, one request after the other on each.
pub(crate) fn load(address: &str) -> Result<Answered> {
    let begin = Instant::now() + WARM_UP;
    let end = begin + LOAD;
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..CONNECTIONS).map(|_| scope.spawn(move || requests(address, begin, end))).collect();
        let mut sum = Answered::default();
        for thread in threads {
            let answered = thread.join().map_err(|_| anyhow!("a connection's thread has panicked"))??;
            sum.all += answered.all;
            sum.in_time += answered.in_time;
        }
        Ok(sum)
    })
}

/// Asks until a time; what is answered from another on is in time.
fn requests(address: &str, begin: Instant, end: Instant) -> Result<Answered> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut answers = BufReader::new(&stream);
    let mut answered = Answered::default();
    let (mut line, mut body) = (String::new(), Vec::new());
    loop {
        (&stream).write_all(b"GET / HTTP/1.1\r\nHost: server\r\n\r\n")?;
        let mut length = 0;
        loop {
            line.clear();
            answers.read_line(&mut line)?;
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse()?;
            }
            if line.trim().is_empty() {
                break;
            }
        }
        ensure!(length > 0, "the server has no answer");
        body.resize(length, 0);
        answers.read_exact(&mut body)?;
        answered.all += 1;
        let now = Instant::now();
        if now >= end {
            return Ok(answered);
        }
        answered.in_time += usize::from(now >= begin);
    }
}

/// The median, between what a quarter is below and a quarter above.
pub(crate) fn quartiles(figures: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| figures[(figures.len() - 1) * quarter / 4])
}
