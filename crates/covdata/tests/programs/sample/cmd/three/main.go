// Command three runs through package shapes.
package main

import (
	"fmt"

	"sample/native"
	"sample/shapes"
)

func main() {
	tree := (*shapes.Tree[string, int])(nil)
	for i, word := range []string{"b", "a", "c", "a"} {
		tree = tree.Put(word, native.Twice(i))
	}
	numbers := make(chan int, 3)
	tree.Each(func(word string, n int) bool {
		numbers <- n
		return word != "b"
	})
	close(numbers)
	fmt.Println(shapes.Sum(numbers, nil), shapes.Count)
	shapes.Walk(5, func(n int) { fmt.Println(n) })
	for _, kind := range []string{"circle", "line"} {
		if shape, err := shapes.Of(kind, 2); err == nil {
			fmt.Println(shape.Area())
		}
	}
}
