// Package server is what the services have in common: it answers HTTP requests
// until it is told to stop.
package server

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"os"
	"time"
)

// stopWithin is how long running requests may take once the service is told to
// stop. It stays below the 30 seconds that Kubernetes grants a pod.
const stopWithin = 10 * time.Second

// Run answers requests on PORT, 8080 if it is not set, until ctx ends.
func Run(ctx context.Context, handler http.Handler) error {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	listener, err := net.Listen("tcp", ":"+port)
	if err != nil {
		return err
	}
	log.Printf("listening on %s", listener.Addr())
	return serve(ctx, listener, handler)
}

// serve answers requests on listener until ctx ends, then lets the running ones
// finish.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 5 * time.Second}
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
