package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"sallyport/audit"
	"sallyport/config"
	"sallyport/store"
)

func storeCommand() *cobra.Command {
	c := &cobra.Command{Use: "store", Short: "Check and copy the file that holds users, groups and sessions"}
	c.AddCommand(acceptLossCommand(), storeCheckCommand(), storeCopyCommand())
	return c
}

func storeCheckCommand() *cobra.Command {
	c := &cobra.Command{
		Use:         "check",
		Short:       "Check every page and record of the store; the server must be stopped",
		Example:     "  sallyport store check",
		Annotations: exits(exitDenied, "the store is not sound"),
		Args:        cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			file, err := config.Load(configPath(cmd))
			if err != nil {
				return err
			}
			release, err := lockRecord(file)
			if err != nil {
				return stopFirst(err)
			}
			defer release()
			st, err := openStore(cmd.Context(), file.Store, false, nil)
			if errors.Is(err, store.ErrUnsound) {
				return fmt.Errorf("%w: %w", errDenied, err)
			}
			if err != nil {
				return stopFirst(err)
			}
			if err := errors.Join(checkStore(cmd.Context(), st), compareWithRecord(cmd.Context(), st, file), st.Close()); err != nil {
				return fmt.Errorf("%w: %s: %w", errDenied, file.Store, err)
			}
			where := file.Store.String()
			return printFacts(cmd, where+" is sound", table{[]string{"store", "sound"}, [][]string{{where, "true"}}, soundStore{where, true}})
		},
	}
	addOutputFlag(c)
	return c
}

// stopFirst adds to the error of a store that a server holds what to do.
func stopFirst(err error) error {
	if errors.Is(err, store.ErrLocked) {
		return fmt.Errorf("%w; stop the server first", err)
	}
	return err
}

// soundStore is what a check says that found nothing.
type soundStore struct {
	Store string `json:"store"`
	Sound bool   `json:"sound"`
}

// checkStore checks every page, if the store is a file, and then what every record says.
func checkStore(ctx context.Context, st store.Store) error {
	if pages, ok := st.(interface {
		Check(ctx context.Context) error
	}); ok {
		if err := pages.Check(ctx); err != nil {
			return err
		}
	}
	found, err := inspect(ctx, st)
	return errors.Join(err, found.err())
}

// compareWithRecord returns an error if the store lacks a change that the audit record contains. Without a record there
// is nothing to compare, and a restored copy has not been resumed yet.
func compareWithRecord(ctx context.Context, st store.Store, file *config.File) error {
	if marked, err := hasKey(st, copyKey); err != nil || marked {
		return err
	}
	if _, err := os.Stat(file.Audit.File); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	record, err := audit.Open(file.Audit.File)
	if err != nil {
		return fmt.Errorf("opening the audit record: %w", err)
	}
	return errors.Join(checkRecorded(ctx, st, record, file), record.Close())
}

func acceptLossCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "accept-loss",
		Short: "Go on with a store that lacks acknowledged changes; the server must be stopped",
		Long: "Go on with a store that lacks acknowledged changes, if there is no backup to restore; the server must be stopped. Everybody has to\n" +
			"sign in again. Tokens that were revoked and users who were suspended may be as before: look at them before you start the server.\n" +
			"That the loss was accepted is recorded.",
		Example: "  sallyport store accept-loss",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			file, err := config.Load(configPath(cmd))
			if err != nil {
				return err
			}
			release, err := lockRecord(file)
			if err != nil {
				return stopFirst(err)
			}
			defer release()
			st, err := openStore(cmd.Context(), file.Store, false, nil)
			if err == nil {
				err = errors.Join(compareWithRecord(cmd.Context(), st, file), st.Close())
			}
			switch {
			case err == nil:
				return fmt.Errorf("%s has every change that was acknowledged; nothing was done", file.Store)
			case !errors.Is(err, store.ErrBehind):
				return stopFirst(err)
			}
			if err := goOn(cmd.Context(), file, reasonLossAccepted); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "the loss is accepted and recorded, and everybody has to sign in again\n"+
				"look at `sallyport token list`, `sallyport users list` and `sallyport scim held list`, start the server, and let the identity provider provision anew\n")
			return nil
		},
	}
}
