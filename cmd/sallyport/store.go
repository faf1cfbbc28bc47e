package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"sallyport/config"
	"sallyport/store"
	"sallyport/store/bolt"
)

// openStore opens the store that the configuration selects. With init, it creates one that is missing.
func openStore(s config.Store, init bool) (*bolt.Store, error) {
	return bolt.Open(s.Bolt.Path, bolt.Options{Init: init})
}

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
			st, err := openStore(file.Store, false)
			if errors.Is(err, store.ErrUnsound) {
				return fmt.Errorf("%w: %w", errDenied, err)
			}
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
