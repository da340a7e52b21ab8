// Command hello is a small HTTP service whose coverage podcov collects: see
// skaffold.yaml at the top of the repository.
package main

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// stopWithin is how long running requests may take once the service is told to
// stop. It stays below the 30 seconds that Kubernetes grants a pod.
const stopWithin = 10 * time.Second

func main() {
	setupCoverageSignal()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		log.Fatalf("cannot listen: %v", err)
	}
	log.Printf("listening on %s", listener.Addr())
	if err := serve(ctx, listener); err != nil {
		log.Fatal(err)
	}
	// A program built with -cover writes its counters as main returns.
}

// serve answers requests on listener until ctx ends, then lets the running ones
// finish.
func serve(ctx context.Context, listener net.Listener) error {
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
	if err := server.Shutdown(ctx); err != nil {
		return err
	}
	if err := <-failed; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
