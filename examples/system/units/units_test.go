package units

import (
	"errors"
	"math"
	"testing"
)

func TestConvert(t *testing.T) {
	tests := []struct {
		value    float64
		from, to string
		want     float64
	}{
		{5, "m", "m", 5},
		{1, "mi", "km", 1.609344},
		{1, "kg", "lb", 2.2046226218},
	}
	for _, test := range tests {
		got, err := Convert(test.value, test.from, test.to)
		if err != nil || math.Abs(got-test.want) > 1e-9 {
			t.Errorf("Convert(%v, %q, %q) = %v, %v; want %v", test.value, test.from, test.to, got, err, test.want)
		}
	}
}

func TestConvertRefuses(t *testing.T) {
	tests := []struct {
		from, to string
		want     error
	}{
		{"ell", "m", ErrUnit},
		{"m", "ell", ErrUnit},
		{"m", "kg", ErrKind},
	}
	for _, test := range tests {
		if _, err := Convert(1, test.from, test.to); !errors.Is(err, test.want) {
			t.Errorf("Convert from %q to %q: got error %v, want %v", test.from, test.to, err, test.want)
		}
	}
}
