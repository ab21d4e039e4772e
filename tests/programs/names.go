// A Go name, which is shown as it is: main.iterate.
package main

import (
	"os"
	"strconv"
	"time"
)

var state uint64 = 1

//go:noinline
func iterate(rounds int) {
	for i := 0; i < rounds; i++ {
		state = state*31 + uint64(i)
	}
}

func main() {
	seconds := 2
	if len(os.Args) > 1 {
		seconds, _ = strconv.Atoi(os.Args[1])
	}
	for end := time.Now().Add(time.Duration(seconds) * time.Second); time.Now().Before(end); {
		iterate(100000)
	}
}
