// Goroutines that call deeply, in a language with frame pointers and without .eh_frame.
package main

import (
	"fmt"
	"sort"
	"strings"
)

//go:noinline
func recurse(depth int, words []string) int {
	if depth == 0 {
		sort.Strings(words)
		return len(strings.Join(words, " "))
	}
	return recurse(depth-1, words) + 1
}

func busy() {
	for i := 0; ; i++ {
		words := []string{"one", "two", "three", fmt.Sprint(i)}
		_ = recurse(20, words)
	}
}

func main() {
	fmt.Println("ready")
	go busy()
	busy()
}
