//! Reading the memory of a container's processes through a shell: the container's own, or that of an ephemeral container
//! beside it.
//!
//! The shell lists the processes, then hands out pages of 4096 bytes of what is in `/proc/PID`, with dd. Every dd seeks by
//! whole blocks. Which pages are needed is decided here, and many are asked for at a time, so that a slow connection costs
//! few round trips.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use livecov::{Range, Source, Stat};
use memchr::memmem;
use podcov_cluster::{Cluster, Container, Error, Exec, Output};
use podcov_control::Nonce;
use tokio::time::Instant;

use crate::session::{BESIDE_SCRIPT, OURS_SCRIPT, without_comments};

const SCRIPT: &str = include_str!("memory.sh");

/// A shell that answers nothing for this long counts as broken.
pub(crate) const STALL: Duration = Duration::from_secs(30);

/// The most of an answer that is kept, in bytes: more than a reader asks for at a time.
const MOST: usize = 600 << 20;

/// The size of the pages.
const PAGE: u64 = 4096;

/// How many files or ranges are asked for at a time.
const AT_A_TIME: usize = 500;

/// The script's exit code where the image has no dd.
const NO_DD: i32 = 44;

/// In which container a shell reads.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place<'a> {
    /// In the one that is meant.
    Own,
    /// In one beside that which has this ID.
    Beside(&'a str),
}

/// A shell that hands out pages.
pub(crate) struct Memory {
    exec: Exec,
    unread: Vec<u8>,
    stderr: String,
    /// What ends each answer.
    end: Vec<u8>,
    /// How often it was asked and an answer waited for.
    pub(crate) trips: u32,
    /// How often dd has run.
    pub(crate) reads: usize,
    /// How many bytes have come.
    pub(crate) bytes: usize,
}

/// What the shell prints about the container first.
#[derive(Debug, Default)]
pub(crate) struct Overview {
    /// The shell's user and group.
    pub(crate) user: Option<(u32, u32)>,
    /// `kernel.yama.ptrace_scope` of the node; `None` where it has none.
    pub(crate) ptrace_scope: Option<u32>,
    /// When the node was started, in seconds since 1970.
    pub(crate) btime: Option<u64>,
    /// How long it has been up since, in hundredths of a second.
    pub(crate) uptime: Option<u64>,
    pub(crate) processes: Vec<Listed>,
}

/// A process of the container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its ID for the shell.
    pub(crate) pid: u32,
    /// Its ID for itself.
    pub(crate) seen: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// It may be a Go program, by the signals that it catches.
    pub(crate) may_be_go: bool,
    /// The text of `/proc/PID/stat`.
    pub(crate) stat: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum MemoryError {
    /// The connection or the shell failed.
    Exec(Error),
    /// The image has no dd.
    NoDd,
    /// The script ended, with this exit code and these last words.
    Ended(i32, String),
}

impl From<Error> for MemoryError {
    fn from(error: Error) -> Self {
        Self::Exec(error)
    }
}

/// What is asked for: consecutive pages of a file of `/proc`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pages {
    /// Its path from `/proc`.
    pub(crate) file: String,
    /// The number of the first page.
    pub(crate) first: u64,
    /// How many.
    pub(crate) count: u64,
}

impl Memory {
    /// Starts a shell, and has it say what there is.
    pub(crate) async fn open(
        cluster: &Cluster,
        container: &Container,
        place: Place<'_>,
        shares_process_ids: bool,
    ) -> Result<(Self, Overview), MemoryError> {
        let script = without_comments(&[OURS_SCRIPT, BESIDE_SCRIPT, SCRIPT]);
        let shared = if shares_process_ids { "shared" } else { "" };
        let (beside, id) = match place {
            Place::Own => ("", ""),
            Place::Beside(id) => ("beside", id),
        };
        let end = Nonce::random().to_string();
        let command = ["sh", "-c", &script, "podcov", "/proc", shared, beside, id, &end];
        let exec = cluster.exec(container, &command, true, STALL).await?;
        let end = format!("{end}\n").into_bytes();
        let mut memory =
            Self { exec, unread: Vec::new(), stderr: String::new(), end, trips: 1, reads: 0, bytes: 0 };
        let mut overview = Overview::default();
        loop {
            let end = loop {
                match self::line(&memory.unread) {
                    Some(end) => break end,
                    None => memory.more().await?,
                }
            };
            let line: Vec<u8> = memory.unread.drain(..end).collect();
            if !overview.add(String::from_utf8_lossy(&line).trim_end_matches('\n')) {
                return Ok((memory, overview));
            }
        }
    }

