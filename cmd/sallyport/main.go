// Command sallyport is the whole product in one binary: the server that
// receives SCIM pushes and guards upstreams, and the verbs that operate it.
//
// This package only parses arguments, wires rooms together from the ground up
// and turns results into exit codes; nothing here decides anything about access.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Exit codes of every verb.
const (
	exitOK     = 0 // yes, or done
	exitError  = 1 // it could not be done; standard error says why
	exitDenied = 2 // it was done, and the answer is no (denied, unsound)
)

// errDenied marks an answer of "no" that is not a failure of the verb itself.
var errDenied = errors.New("denied")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main as a function of its surroundings, so that tests can call it.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errDenied):
		fmt.Fprintln(errs, err)
		return exitDenied
	default:
		fmt.Fprintln(errs, "sallyport:", err)
		return exitError
	}
}
