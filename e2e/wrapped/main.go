// Command wrapped is what the tests run under podcov-agent: a program that
// prints the signals and input that it gets, and ends as its first argument says.
//
//	wrapped exit N       ends with exit code N
//	wrapped terms N      exits cleanly on the Nth SIGTERM, with exit code 7
//	wrapped forever      ignores SIGTERM
//	wrapped input        ends with exit code 5 when its input ends or has a line
//
// On SIGUSR1 it writes its counters, as far as its counter mode lets it.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/coverage"
	"strconv"
	"syscall"
)

func main() {
	flag.Parse()
	os.Exit(run(flag.Arg(0), flag.Arg(1)))
}

// run does what the arguments say and returns the exit code.
func run(what, n string) int {
	count, _ := strconv.Atoi(n)
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1, syscall.SIGUSR2)
	if info, err := os.Stdin.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
		fmt.Println("terminal")
	}
	fmt.Println("parent", os.Getppid())
	fmt.Println("ready")
	input := make(chan bool)
	switch what {
	case "exit":
		return count
	case "forever":
		count = -1
	case "input":
		go func() {
			_, _ = os.Stdin.Read(make([]byte, 1))
			close(input)
		}()
	}
	for {
		select {
		case <-input:
			return 5
		case s := <-signals:
			fmt.Println(s)
			switch s {
			case syscall.SIGUSR1:
				if err := coverage.WriteCountersDir(os.Getenv("GOCOVERDIR")); err != nil {
					fmt.Println(err)
				}
			case syscall.SIGTERM:
				if count--; count == 0 {
					return 7
				}
			}
		}
	}
}
