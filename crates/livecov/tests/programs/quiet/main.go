// Quiet works when it is told to, and counts nothing in between.
package main

import (
	"bufio"
	"fmt"
	"os"

	"quiet/native"
	"quiet/work"
)

func main() {
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		fmt.Println(work.Do(lines.Text()), native.Add(1, 2))
	}
	// What follows is in the block of what comes before the loop: the end counts nothing new.
}
