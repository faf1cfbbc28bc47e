package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"sallyport": main})
}

// TestVerbs runs every script in testdata/script: the verbs as an operator types them.
func TestVerbs(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script"})
}
