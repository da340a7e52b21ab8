// Command two shares the package lib with command one.
package main

import (
	"fmt"

	"sample/lib"
)

// A function literal outside of any function has a counter entry of its own.
var twice = func(n int) int { return 2 * n }

func main() {
	for n := 0; n < 5; n++ {
		fmt.Println(lib.Apply(n, twice), lib.Classify(n-2))
	}
}
