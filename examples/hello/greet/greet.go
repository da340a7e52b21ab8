// Package greet says hello in a few languages.
package greet

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxName is the longest name, in characters, that is greeted.
const MaxName = 40

var (
	// ErrName is returned for a name that is empty or longer than MaxName.
	ErrName = errors.New("a name has 1 to 40 characters")
	// ErrLanguage is returned for a language that Greet does not speak.
	ErrLanguage = errors.New("unknown language")
)

// Greet greets name in the language with the given two-letter code.
func Greet(lang, name string) (string, error) {
	name = strings.TrimSpace(name)
	if name == "" || utf8.RuneCountInString(name) > MaxName {
		return "", ErrName
	}
	switch lang {
	case "en":
		return "Hello, " + name + "!", nil
	case "de":
		return "Hallo, " + name + "!", nil
	case "es":
		return "¡Hola, " + name + "!", nil
	case "fr":
		// French typography sets a no-break space before the mark.
		return "Bonjour, " + name + "\u00a0!", nil
	default:
		return "", fmt.Errorf("%w: %q", ErrLanguage, lang)
	}
}