    /// The bytes of some pages, as far as they can be read.
    pub(crate) async fn pages(&mut self, requested: &[Pages]) -> Result<Vec<Vec<u8>>, MemoryError> {
        let mut answers = Vec::with_capacity(requested.len());
        // No more at a time than the shell's standard input holds while nobody reads its output.
        for requested in requested.chunks(AT_A_TIME) {
            let lines =
                requested.iter().map(|Pages { file, first, count }| format!("{file} {first} {count}\n"));
            self.exec.write(lines.collect::<String>().as_bytes()).await?;
            self.trips += 1;
            self.reads += requested.len();
            for _ in requested {
                answers.push(self.answer().await?);
            }
        }
        Ok(answers)
    }

    /// What comes before the next end of an answer.
    async fn answer(&mut self) -> Result<Vec<u8>, MemoryError> {
        let mut searched = 0;
        loop {
            if let Some(at) = memmem::find(&self.unread[searched..], &self.end) {
                let rest = self.unread.split_off(searched + at + self.end.len());
                let mut answer = std::mem::replace(&mut self.unread, rest);
                answer.truncate(searched + at);
                return Ok(answer);
            }
            searched = (self.unread.len() + 1).saturating_sub(self.end.len());
            self.more().await?;
        }
    }

    /// Waits for more output.
    async fn more(&mut self) -> Result<(), MemoryError> {
        loop {
            match self.exec.next().await? {
                Some(Output::Stdout(data)) if self.unread.len() + data.len() <= MOST => {
                    self.unread.extend_from_slice(&data);
                    self.bytes += data.len();
                    return Ok(());
                }
                Some(Output::Stdout(_)) => {
                    return Err(Error::Broken("the shell does not stop talking".into()).into());
                }
                Some(Output::Stderr(data)) if self.stderr.len() < 4096 => {
                    self.stderr.push_str(&String::from_utf8_lossy(&data));
                }
                Some(Output::Stderr(_)) => {}
                None => {
                    return Err(match self.exec.ended()? {
                        NO_DD => MemoryError::NoDd,
                        code => MemoryError::Ended(code, self.stderr.trim().to_owned()),
                    });
                }
            }
        }
    }
}

/// Where the first line of some bytes ends.
fn line(bytes: &[u8]) -> Option<usize> {
    memchr::memchr(b'\n', bytes).map(|at| at + 1)
}

impl Overview {
    /// Adds what a line says. Gives whether more lines follow. A line that says nothing known is left out: names of files
    /// and processes are in some.
    fn add(&mut self, line: &str) -> bool {
        if line == "." {
            return false;
        }
        let (key, rest) = line.split_once(' ').unwrap_or((line, ""));
        let first = rest.split(' ').next().unwrap_or_default();
        let numbers = || rest.split(' ').filter_map(|number| number.parse().ok()).collect::<Vec<u32>>();
        match key {
            "self" => self.user = numbers().try_into().ok().map(|[uid, gid]: [u32; 2]| (uid, gid)),
            "sys/kernel/yama/ptrace_scope" => self.ptrace_scope = first.parse().ok(),
            "btime" => self.btime = first.parse().ok(),
            "uptime" => {
                let digits: String = first.split('.').collect();
                self.uptime = digits.parse().ok();
            }
            "process" => {
                if let [pid, seen, uid, gid, go] = numbers()[..] {
                    let may_be_go = go == 1;
                    self.processes.push(Listed { pid, seen, uid, gid, may_be_go, stat: String::new() });
                }
            }
            _ => {
                if let Some(last) = self.processes.last_mut()
                    && key.strip_suffix("/stat") == Some(&last.pid.to_string())
                {
                    last.stat = rest.to_owned();
                }
            }
        }
        true
    }

