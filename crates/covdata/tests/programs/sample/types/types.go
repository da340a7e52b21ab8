// Package types has no function at all.
package types

// Limit is a constant.
const Limit = 3

// Pair is a type.
type Pair struct{ A, B int }
