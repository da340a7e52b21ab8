//go:build cgo

// Package native doubles numbers, in C where there is a compiler.
package native

/*
static int twice(int n) { return 2 * n; }
*/
import "C"

// Twice is 2n.
func Twice(n int) int {
	if n == 0 {
		return 0
	}
	return int(C.twice(C.int(n)))
}
