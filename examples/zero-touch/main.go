// Command zero-touch shortens links. It knows nothing of coverage: it handles no
// signal, reads no GOCOVERDIR, and never exits by itself.
package main

import (
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/url"
	"os"
	"sync"
)

func main() {
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	log.Printf("listening on :%s", port)
	log.Fatal(http.ListenAndServe(":"+port, routes()))
}

func routes() http.Handler {
	var links links
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("POST /", func(w http.ResponseWriter, r *http.Request) {
		name, err := links.add(r.FormValue("url"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		fmt.Fprintln(w, "/"+name)
	})
	mux.HandleFunc("GET /{name}", func(w http.ResponseWriter, r *http.Request) {
		target, ok := links.find(r.PathValue("name"))
		if !ok {
			http.NotFound(w, r)
			return
		}
		http.Redirect(w, r, target, http.StatusFound)
	})
	return mux
}

// links are URLs, by short names.
type links struct {
	mutex sync.Mutex
	urls  []string
}

// add gives a URL a short name.
func (l *links) add(text string) (string, error) {
	parsed, err := url.Parse(text)
	if err != nil {
		return "", errors.New("not a URL")
	}
	switch parsed.Scheme {
	case "http", "https":
	case "":
		return "", errors.New("a URL begins with https://")
	default:
		return "", fmt.Errorf("%s is not supported", parsed.Scheme)
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.urls = append(l.urls, text)
	return fmt.Sprint(len(l.urls)), nil
}

// find gives the URL that has a name.
func (l *links) find(name string) (string, bool) {
	var number int
	if _, err := fmt.Sscan(name, &number); err != nil {
		return "", false
	}
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if number < 1 || number > len(l.urls) {
		return "", false
	}
	return l.urls[number-1], true
}
