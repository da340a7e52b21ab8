//go:build integration

package integration

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"
	"time"
)

var (
	catalog = os.Getenv("CATALOG_URL")
	cart    = os.Getenv("CART_URL")
	client  = http.Client{Timeout: 10 * time.Second}
)

// The services are ready by now, but their names may take a moment to say so.
func TestMain(m *testing.M) {
	deadline := time.Now().Add(time.Minute)
	for _, service := range []string{catalog, cart} {
		if err := await(service+"/healthz", deadline); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func await(url string, deadline time.Time) error {
	for {
		answer, err := client.Get(url)
		if err == nil {
			answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
			err = fmt.Errorf("%s answers %s", url, answer.Status)
		}
		if time.Now().After(deadline) {
			return err
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func TestPrice(t *testing.T) {
	get(t, catalog+"/price/pot", http.StatusOK, "2400\n")
	get(t, catalog+"/price/coffee", http.StatusNotFound, "no such product\n")
}

func TestTotal(t *testing.T) {
	get(t, cart+"/total?tea=2&cup=1", http.StatusOK, "1630\n")
	get(t, cart+"/total?tea=0", http.StatusBadRequest, "not a number of pieces\n")
	get(t, cart+"/total?coffee=1", http.StatusNotFound, "no such product\n")
}

func get(t *testing.T, url string, status int, body string) {
	t.Helper()
	answer, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%s: reading the body: %v", url, err)
	}
	if answer.StatusCode != status || string(got) != body {
		t.Errorf("%s: got %d %q, want %d %q", url, answer.StatusCode, got, status, body)
	}
}
