package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/spf13/cobra"

	"sallyport/audit"
	"sallyport/config"
)

func auditCommand() *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "The record of who was let in, turned away, cut and changed"}
	c.AddCommand(&cobra.Command{
		Use:   "verify [FILE]",
		Short: "Check that no line of the record was changed, removed or put in",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := auditPath(cmd, args)
			if err != nil {
				return err
			}
			return verifyAudit(cmd, path)
		},
	})
	return c
}

func auditPath(cmd *cobra.Command, args []string) (string, error) {
	if len(args) == 1 {
		return args[0], nil
	}
	file, err := config.Load(configPath(cmd))
	if err != nil {
		return "", err
	}
	return file.Audit.File, nil
}

func verifyAudit(cmd *cobra.Command, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := wholeSize(f)
	if err != nil {
		return err
	}
	n, err := audit.Verify(io.LimitReader(f, size))
	if err != nil {
		return fmt.Errorf("%w: %s is not sound after %d good lines: %v", errDenied, path, n, err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s is sound: %d lines\n", path, n)
	return nil
}

const (
	lineWithin = time.Second // for a line that is being written
	lookAgain  = 5 * time.Millisecond
)

// wholeSize is how long a record is that may be growing: up to the end of a line, unless that does not come.
func wholeSize(f *os.File) (int64, error) {
	for end := time.Now().Add(lineWithin); ; time.Sleep(lookAgain) {
		info, err := f.Stat()
		switch {
		case err != nil:
			return 0, err
		case !info.Mode().IsRegular():
			return math.MaxInt64, nil
		case info.Size() == 0:
			return 0, nil
		}
		var last [1]byte
		if _, err := f.ReadAt(last[:], info.Size()-1); err != nil {
			return 0, err
		}
		if last[0] == '\n' || time.Now().After(end) {
			return info.Size(), nil
		}
	}
}
