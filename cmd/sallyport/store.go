package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"sallyport/config"
	"sallyport/session"
	"sallyport/store"
	"sallyport/store/bolt"
)

func storeCommand() *cobra.Command {
	c := &cobra.Command{Use: "store", Short: "The file that holds users, groups and sessions"}
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
				return fmt.Errorf("%w: %v", errDenied, err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is sound\n", file.Store.Bolt.Path)
			return nil
		},
	})
	return c
}

func backupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a consistent copy of the store to FILE, while serving or not",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			o, err := newOperator(cmd)
			if err != nil {
				return err
			}
			return o.send(cmd.Context(), http.MethodGet, "/backup", new(bytes.Buffer), func(r *http.Response) error {
				return saveBackup(r, args[0])
			})
		},
	}
}

// dropSessions takes the sessions out of a copy: one that is restored must not
// let anybody in again who has since been shut out.
func dropSessions(ctx context.Context, path string) error {
	st, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		return err
	}
	_, err = st.Update(ctx, func(w store.Writer) error { return session.Clear(w) })
	return errors.Join(err, st.Close())
}

// saveBackup writes beside path first, so that path is either whole or not there.
func saveBackup(r *http.Response, path string) error {
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r.Body)
	if problem := r.Trailer.Get("Sallyport-Error"); err == nil && problem != "" {
		err = errors.New(problem)
	}
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = dropSessions(r.Request.Context(), part)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("backing up to %s: %w", path, err), os.Remove(part))
	}
	err = os.Link(part, path) // unlike a rename, this replaces nothing
	return errors.Join(err, os.Remove(part))
}
