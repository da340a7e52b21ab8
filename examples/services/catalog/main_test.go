package main

import (
	"context"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"syscall"
	"testing"
)

var serve = flag.Bool("serve", false, "be the service, in TestRun")

// TestRun makes the service of a test binary: one that go test -c has built with
// -cover writes its profile when the tests end, which is on SIGTERM here.
func TestRun(t *testing.T) {
	if !*serve {
		t.Skip("needs -serve")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestRoutes(t *testing.T) {
	tests := []struct {
		path   string
		status int
		body   string
	}{
		{"/healthz", http.StatusOK, "ok\n"},
		{"/price/tea", http.StatusOK, "390\n"},
		{"/price/coffee", http.StatusNotFound, "no such product\n"},
	}
	handler := routes()
	for _, test := range tests {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodGet, test.path, nil))
		if answer.Code != test.status || answer.Body.String() != test.body {
			t.Errorf("%s: got %d %q, want %d %q", test.path, answer.Code, answer.Body, test.status, test.body)
		}
	}
}
