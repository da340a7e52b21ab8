package main

import (
	"flag"
	"testing"
)

// TestRun runs the program, so that the test binary can be deployed in its
// place: it writes a text profile when the program has ended.
func TestRun(t *testing.T) {
	if flag.NArg() == 0 {
		t.Skip("no arguments: not meant to run")
	}
	run(flag.Arg(0), flag.Arg(1))
}
