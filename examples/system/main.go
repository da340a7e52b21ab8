// Command system converts units over HTTP. Its coverage is that of its unit
// tests and of the deployed system's tests together.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"example.com/system/units"
)

// stopWithin is how long running requests may take once the program is told to
// stop. It stays below the 30 seconds that Kubernetes grants a pod.
const stopWithin = 10 * time.Second

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

// run answers requests until ctx ends, then lets the running ones finish.
func run(ctx context.Context) error {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	log.Printf("listening on %s", listener.Addr())
	server := &http.Server{Handler: routes(), ReadHeaderTimeout: 5 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()

	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Print("stopping")
	ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
	defer cancel()
	return server.Shutdown(ctx)
}

func routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /convert/{value}/{from}/{to}", convert)
	return mux
}

func convert(w http.ResponseWriter, r *http.Request) {
	value, err := strconv.ParseFloat(r.PathValue("value"), 64)
	if err != nil {
		http.Error(w, "not a number", http.StatusBadRequest)
		return
	}
	result, err := units.Convert(value, r.PathValue("from"), r.PathValue("to"))
	switch {
	case errors.Is(err, units.ErrUnit):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	default:
		fmt.Fprintf(w, "%.3f\n", result)
	}
}
