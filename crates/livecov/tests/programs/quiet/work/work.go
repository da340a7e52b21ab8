// Package work has branches.
package work

import "strings"

// Do counts words, or says why not.
func Do(line string) string {
	switch {
	case line == "":
		return "nothing"
	case strings.HasPrefix(line, "#"):
		return func() string { return "a comment" }()
	}
	count := 0
	for range strings.Fields(line) {
		count++
	}
	if count > 1 {
		return "words"
	}
	return "a word"
}

// Never is never called.
func Never() int {
	return 1
}
