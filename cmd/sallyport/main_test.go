package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// raceOptions keep a process that is built with the race detector from sleeping for a second before it exits: the tests
// run a verb in a process of its own hundreds of times.
const raceOptions = "atexit_sleep_ms=10"

func TestMain(m *testing.M) {
	if err := os.Setenv("GORACE", raceOptions); err != nil {
		panic(err)
	}
	testscript.Main(m, map[string]func(){"sallyport": main})
}
