package main

import (
	"fmt"
	"os"

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
	n, err := audit.Verify(f)
	if err != nil {
		return fmt.Errorf("%w: %s is not sound after %d good lines: %v", errDenied, path, n, err)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s is sound: %d lines\n", path, n)
	return nil
}