    /// The time now, in nanoseconds since 1970, by the clock of the node, which is that of the files that programs write;
    /// `listed` is when this was listed. By this machine's clock if the node does not tell.
    pub(crate) fn now(&self, listed: Instant) -> u64 {
        let then = self.btime.zip(self.uptime).map(|(btime, uptime)| {
            Duration::from_secs(btime).saturating_add(Duration::from_millis(uptime.saturating_mul(10)))
        });
        let here = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // A container may have an uptime of its own.
        let starts = self.processes.iter().filter_map(|process| Stat::parse(process.stat.as_bytes()));
        let last_start = starts.map(|stat| stat.start_ticks).max().unwrap_or_default();
        let then = then.filter(|_| self.uptime >= Some(last_start));
        let now = then.map_or_else(here, |then| then.saturating_add(listed.elapsed()));
        u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The pages of a process that hold a range.
pub(crate) fn pages_of(pid: u32, range: Range) -> Pages {
    let file = match range.source {
        Source::File => format!("{pid}/exe"),
        Source::Memory => format!("{pid}/mem"),
    };
    let first = range.start / PAGE;
    let last = range.start.saturating_add(range.length.saturating_sub(1)) / PAGE;
    Pages { file, first, count: last + 1 - first }
}

/// The bytes of a range out of those of pages that hold it, as far as they could be read.
pub(crate) fn bytes_of(range: Range, pages: &Pages, answer: &[u8]) -> Vec<u8> {
    let skip = usize::try_from(range.start - pages.first * PAGE).unwrap_or(usize::MAX);
    let bytes = answer.get(skip..).unwrap_or_default();
    bytes[..bytes.len().min(usize::try_from(range.length).unwrap_or(usize::MAX))].to_vec()
}

/// Pages that hold what several readers need: ranges that share a page are asked for together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) pages: Vec<Pages>,
    /// Whose range it is, and in which of the pages.
    ranges: Vec<(usize, Range, usize)>,
}

impl Batch {
    /// Adds the ranges that the reader of a process needs. `number` tells it from other readers.
    pub(crate) fn add(&mut self, number: usize, pid: u32, mut ranges: Vec<Range>) {
        ranges.sort_unstable();
        for range in ranges {
            let pages = pages_of(pid, range);
            match self.pages.last_mut() {
                // dd stops at the first page that cannot be read, so neighbours stay apart.
                Some(last) if last.file == pages.file && pages.first < last.first + last.count => {
                    last.count = last.count.max(pages.first + pages.count - last.first);
                }
                _ => self.pages.push(pages),
            }
            self.ranges.push((number, range, self.pages.len() - 1));
        }
    }

