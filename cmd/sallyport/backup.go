package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"

	"sallyport/grant"
	"sallyport/session"
	"sallyport/store"
	"sallyport/store/bolt"
)

func backupCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Write a consistent copy of the store to FILE, whether the server runs or not",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if _, err := os.Lstat(args[0]); err == nil {
				return alreadyExists(args[0])
			}
			client, err := newControlClient(cmd)
			if err != nil {
				return err
			}
			begun := time.Now()
			return client.send(cmd.Context(), http.MethodGet, "/backup", new(bytes.Buffer), func(resp *http.Response) error {
				if err := responseError(resp); err != nil {
					return fmt.Errorf("backing up to %s: %w", args[0], err)
				}
				return saveBackup(resp, args[0], begun)
			})
		},
	}
}

// saveBackup writes the copy to a file beside path first, so that path is whole or does not exist.
func saveBackup(resp *http.Response, path string, begun time.Time) error {
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is in the way: another backup to %s is under way, or was interrupted; remove it if none runs", part, path)
	}
	if err != nil {
		return fmt.Errorf("backing up to %s: %w", path, err)
	}
	_, err = io.Copy(f, resp.Body)
	if text := resp.Trailer.Get(backupError); err == nil && text != "" {
		err = errors.New(text)
	}
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = finishCopy(resp.Request.Context(), part, begun)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("backing up to %s: %w", path, err), os.Remove(part))
	}
	err = os.Link(part, path) // unlike a rename, a link replaces nothing
	if errors.Is(err, os.ErrExist) {
		err = alreadyExists(path)
	}
	return errors.Join(err, os.Remove(part))
}

func alreadyExists(path string) error {
	return fmt.Errorf("%s exists already, and a backup replaces nothing; name another file", path)
}

// finishCopy marks a copy, and deletes the sessions from it: a session that was ended after the copy was made must not be
// valid again once the copy is restored.
func finishCopy(ctx context.Context, path string, begun time.Time) error {
	st, err := bolt.Open(path, bolt.Options{Copy: true})
	if err != nil {
		return err
	}
	_, err = st.Update(ctx, func(w store.Writer) error {
		return errors.Join(session.Clear(w), grant.Clear(w, time.Now().UTC()), deleteIssuerKeys(w), clearAuditKeys(w), putCopyMark(w, begun))
	})
	return errors.Join(err, st.Close())
}

func putCopyMark(w store.Writer, made time.Time) error {
	text, err := json.Marshal(copyMark{made.UTC()})
	if err != nil {
		return err
	}
	return w.Put([]byte(copyKey), text)
}
