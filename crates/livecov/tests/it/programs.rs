//! Builds and runs Go programs, takes snapshots of them, and reads what they write themselves.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;

use covdata::{CounterFile, FileName};
use livecov::process::{Process, ProcessError};
use livecov::{Program, Snapshot};

/// How a program is built.
pub(crate) struct Build {
    pub(crate) toolchain: &'static str,
    pub(crate) cgo: bool,
    pub(crate) flags: &'static [&'static str],
}

pub(crate) const PLAIN: &[&str] = &[];
pub(crate) const STRIPPED: &[&str] = &["-ldflags=-s -w"];
pub(crate) const PIE: &[&str] = &["-buildmode=pie", "-ldflags=-s -w"];
/// Linked by the system's linker.
pub(crate) const EXTERNAL: &[&str] = &["-ldflags=-s -w -linkmode=external"];
pub(crate) const EXTERNAL_PIE: &[&str] = &["-buildmode=pie", "-ldflags=-s -w -linkmode=external"];

pub(crate) const LOCAL: &str = "local";

/// The sources of a Go module in `tests/programs`.
pub(crate) fn module(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(name)
}

impl Build {
    /// Builds a module's program into a folder, and gives its path.
    pub(crate) fn build(&self, module: &Path, arguments: &[&str], dir: &Path) -> PathBuf {
        let program = dir.join("program");
        let mut go = Command::new("go");
        go.args(["build", "-trimpath"]).args(arguments).args(self.flags).arg("-o").arg(&program).arg(".");
        go.envs([("GOWORK", "off"), ("GO111MODULE", "on"), ("GOFLAGS", "-buildvcs=false")]);
        go.env("GOTOOLCHAIN", self.toolchain).env("CGO_ENABLED", if self.cgo { "1" } else { "0" });
        let output = go.current_dir(module).output().expect("these tests need the `go` command in PATH");
        assert!(output.status.success(), "{go:?}: {}", String::from_utf8_lossy(&output.stderr));
        program
    }
}

/// The program, running.
pub(crate) struct Running {
    pub(crate) child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Running {
    /// Starts it, and waits until it is ready. Without a folder, it never writes its coverage.
    pub(crate) fn start(program: &Path, data: Option<&Path>) -> Self {
        let mut command = Command::new(program);
        command.args(["an argument", ""]).env_remove("GOCOVERDIR");
        command.envs(data.map(|data| ("GOCOVERDIR", data)));
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program was just built");
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (input, output) = (input.expect("a pipe"), BufReader::new(output.expect("a pipe")));
        let mut running = Self { child, input, output };
        assert_eq!(running.line(), "ready");
        running
    }

    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// Lets it work on a line, and gives its answer.
    pub(crate) fn work(&mut self, line: &str) -> String {
        self.say(line);
        self.line()
    }

    /// Gives it a line to work on.
    pub(crate) fn say(&mut self, line: &str) {
        writeln!(self.input, "{line}").expect("it reads");
    }

    pub(crate) fn snapshot(&self) -> Result<(Arc<Program>, Snapshot), ProcessError> {
        let mut program = None;
        let snapshot = Process::open(self.child.id())?.snapshot(&mut program)?;
        Ok((program.expect("it was read"), snapshot))
    }

    /// Ends it, and waits for its end.
    pub(crate) fn end(mut self) {
        drop(self.input);
        assert!(self.child.wait().expect("a child").success());
    }
}

/// The content of the one meta-data file and the one counter file of a folder.
pub(crate) fn written(dir: &Path) -> [(FileName, Vec<u8>); 2] {
    let mut files: Vec<(FileName, Vec<u8>)> = fs_err::read_dir(dir)
        .expect("a folder")
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let name =
                path.file_name().expect("a name").to_str().expect("text").parse().expect("a coverage file");
            (name, fs_err::read(path).expect("a file"))
        })
        .collect();
    files.sort_by_key(|(name, _)| matches!(name, FileName::Counters { .. }));
    files.try_into().expect("two files")
}

/// Package, function and counters of each function.
pub(crate) type Counters = Vec<(u32, u32, Vec<u32>)>;

/// What a counter file has about its process, and its counters in their order.
pub(crate) fn content(bytes: &[u8]) -> (Vec<String>, Counters) {
    let file = CounterFile::parse(bytes).expect("a whole counter file");
    let [segment] = file.segments() else { panic!("Go writes one segment") };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let system = [segment.goos(), segment.goarch()].into_iter().flatten();
    (system.chain(segment.command_line()).map(text).collect(), counters(bytes))
}

/// The counters of a file, in its order.
pub(crate) fn counters(bytes: &[u8]) -> Counters {
    let file = CounterFile::parse(bytes).expect("a whole counter file");
    file.functions()
        .map(|function| (function.package, function.function, function.counters().collect()))
        .collect()
}
