package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"sallyport/config"
	"sallyport/store/bolt"
)

func storeCommand() *cobra.Command {
	c := &cobra.Command{Use: "store", Short: "Check the file that holds users, groups and sessions"}
	c.AddCommand(&cobra.Command{
		Use:   "check",
		Short: "Check every page and record of the store; the server must be stopped",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			file, err := config.Load(configPath(cmd))
			if err != nil {
				return err
			}
			st, err := bolt.Open(file.Store.Bolt.Path, bolt.Options{})
			if err != nil {
				return err
			}
			if err := errors.Join(st.Check(cmd.Context()), st.Close()); err != nil {
				return fmt.Errorf("%w: %w", errDenied, err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is sound\n", file.Store.Bolt.Path)
			return nil
		},
	})
	return c
}
