package greet

import (
	"errors"
	"strings"
	"testing"
)

func TestGreet(t *testing.T) {
	tests := []struct {
		lang, name, want string
	}{
		{"en", "Ada", "Hello, Ada!"},
		{"en", " Ada ", "Hello, Ada!"},
		{"de", "Konrad", "Hallo, Konrad!"},
	}
	for _, test := range tests {
		got, err := Greet(test.lang, test.name)
		if err != nil || got != test.want {
			t.Errorf("Greet(%q, %q) = %q, %v; want %q", test.lang, test.name, got, err, test.want)
		}
	}
}

func TestGreetRefuses(t *testing.T) {
	tests := []struct {
		lang, name string
		want       error
	}{
		{"en", "", ErrName},
		{"en", strings.Repeat("ö", MaxName+1), ErrName},
		{"tlh", "Worf", ErrLanguage},
	}
	for _, test := range tests {
		if _, err := Greet(test.lang, test.name); !errors.Is(err, test.want) {
			t.Errorf("Greet(%q, %q): got error %v, want %v", test.lang, test.name, err, test.want)
		}
	}
}
