// Command sallyport is the whole product in one binary: the server, which receives SCIM pushes and controls access to
// upstreams, and the verbs that operate it.
//
// This package parses arguments, connects the other packages and turns results into exit codes. It must not decide
// anything about access. Only this package starts long-lived goroutines.
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
	exitOK     = 0 // done, or the result is positive
	exitError  = 1 // failed; standard error says why
	exitDenied = 2 // done, but the result is negative (denied, unsound)
)

// errDenied means that the result of a verb is negative although the verb itself did not fail.
var errDenied = errors.New("denied")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is main with everything it uses as a parameter, so that tests can call it.
func run(ctx context.Context, args []string, in io.Reader, out, errs io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetIn(in)
	root.SetOut(out)
	root.SetErr(errs)
	c, err := root.ExecuteContextC(ctx)
	if err == nil {
		err = unknownCommand(c)
	}
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errDenied):
		fmt.Fprintln(errs, printableLines(err.Error()))
		return exitDenied
	default:
		fmt.Fprintln(errs, "sallyport:", printableLines(err.Error()))
		return exitError
	}
}
