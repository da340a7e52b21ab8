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
		fmt.Fprintln(os.Stderr, "PODCOV_ADDR is not set: it must be the host:port of the system; run these tests through podcov-test")
		os.Exit(1)
	}
	os.Exit(m.Run())
}

func TestConvert(t *testing.T) {
	get(t, "/convert/26.2/mi/km", http.StatusOK, "42.165\n")
	get(t, "/convert/many/mi/km", http.StatusBadRequest, "not a number\n")
	get(t, "/convert/1/ell/m", http.StatusNotFound, "unknown unit: \"ell\"\n")
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
