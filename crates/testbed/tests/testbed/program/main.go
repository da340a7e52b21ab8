// The program that the testbed's own tests run in pods. The environment decides how it behaves.
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

func main() {
	fmt.Println("starting")
	if code, err := strconv.Atoi(os.Getenv("CRASH")); err == nil {
		os.Exit(code)
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGTERM)
	go func() {
		for count := 1; ; count++ {
			switch s := <-signals; {
			case s == syscall.SIGUSR1:
				name := filepath.Join(os.Getenv("GOCOVERDIR"), fmt.Sprintf("covcounters.%d", count))
				check(os.WriteFile(name, []byte("counters\n"), 0o644))
			case os.Getenv("IGNORE_TERM") != "":
				fmt.Println("ignoring", s)
			default:
				fmt.Println("terminating")
				os.Exit(0)
			}
		}
	}()

	ready := time.Now()
	if delay, err := time.ParseDuration(os.Getenv("READY_AFTER")); err == nil {
		ready = ready.Add(delay)
	}
	http.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) {
		if time.Now().Before(ready) {
			http.Error(w, "not yet", http.StatusServiceUnavailable)
		}
	})
	http.HandleFunc("/env", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, strings.Join(os.Environ(), "\n"))
	})
	http.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) { os.Exit(3) })
	if port := os.Getenv("PORT_ECHO"); port != "" {
		listener, err := net.Listen("tcp", "127.0.0.1:"+port)
		check(err)
		go echo(listener)
	}
	check(http.ListenAndServe("127.0.0.1:"+os.Getenv("PORT"), nil))
}

// echo answers "send N\n" with N bytes and the end of the connection; what comes otherwise is sent back.
func echo(listener net.Listener) {
	for {
		connection, err := listener.Accept()
		check(err)
		go func() {
			defer connection.Close()
			reader := bufio.NewReader(connection)
			if start, _ := reader.Peek(5); string(start) == "send " {
				line, _ := reader.ReadString('\n')
				count, _ := strconv.Atoi(strings.TrimSpace(line[5:]))
				io.CopyN(connection, pattern{}, int64(count))
				return
			}
			io.Copy(connection, reader)
		}()
	}
}

// pattern reads as endless bytes that count up.
type pattern struct{}

func (pattern) Read(buffer []byte) (int, error) {
	for i := range buffer {
		buffer[i] = byte(i)
	}
	return len(buffer), nil
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
