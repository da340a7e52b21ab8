package main

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"syscall"
	"testing"
)

var serve = flag.Bool("serve", false, "be the program, in TestRun")

// TestRun makes the program of a test binary: one that go test -c has built with
// -coverpkg writes its profile when the tests end, which is on SIGTERM here.
func TestRun(t *testing.T) {
	if !*serve {
		t.Skip("needs -serve")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		t.Fatal(err)
	}
}
