// Command measured is what the benchmark of podcov-agent runs, under it and
// alone. Its argument says what it does:
//
//	line     prints a line and ends
//	serve    prints the address of its HTTP server, ends on SIGTERM
//	compute  sorts and hashes for some tenths of a second on one processor
//	wait     prints a line, ends on SIGUSR2; SIGTERM does nothing
package main

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log"
	"math/rand"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

func main() {
	switch os.Args[1] {
	case "line":
		fmt.Println("here")
	case "serve":
		serve()
	case "compute":
		compute()
	case "wait":
		signal.Ignore(syscall.SIGTERM)
		end := notify(syscall.SIGUSR2)
		fmt.Println("here")
		<-end
	}
}

func notify(s os.Signal) <-chan os.Signal {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, s)
	return signals
}

func serve() {
	end := notify(syscall.SIGTERM)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	go func() { log.Fatal(http.Serve(listener, http.HandlerFunc(answer))) }()
	<-end
}

type item struct {
	Name   string  `json:"name"`
	Price  float64 `json:"price"`
	Amount int     `json:"amount"`
}

// answer does what a service does: sorts, makes JSON, reads it again, hashes.
func answer(w http.ResponseWriter, _ *http.Request) {
	items := order(rand.New(rand.NewSource(1)), 20)
	text, err := json.Marshal(items)
	if err == nil {
		err = json.Unmarshal(text, &items)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("ETag", fmt.Sprintf("%x", sha256.Sum256(text)))
	_, _ = w.Write(text)
}

func compute() {
	random := rand.New(rand.NewSource(1))
	sum := sha256.New()
	for range 15 {
		fmt.Fprint(sum, order(random, 20_000))
	}
	fmt.Printf("%x\n", sum.Sum(nil))
}

// order gives so many items, the cheapest first.
func order(random *rand.Rand, count int) []item {
	items := make([]item, count)
	for i := range items {
		items[i] = item{Name: fmt.Sprintf("item-%d", i), Price: random.Float64() * 100, Amount: 1 + random.Intn(9)}
	}
	slices.SortFunc(items, func(a, b item) int {
		switch {
		case a.Price < b.Price:
			return -1
		case a.Price > b.Price:
			return 1
		}
		return 0
	})
	return items
}
