package roman

import (
	"errors"
	"testing"
)

func TestFormat(t *testing.T) {
	for n, want := range map[int]string{1: "I", 4: "IV", 1987: "MCMLXXXVII", Max: "MMMCMXCIX"} {
		if got, err := Format(n); err != nil || got != want {
			t.Errorf("Format(%d) = %q, %v; want %q", n, got, err, want)
		}
	}
	for _, n := range []int{-1, 0, Max + 1} {
		if _, err := Format(n); !errors.Is(err, ErrRange) {
			t.Errorf("Format(%d): got error %v, want %v", n, err, ErrRange)
		}
	}
}

func TestParse(t *testing.T) {
	for n := 1; n <= Max; n++ {
		numeral, err := Format(n)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Parse(numeral); err != nil || got != n {
			t.Errorf("Parse(%q) = %d, %v; want %d", numeral, got, err, n)
		}
	}
	for _, numeral := range []string{"", "IIII", "VX", "ABC"} {
		if _, err := Parse(numeral); !errors.Is(err, ErrNumeral) {
			t.Errorf("Parse(%q): got error %v, want %v", numeral, err, ErrNumeral)
		}
	}
}
