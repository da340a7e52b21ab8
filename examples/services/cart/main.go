// Command cart adds up what a cart costs, at the catalog's prices.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"example.com/services/server"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

// run is the service until ctx ends.
func run(ctx context.Context) error {
	catalog := os.Getenv("CATALOG_URL")
	if catalog == "" {
		return errors.New("CATALOG_URL is not set: it must be the URL of the catalog service")
	}
	return server.Run(ctx, cart{catalog, &http.Client{Timeout: 5 * time.Second}}.routes())
}

type cart struct {
	catalog string
	client  *http.Client
}

// errUnknown is returned for a product that the catalog does not have.
var errUnknown = errors.New("no such product")

func (c cart) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /total", c.total)
	return mux
}

// total answers /total?tea=2&cup=1.
func (c cart) total(w http.ResponseWriter, r *http.Request) {
	total := 0
	for product, counts := range r.URL.Query() {
		count, err := strconv.Atoi(counts[0])
		if err != nil || count < 1 {
			http.Error(w, "not a number of pieces", http.StatusBadRequest)
			return
		}
		price, err := c.price(r.Context(), product)
		switch {
		case errors.Is(err, errUnknown):
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		case err != nil:
			log.Printf("no price of %q: %v", product, err)
			http.Error(w, "no prices just now", http.StatusBadGateway)
			return
		}
		total += count * price
	}
	fmt.Fprintln(w, total)
}

// price asks the catalog.
func (c cart) price(ctx context.Context, product string) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.catalog+"/price/"+url.PathEscape(product), nil)
	if err != nil {
		return 0, err
	}
	answer, err := c.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound:
		return 0, errUnknown
	default:
		return 0, fmt.Errorf("the catalog answers %s", answer.Status)
	}
	var price int
	_, err = fmt.Fscan(answer.Body, &price)
	return price, err
}
