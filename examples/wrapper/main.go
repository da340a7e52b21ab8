// Command wrapper counts words over HTTP. It knows nothing of coverage and
// nothing of podcov, which only needs it to exit cleanly on SIGTERM.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

const (
	// stopWithin is how long running requests may take once the program is told
	// to stop. It leaves podcov-agent time to upload: Kubernetes grants a pod 30
	// seconds, Cloud Run 10.
	stopWithin = 5 * time.Second
	// maxText is the longest text, in bytes, that is counted.
	maxText = 1 << 20
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	server := &http.Server{Addr: ":" + port, Handler: routes(), ReadHeaderTimeout: 5 * time.Second}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		log.Print("stopping")
		ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
		defer cancel()
		stopped <- server.Shutdown(ctx)
	}()

	log.Printf("listening on %s", server.Addr)
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	if err := <-stopped; err != nil {
		log.Fatal(err)
	}
}

func routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("POST /count", count)
	return mux
}

// count answers with the number of words, and with that of different ones.
func count(w http.ResponseWriter, r *http.Request) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxText))
	if err != nil {
		http.Error(w, "the text is too long", http.StatusRequestEntityTooLarge)
		return
	}
	words := strings.Fields(string(text))
	if len(words) == 0 {
		http.Error(w, "no words", http.StatusBadRequest)
		return
	}
	different := make(map[string]bool)
	for _, word := range words {
		different[strings.ToLower(word)] = true
	}
	fmt.Fprintln(w, len(words), len(different))
}