    /// What was asked for, out of the answers: whose range it is, the range, and its bytes.
    pub(crate) fn ranges(&self, answers: &[Vec<u8>]) -> impl Iterator<Item = (usize, Range, Vec<u8>)> {
        self.ranges
            .iter()
            .map(|(number, range, at)| (*number, *range, bytes_of(*range, &self.pages[*at], &answers[*at])))
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;
    use crate::session::tests::{APP, COVERED_APP, FakeProcess, OTHER, Proc, SHELL, WORKER, shells};

    /// What the script says first, which must be the same in each shell.
    fn overview(proc: &Proc, shared: &str, beside: &str, id: &str) -> Overview {
        let folder = proc.folder.path();
        let script = without_comments(&[OURS_SCRIPT, BESIDE_SCRIPT, SCRIPT]);
        let said = shells().into_iter().map(|shell| {
            let mut command = Command::new(&shell[0]);
            command
                .args(&shell[1..])
                .args(["-c", &script, "podcov"])
                .arg(folder)
                .args([shared, beside, id, "end"]);
            let output = command.stdin(Stdio::null()).output().unwrap();
            assert!(output.status.success(), "{shell:?}: {output:?}");
            String::from_utf8(output.stdout).unwrap()
        });
        let said: Vec<String> = said.collect();
        assert!(said.iter().all(|one| *one == said[0]), "{said:?}");
        let mut overview = Overview::default();
        assert_eq!(said[0].lines().filter(|line| !overview.add(line)).count(), 1, "{said:?}");
        overview
    }

    fn pids(overview: &Overview) -> Vec<u32> {
        overview.processes.iter().map(|process| process.pid).collect()
    }

    #[test]
    fn the_shell_says_what_there_is() {
        let proc = Proc::new("0::/").with(&COVERED_APP);
        for (path, text) in [
            ("sys/kernel/yama/ptrace_scope", "1\n"),
            ("uptime", "5024.07 9000.00\n"),
            ("stat", "cpu 1 2\nbtime 1795000000\nprocesses 7\n"),
            (&format!("{APP}/stat"), "5000007 (a b) S 1 2\n"),
        ] {
            let path = proc.folder.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        let overview = overview(&proc, "", "", "");
        assert_eq!(overview.user, Some((7, 17)));
        assert_eq!(
            (overview.ptrace_scope, overview.btime, overview.uptime),
            (Some(1), Some(1_795_000_000), Some(502_407))
        );
        let stat = "5000007 (a b) S 1 2".to_owned();
        assert_eq!(
            overview.processes,
            [Listed { pid: APP, seen: 3, uid: 7, gid: 17, may_be_go: true, stat }]
        );
        let now = Instant::now();
        assert!(overview.now(now) >= 1_795_005_024_070_000_000);
        assert!(Overview { btime: Some(u64::MAX), ..overview }.now(now) >= 1_795_005_024_070_000_000);
    }

    /// An ephemeral container is another one: its shell, and what else is in it, is not meant.
    #[test]
    fn the_processes_of_the_container_beside_are_told_by_its_id() {
        let of = |pid, cgroup| FakeProcess { pid, cgroup, mounts: None, ..COVERED_APP };
        // Containers that see one another's control groups, and those that do not.
        for (own, beside, other) in [
            ("0::/", "0::/../cri-containerd-4d5e.scope", "0::/../cri-containerd-77aa.scope"),
            ("0::/kubepods/pod1/11", "0::/kubepods/pod1/4d5e", "0::/kubepods/pod1/77aa"),
        ] {
            let proc = Proc::new(own)
                .with(&of(1, beside))
                .with(&of(APP, beside))
                .with(&of(WORKER, own))
                .with(&of(OTHER, other));
            assert_eq!(pids(&overview(&proc, "", "beside", "4d5e")), [1, APP]);
            assert_eq!(pids(&overview(&proc, "shared", "beside", "77aa")), [OTHER]);
        }
        // Without control groups, what is seen is the container's, unless process IDs are shared.
        let proc = Proc::new("").with(&FakeProcess { cgroup: "", ..SHELL }).with(&of(APP, ""));
        assert_eq!(pids(&overview(&proc, "", "beside", "4d5e")), [1, APP]);
        assert_eq!(pids(&overview(&proc, "shared", "beside", "4d5e")), [0; 0]);
    }

    /// Pages that are not there end what dd reads, so what lies apart is asked for apart.
    #[test]
    fn ranges_that_share_pages_are_asked_for_together() {
        let range = |source, start, length| Range { source, start, length };
        let memory = |start, length| range(Source::Memory, start, length);
        let mut batch = Batch::default();
        let ranges = vec![
            memory(0x3010, 8),
            memory(0x1ff0, 0x20),
            range(Source::File, 64, 8),
            memory(0x2800, 16),
            memory(0x4000, 1),
        ];
        batch.add(4, 7, ranges);
        batch.add(5, 8, vec![memory(0x3ffc, 4)]);
        let pages = |file: &str, first, count| Pages { file: file.to_owned(), first, count };
        let expected = [
            pages("7/exe", 0, 1),
            pages("7/mem", 1, 2),
            pages("7/mem", 3, 1),
            pages("7/mem", 4, 1),
            pages("8/mem", 3, 1),
        ];
        assert_eq!(batch.pages, expected);
        // Each byte of the answers tells where it is; the third can be read in part, the fourth not at all.
        let page = |at: u64| (0..PAGE).map(|byte| ((at * PAGE + byte) / 16 % 251) as u8).collect::<Vec<u8>>();
        let answers = [page(0), [page(1), page(2)].concat(), page(3)[..0x14].to_vec(), Vec::new(), page(3)];
        let byte = |at: u64| (at / 16 % 251) as u8;
        let found: Vec<_> = batch.ranges(&answers).collect();
        assert_eq!(found.len(), 6);
        for (number, range, bytes) in found {
            let expected = match range.start {
                0x3010 => 4,
                0x4000 => 0,
                _ => range.length,
            };
            let expected: Vec<u8> = (range.start..range.start + expected).map(byte).collect();
            assert_eq!(bytes, expected, "{range:?}");
            assert_eq!(number, if range.start == 0x3ffc { 5 } else { 4 });
        }
    }
}
