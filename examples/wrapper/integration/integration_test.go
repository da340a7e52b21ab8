//go:build integration

package integration

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
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
		fmt.Fprintln(os.Stderr, "PODCOV_ADDR is not set: it must be the host:port of the program; run these tests through podcov-test")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestCount(t *testing.T) {
	post(t, "/count", "To be or not to be", http.StatusOK, "6 4\n")
	post(t, "/count", "", http.StatusBadRequest, "no words\n")
}

func post(t *testing.T, path, text string, status int, body string) {
	t.Helper()
	answer, err := client.Post("http://"+addr+path, "text/plain", strings.NewReader(text))
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
