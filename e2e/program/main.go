// Command service is what the end-to-end tests run in pods: a TCP service whose
// behaviour a test chooses by environment and by what it sends.
//
// A connection's first line is a command: "NAME" is answered with the pod's
// name, "ECHO" sends back what comes, "SEND n" sends n bytes and closes, "TAKE
// n" reads n bytes and says so, "COUNT" reads to the end and says how many. "GET ..."
// is answered as HTTP.
//
// END has it end once, END_AFTER its start: by "kill" (SIGKILL, which does not reach
// a container's process 1), "panic", "oom" or "exit N". FLUSH_AFTER has it write
// its counters before that. UNDUMPABLE has no process of the same user read its memory.
package main

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/coverage"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// asked counts the HTTP requests, so that a service can be slow to be ready.
var asked atomic.Int32

func main() {
	for variable, signal := range map[string]syscall.Signal{"ON_HUP": syscall.SIGHUP, "ON_USR1": syscall.SIGUSR1, "ON_USR2": syscall.SIGUSR2} {
		switch os.Getenv(variable) {
		case "write":
			go on(signal, func() {
				if err := coverage.WriteCountersDir(os.Getenv("GOCOVERDIR")); err != nil {
					log.Print(err)
				}
			})
		case "end":
			go on(signal, func() { os.Exit(0) })
		case "abort":
			go on(signal, func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) })
		}
	}
	if os.Getenv("UNDUMPABLE") != "" {
		const prSetDumpable = 4 // of linux/prctl.h
		_, _, _ = syscall.RawSyscall(syscall.SYS_PRCTL, prSetDumpable, 0, 0)
	}
	switch os.Getenv("ON_TERM") {
	case "ignore":
		signal.Ignore(syscall.SIGTERM)
	case "end":
		go on(syscall.SIGTERM, func() { os.Exit(0) })
	}
	if how := os.Getenv("END"); how != "" {
		go end(how)
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(cmp.Or(os.Getenv("HOST"), "127.0.0.1"), os.Getenv("PORT")))
	if err != nil {
		log.Fatal(err)
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(conn.(*net.TCPConn))
	}
}

func on(s os.Signal, act func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, s)
	for range signals {
		act()
	}
}

// end ends the program, unless it has done so before it was restarted.
func end(how string) {
	once, err := os.OpenFile(filepath.Join(os.Getenv("GOCOVERDIR"), "ended"), os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return
	}
	once.Close()
	if flush := os.Getenv("FLUSH_AFTER"); flush != "" {
		time.AfterFunc(duration(flush), func() { _ = coverage.WriteCountersDir(os.Getenv("GOCOVERDIR")) })
	}
	time.Sleep(duration(os.Getenv("END_AFTER")))
	var code int
	switch {
	case how == "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case how == "panic":
		panic("as END says")
	case how == "oom":
		var held [][]byte
		for {
			held = append(held, make([]byte, 1<<20))
			for i := range held[len(held)-1] {
				held[len(held)-1][i] = byte(len(held))
			}
		}
	default:
		fmt.Sscanf(how, "exit %d", &code)
		os.Exit(code)
	}
}

func duration(text string) time.Duration {
	duration, err := time.ParseDuration(text)
	if err != nil {
		log.Fatal(err)
	}
	return duration
}

func serve(conn *net.TCPConn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	line, err := in.ReadString('\n')
	if err != nil {
		return
	}
	var n int64
	switch command := strings.Fields(line)[0]; command {
	case "NAME":
		fmt.Fprintln(conn, os.Getenv("POD_NAME"))
	case "ECHO":
		_, _ = io.Copy(conn, in)
	case "SEND":
		fmt.Sscanf(line, "SEND %d", &n)
		_, _ = io.CopyN(conn, pattern{}, n)
	case "TAKE":
		fmt.Sscanf(line, "TAKE %d", &n)
		if taken, err := io.CopyN(io.Discard, in, n); err == nil {
			fmt.Fprintf(conn, "taken %d\n", taken)
		}
	case "COUNT":
		n, _ = io.Copy(io.Discard, in)
		fmt.Fprintf(conn, "counted %d\n", n)
	case "GET":
		status := "200 OK"
		if int(asked.Add(1)) <= len(os.Getenv("NOT_READY_FOR")) {
			status = "503 Service Unavailable"
		}
		fmt.Fprintf(conn, "HTTP/1.1 %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", status)
	}
}

// pattern is an endless stream of the numbers from 0 to 255.
type pattern struct{}

func (pattern) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(i)
	}
	return len(p), nil
}
