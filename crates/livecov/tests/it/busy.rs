//! A program that is never quiet: new functions begin all the time while it is read.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use livecov::process::Process;

use crate::programs::{Build, Counters, LOCAL, Running, STRIPPED, counters, written};

/// How many functions there are.
const FUNCTIONS: usize = 5000;

/// How many snapshots are taken.
const SNAPSHOTS: usize = 200;

/// Eight threads call functions; with each line of input there are more that they may call, and one of these has been
/// called when the line is answered.
const MAIN: &str = r#"
package main

import (
	"bufio"
	"fmt"
	"os"
	"sync/atomic"
)

var known atomic.Int64

func work(seed uint64) {
	for {
		seed = seed*6364136223846793005 + 1442695040888963407
		functions[(seed>>33)%uint64(known.Load())](int(seed>>40) % 3)
	}
}

func main() {
	known.Store(1)
	for worker := uint64(0); worker < 8; worker++ {
		go work(worker)
	}
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Println(functions[known.Add(MORE)-1](7))
	}
}
"#;

fn write_module(dir: &Path) {
    let main = MAIN.replace("MORE", &(FUNCTIONS / SNAPSHOTS - 1).to_string());
    let mut functions = "package main\n\nvar functions = []func(int) int{\n".to_owned();
    for number in 0..FUNCTIONS {
        writeln!(functions, "\tf{number},").expect("a string takes everything");
    }
    functions += "}\n";
    for number in 0..FUNCTIONS {
        // Of different numbers of counters, so that no function can be taken for another.
        let branches: String = (0..number % 5)
            .map(|branch| format!("\tif x == {branch} {{\n\t\treturn {branch}\n\t}}\n"))
            .collect();
        writeln!(functions, "\nfunc f{number}(x int) int {{\n{branches}\treturn x\n}}")
            .expect("a string takes everything");
    }
    for (name, text) in
        [("go.mod", "module busy\n\ngo 1.20\n"), ("main.go", &main), ("functions.go", &functions)]
    {
        fs_err::write(dir.join(name), text).expect("a file");
    }
}

fn by_function(counters: Counters) -> BTreeMap<(u32, u32), Vec<u32>> {
    counters.into_iter().map(|(package, function, counters)| ((package, function), counters)).collect()
}

/// Whether no counter has fallen, and none of a function that is known is missing.
fn grew(before: &BTreeMap<(u32, u32), Vec<u32>>, after: &BTreeMap<(u32, u32), Vec<u32>>) -> bool {
    before.iter().all(|(function, counters)| {
        after.get(function).is_some_and(|later| {
            later.len() == counters.len()
                && later.iter().zip(counters).all(|(later, counter)| later >= counter)
        })
    })
}

#[test]
fn counters_only_grow_and_are_of_their_function() {
    let dir = tempfile::tempdir().expect("a folder");
    write_module(dir.path());
    let build = Build { toolchain: LOCAL, cgo: false, flags: STRIPPED };
    let program = build.build(dir.path(), &["-cover", "-covermode=atomic"], dir.path());
    let data = dir.path().join("data");
    fs_err::create_dir(&data).expect("a folder");
    let mut running = Running::start(&program, Some(&data));
    let process = Process::open(running.child.id()).expect("a process");
    let mut program = None;
    let mut snapshots = Vec::new();
    for _ in 0..SNAPSHOTS {
        // While these functions begin.
        running.say("more");
        let snapshot = process.snapshot(&mut program).expect("a snapshot");
        snapshots.push(by_function(counters(&snapshot.bytes)));
        assert_eq!(running.line(), "7");
    }
    running.end();
    let [_, (_, own)] = written(&data);
    snapshots.push(by_function(counters(&own)));
    for (number, pair) in snapshots.windows(2).enumerate() {
        assert!(grew(&pair[0], &pair[1]), "snapshot {number}");
    }
    // At most those that may be called, main and work; at least one for each answer.
    let [first, last] = [&snapshots[0], &snapshots[SNAPSHOTS - 1]].map(BTreeMap::len);
    assert!(first <= FUNCTIONS / SNAPSHOTS + 2 && last >= SNAPSHOTS, "{first} {last}");
}
