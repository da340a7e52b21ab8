//go:build !cgo

// Package native adds in C, where that is possible.
package native

// Add adds.
func Add(a, b int) int {
	return a + b
}
