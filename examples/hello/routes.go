package main

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"example.com/hello/greet"
	"example.com/hello/roman"
)

func routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, "ok")
	})
	mux.HandleFunc("GET /hello/{name}", hello)
	mux.HandleFunc("GET /roman/{number}", toRoman)
	mux.HandleFunc("GET /number/{numeral}", fromRoman)
	return mux
}

func hello(w http.ResponseWriter, r *http.Request) {
	lang := r.URL.Query().Get("lang")
	if lang == "" {
		lang = "en"
	}
	text, err := greet.Greet(lang, r.PathValue("name"))
	switch {
	case errors.Is(err, greet.ErrLanguage):
		http.Error(w, err.Error(), http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	default:
		fmt.Fprintln(w, text)
	}
}

func toRoman(w http.ResponseWriter, r *http.Request) {
	number, err := strconv.Atoi(r.PathValue("number"))
	if err != nil {
		http.Error(w, "not a whole number", http.StatusBadRequest)
		return
	}
	numeral, err := roman.Format(number)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintln(w, numeral)
}

func fromRoman(w http.ResponseWriter, r *http.Request) {
	number, err := roman.Parse(r.PathValue("numeral"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintln(w, number)
}
