//! A program that seems to arrange its data in an unknown way.

use livecov::process::scan::Scanner;

use crate::programs::{Build, LOCAL, Running};

/// With each line of input the runtime's list of meta-data is there, or not.
const MAIN: &str = r#"
package main

import (
	"bufio"
	"fmt"
	"os"
	_ "unsafe"
)

//go:linkname meta internal/coverage/rtcov.Meta
var meta struct {
	list  []*byte
	index map[int]int
	flag  bool
}

// Neither .bss nor .data has a copy.
func main() {
	list := new([]*byte)
	*list, meta.list = meta.list, nil
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		*list, meta.list = meta.list, *list
		fmt.Println(lines.Text())
	}
}
"#;

fn start() -> (tempfile::TempDir, Running) {
    let dir = tempfile::tempdir().expect("a folder");
    for (name, text) in [("go.mod", "module odd\n\ngo 1.20\n"), ("main.go", MAIN)] {
        fs_err::write(dir.path().join(name), text).expect("a file");
    }
    let build = Build { toolchain: LOCAL, cgo: false, flags: &["-ldflags=-checklinkname=0"] };
    let program = build.build(dir.path(), &["-cover"], dir.path());
    (dir, Running::start(&program, None))
}

/// How many snapshots a scan gives, and its failures.
fn scan(scanner: &mut Scanner, running: &Running) -> (usize, Vec<String>) {
    let scan = scanner.scan([running.child.id()]);
    assert_eq!(scan.is_unread(running.child.id()), scan.snapshots.is_empty());
    (scan.snapshots.len(), scan.failures)
}

#[test]
fn it_is_searched_a_few_times() {
    let (_dir, mut running) = start();
    let mut scanner = Scanner::default();
    for _ in 0..2 {
        let (snapshots, failures) = scan(&mut scanner, &running);
        assert_eq!(snapshots, 0);
        assert!(failures[0].ends_with("arranges its data in a way that is not known"), "{failures:?}");
    }
    assert_eq!(running.work("it is there"), "it is there");
    assert_eq!(scan(&mut scanner, &running), (1, Vec::new()));
    running.end();
}

/// A search takes the processor's time in each interval.
#[test]
fn it_is_searched_no_more_then() {
    let (_dir, mut running) = start();
    let mut scanner = Scanner::default();
    let before = scan(&mut scanner, &running);
    for _ in 0..2 {
        assert_eq!(scan(&mut scanner, &running), before);
    }
    assert_eq!(running.work("it is there"), "it is there");
    assert_eq!(scan(&mut scanner, &running), before);
    assert_eq!(scan(&mut Scanner::default(), &running), (1, Vec::new()));
    running.end();
}
