// Command one does what its arguments say.
package main

import (
	"fmt"
	"os"

	"sample/empty"
	"sample/lib"
	"sample/types"
)

func main() {
	empty.Nothing()
	empty.Void(types.Limit)
	for _, arg := range os.Args[1:] {
		switch arg {
		case "add":
			fmt.Println(lib.Sum([]int{1, 2, 3}))
		case "join":
			fmt.Println(lib.Sum([]string{"a", "b"}))
		case "panic":
			panic("told to")
		case "exit":
			os.Exit(3)
		default:
			fmt.Println(lib.Classify(len(arg)))
		}
	}
}
