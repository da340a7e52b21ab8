// Package roman converts between numbers and Roman numerals.
package roman

import (
	"errors"
	"strings"
)

// Max is the largest number that the seven letters can write.
const Max = 3999

var (
	// ErrRange is returned for numbers outside 1 to Max.
	ErrRange = errors.New("only 1 to 3999 have a Roman numeral")
	// ErrNumeral is returned for text that is not a well-formed numeral.
	ErrNumeral = errors.New("not a Roman numeral")
)

var steps = []struct {
	value   int
	numeral string
}{
	{1000, "M"}, {900, "CM"}, {500, "D"}, {400, "CD"},
	{100, "C"}, {90, "XC"}, {50, "L"}, {40, "XL"},
	{10, "X"}, {9, "IX"}, {5, "V"}, {4, "IV"}, {1, "I"},
}

// Format writes n as a Roman numeral.
func Format(n int) (string, error) {
	if n < 1 || n > Max {
		return "", ErrRange
	}
	var b strings.Builder
	for _, step := range steps {
		for ; n >= step.value; n -= step.value {
			b.WriteString(step.numeral)
		}
	}
	return b.String(), nil
}

// Parse reads a Roman numeral in upper or lower case.
func Parse(numeral string) (int, error) {
	upper := strings.ToUpper(numeral)
	rest, n := upper, 0
	for _, step := range steps {
		for strings.HasPrefix(rest, step.numeral) {
			rest = rest[len(step.numeral):]
			n += step.value
		}
	}
	// Only one spelling of a number is right: IIII reads as 4 but is not.
	if canonical, err := Format(n); err != nil || canonical != upper {
		return 0, ErrNumeral
	}
	return n, nil
}
