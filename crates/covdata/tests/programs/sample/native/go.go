//go:build !cgo

// Package native doubles numbers, in C where there is a compiler.
package native

// Twice is 2n.
func Twice(n int) int { return 2 * n }
