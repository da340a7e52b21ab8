package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestCount(t *testing.T) {
	tests := []struct {
		text   string
		status int
		body   string
	}{
		{"To be or not to be", http.StatusOK, "6 4\n"},
		{" ", http.StatusBadRequest, "no words\n"},
		{strings.Repeat("a", maxText+1), http.StatusRequestEntityTooLarge, "the text is too long\n"},
	}
	handler := routes()
	for _, test := range tests {
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/count", strings.NewReader(test.text)))
		if answer.Code != test.status || answer.Body.String() != test.body {
			t.Errorf("%.20q: got %d %q, want %d %q", test.text, answer.Code, answer.Body, test.status, test.body)
		}
	}
}
