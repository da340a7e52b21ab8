package main

import (
	"log"
	"os"
	"os/signal"
	"runtime/coverage"
	"syscall"
)

// setupCoverageSignal makes SIGUSR1 write the coverage counters to GOCOVERDIR
// and start them afresh, so that each signal's files hold what ran since the
// one before. It does nothing where GOCOVERDIR is not set, and needs a program
// built with -cover -covermode=atomic.
func setupCoverageSignal() {
	dir := os.Getenv("GOCOVERDIR")
	if dir == "" {
		return
	}
	// Buffered: os/signal drops a signal that nobody is ready to receive.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	go func() {
		for range signals {
			writeCounters(dir)
		}
	}()
}

// writeCounters keeps the counters when they could not be written, so that the
// next signal has them still.
func writeCounters(dir string) {
	if err := coverage.WriteCountersDir(dir); err != nil {
		log.Printf("cannot write coverage counters to %s: %v", dir, err)
		return
	}
	if err := coverage.ClearCounters(); err != nil {
		log.Printf("cannot clear coverage counters: %v", err)
	}
}
