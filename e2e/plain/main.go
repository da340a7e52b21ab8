// Command plain handles no signal, so only its end writes its counters, if that
// is a clean one. It does what the lines of its input say, and prints each when
// it is done.
//
//	one, two, three      runs the function of that name
//	panic                panics
//	grow                 takes memory until it is killed
//	write, clear         writes its counters, or clears them
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime/coverage"
)

func main() {
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		if err := do(lines.Text()); err != nil {
			fmt.Println(err)
		}
		fmt.Println(lines.Text())
	}
}

func do(line string) error {
	switch line {
	case "one":
		one()
	case "two":
		two()
	case "three":
		three()
	case "panic":
		panic("as it was told")
	case "grow":
		grow()
	case "write":
		return coverage.WriteCountersDir(os.Getenv("GOCOVERDIR"))
	case "clear":
		return coverage.ClearCounters()
	}
	return nil
}

var ran int

func one() { ran++ }

func two() { ran++ }

func three() { ran++ }

func grow() {
	var taken [][]byte
	for {
		piece := make([]byte, 1<<20)
		for i := 0; i < len(piece); i += 4096 {
			piece[i] = 1
		}
		taken = append(taken, piece)
		ran += len(taken)
	}
}
