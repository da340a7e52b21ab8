// Package units converts between units of measure.
package units

import (
	"errors"
	"fmt"
)

var (
	// ErrUnit is returned for a unit that Convert does not know.
	ErrUnit = errors.New("unknown unit")
	// ErrKind is returned for units that do not measure the same.
	ErrKind = errors.New("not units of the same kind")
)

type kind int

const (
	length kind = iota
	mass
)

// known has each unit's size in metres or in kilograms.
var known = map[string]struct {
	kind kind
	size float64
}{
	"m":  {length, 1},
	"km": {length, 1000},
	"mi": {length, 1609.344},
	"kg": {mass, 1},
	"lb": {mass, 0.45359237},
}

// Convert says what value, in one unit, is in another.
func Convert(value float64, from, to string) (float64, error) {
	source, ok := known[from]
	if !ok {
		return 0, fmt.Errorf("%w: %q", ErrUnit, from)
	}
	target, ok := known[to]
	if !ok {
		return 0, fmt.Errorf("%w: %q", ErrUnit, to)
	}
	if source.kind != target.kind {
		return 0, ErrKind
	}
	return value * source.size / target.size, nil
}
