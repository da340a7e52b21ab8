// Command catalog tells what a product costs.
package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"example.com/services/server"
)

// prices are in cents.
var prices = map[string]int{"cup": 850, "pot": 2400, "tea": 390}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

// run is the service until ctx ends.
func run(ctx context.Context) error {
	return server.Run(ctx, routes())
}

func routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /price/{product}", price)
	return mux
}

func price(w http.ResponseWriter, r *http.Request) {
	cents, ok := prices[r.PathValue("product")]
	if !ok {
		http.Error(w, "no such product", http.StatusNotFound)
		return
	}
	fmt.Fprintln(w, cents)
}
