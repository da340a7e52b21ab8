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
	addr   string
	client = http.Client{Timeout: 10 * time.Second}
)

func TestMain(m *testing.M) {
	addr = os.Getenv("PODCOV_ADDR")
	if addr == "" {
		fmt.Fprintln(os.Stderr, "PODCOV_ADDR is not set: it must be the host:port of the hello service; run these tests through podcov-test")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// Any replica may answer any request: nothing here relies on an earlier one.

func TestHealth(t *testing.T) {
	get(t, "/healthz", http.StatusOK, "ok\n")
}

func TestHello(t *testing.T) {
	get(t, "/hello/Ada", http.StatusOK, "Hello, Ada!\n")
	get(t, "/hello/Konrad?lang=de", http.StatusOK, "Hallo, Konrad!\n")
	get(t, "/hello/Worf?lang=tlh", http.StatusNotFound, "unknown language: \"tlh\"\n")
}

func TestRoman(t *testing.T) {
	get(t, "/roman/1987", http.StatusOK, "MCMLXXXVII\n")
	get(t, "/roman/0", http.StatusBadRequest, "only 1 to 3999 have a Roman numeral\n")
	get(t, "/number/xlii", http.StatusOK, "42\n")
}

func TestUnknownPath(t *testing.T) {
	get(t, "/nowhere", http.StatusNotFound, "404 page not found\n")
}

func get(t *testing.T, path string, status int, body string) {
	t.Helper()
	answer, err := client.Get("http://" + addr + path)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%s: reading the body: %v", path, err)
	}
	if answer.StatusCode != status || string(got) != body {
		t.Errorf("%s: got %d %q, want %d %q", path, answer.StatusCode, got, status, body)
	}
}
