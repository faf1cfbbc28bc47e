package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"github.com/spf13/cobra"

	"sallyport/audit"
)

func auditCommand() *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "Follow, export and check the record of who was allowed, denied and cut, and of what was changed"}
	c.AddCommand(&cobra.Command{
		Use:   "verify [FILE]",
		Short: "Check that no line of the record was changed, removed or inserted",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path, err := auditPath(cmd, args)
			if err != nil {
				return err
			}
			return verifyAudit(cmd, path)
		},
	})
	c.AddCommand(auditTailCommand(), auditExportCommand(), auditSchemaCommand())
	return c
}

func auditSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of a line of the record",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			schema, err := audit.Schema()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s\n", schema)
			return err
		},
	}
}

func auditPath(cmd *cobra.Command, args []string) (string, error) {
	if len(args) == 1 {
		return args[0], nil
	}
	return findInstallation(configPath(cmd)).auditFile()
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
		return fmt.Errorf("%w: %s is not sound after %d sound lines: %w", errDenied, path, n, err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s is sound: %d lines\n", path, n)
	return nil
}

const (
	lineTimeout  = time.Second // for the rest of a line that is being written
	lineInterval = 5 * time.Millisecond
)

// wholeSize returns the size of a record that may be growing, up to the end of a line. If the end of the last line does
// not come, it is the size of the file.
func wholeSize(f *os.File) (int64, error) {
	for deadline := time.Now().Add(lineTimeout); ; time.Sleep(lineInterval) {
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
		if last[0] == '\n' || time.Now().After(deadline) {
			return info.Size(), nil
		}
	}
}
