package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/config"
	"sallyport/disk"
	"sallyport/store"
	"sallyport/store/bolt"
)

func restoreCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "restore FILE",
		Short: "Put a copy that backup made in the place of the store; the server must be stopped",
		Long: "Put a copy that backup made in the place of the store; the server must be stopped. The copy is checked first, the store that was\n" +
			"there is kept beside it, and the audit record goes on. Everybody has to sign in again. Let the identity provider provision anew\n" +
			"afterwards: what it pushed since the copy was made is missing.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file, err := config.Load(configPath(cmd))
			if err != nil {
				return err
			}
			former, err := restore(cmd.Context(), file, args[0])
			if err != nil {
				return fmt.Errorf("restoring %s: %w", args[0], err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "restored %s to %s\n", args[0], file.Store.Bolt.Path)
			if former != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "the former store is %s\n", former)
			}
			fmt.Fprintln(cmd.OutOrStdout(), "start the server, and let the identity provider provision anew before you trust the directory")
			return nil
		},
	}
}

// restore puts a checked copy of the file at from in the place of the store, and returns where the former store is. What
// is there beside the store refuses the copy until it is resumed, so a crash in between lets nobody in.
func restore(ctx context.Context, file *config.File, from string) (former string, err error) {
	path := file.Store.Bolt.Path
	if err := demandStopped(path); err != nil {
		return "", err
	}
	part := path + ".restoring"
	if err := copyFile(from, part); err != nil {
		return "", err
	}
	defer func() { _ = os.Remove(part) }()
	if err := markCopy(ctx, part); err != nil {
		return "", err
	}
	like := filepath.Dir(path)
	if _, err := os.Lstat(path); err == nil {
		like = path
	}
	if err := disk.OwnAs(part, like); err != nil {
		return "", err
	}
	if like == path {
		former = path + ".replaced-" + time.Now().UTC().Format("20060102T150405Z")
		if err := os.Rename(path, former); err != nil {
			return "", err
		}
	}
	if err := os.Rename(part, path); err != nil {
		return "", err
	}
	return former, goOn(ctx, file, reasonRestored)
}

// demandStopped returns an error if a process has the store at path open. A damaged or missing one may be replaced.
func demandStopped(path string) error {
	st, err := bolt.Open(path, bolt.Options{Copy: true})
	switch {
	case errors.Is(err, store.ErrLocked):
		return fmt.Errorf("%w; stop the server first", err)
	case err != nil:
		return nil
	}
	return st.Close()
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Sync(), out.Close())
}

// markCopy checks every page and record of the copy at path, and marks it as a copy: older versions of `backup` did not.
func markCopy(ctx context.Context, path string) error {
	st, err := bolt.Open(path, bolt.Options{Copy: true})
	if err != nil {
		return err
	}
	err = st.Check(ctx)
	if err == nil {
		_, err = st.Update(ctx, func(w store.Writer) error {
			if _, err := w.Get([]byte(copyKey)); !errors.Is(err, store.ErrNotFound) {
				return err
			}
			return putCopyMark(w, time.Time{})
		})
	}
	return errors.Join(err, st.Close())
}

// goOn resumes the store, which may be behind, in the name of the operator.
func goOn(ctx context.Context, file *config.File, reason string) error {
	st, err := bolt.Open(file.Store.Bolt.Path, bolt.Options{Behind: true})
	if err != nil {
		return err
	}
	record, err := audit.Open(file.Audit.File)
	if err != nil {
		return errors.Join(fmt.Errorf("opening the audit record: %w", err), st.Close())
	}
	operator := admin.Operator(systemUserName(os.Getuid()), "command line")
	return errors.Join(resumeStore(ctx, st, record, operator, reason), disk.OwnAs(file.Audit.File, file.Store.Bolt.Path), record.Close(), st.Close())
}
