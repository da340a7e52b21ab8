//go:build integration

package integration

import (
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"
)

var client = http.Client{
	Timeout: 10 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	},
}

// shorten posts a URL, and gives the answer and its status.
func shorten(t *testing.T, text string) (string, int) {
	t.Helper()
	answer, err := client.PostForm("http://"+os.Getenv("PODCOV_ADDR")+"/", url.Values{"url": {text}})
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(body)), answer.StatusCode
}

func TestAShortLinkLeadsToItsURL(t *testing.T) {
	const target = "https://go.dev/doc/build-cover"
	path, status := shorten(t, target)
	if status != http.StatusOK {
		t.Fatalf("status %d: %s", status, path)
	}
	answer, err := client.Get("http://" + os.Getenv("PODCOV_ADDR") + path)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if location := answer.Header.Get("Location"); location != target {
		t.Fatalf("%s leads to %q", path, location)
	}
}

func TestWhatIsNoURLIsRefused(t *testing.T) {
	if answer, status := shorten(t, "go.dev"); status != http.StatusBadRequest {
		t.Fatalf("status %d: %s", status, answer)
	}
}
