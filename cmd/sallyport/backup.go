package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"
	"github.com/spf13/cobra"

	"sallyport/backup"
)

func backupCommand() *cobra.Command {
	var recipients, files []string
	c := &cobra.Command{
		Use:   "backup FILE",
		Short: "Write the content of the store to FILE, whether the server runs or not",
		Long: "Write the content of the store to FILE, whether the server runs or not. The backup has users, groups, memberships, suspensions,\n" +
			"reviews, the history, and the digests of provisioning tokens. It has no sessions, no open grants, no private keys and no\n" +
			"certificates, so that nothing comes back by it that ended since. It has personal data: encrypt it.\n\n" +
			"With --recipient or --recipient-file, FILE is encrypted by age (age-encryption.org) before it is written.",
		Example: "  sallyport backup sallyport-2026-11-29.backup\n" +
			"  sallyport backup --recipient-file backup-keys.txt sallyport-2026-11-29.age",
		Annotations: exits(exitError, "an error, which standard error describes; there is no FILE then"),
		Args:        cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			to, err := readRecipients(recipients, files)
			if err != nil {
				return err
			}
			if _, err := os.Lstat(args[0]); err == nil {
				return alreadyExists(args[0])
			}
			client, err := newControlClient(cmd)
			if err != nil {
				return err
			}
			return client.send(cmd.Context(), http.MethodGet, "/backup", new(bytes.Buffer), func(resp *http.Response) error {
				if err := responseError(resp); err != nil {
					return fmt.Errorf("backing up to %s: %w", args[0], err)
				}
				return saveBackup(resp, args[0], to)
			})
		},
	}
	c.Flags().StringArrayVar(&recipients, "recipient", nil, "encrypt the backup to this `RECIPIENT` (age1…); may be repeated")
	c.Flags().StringArrayVar(&files, "recipient-file", nil, "encrypt the backup to the recipients in `FILE`, one a line; may be repeated")
	_ = c.RegisterFlagCompletionFunc("recipient", cobra.NoFileCompletions)
	return c
}

// readRecipients returns whom a backup is encrypted to; none: it is not encrypted.
func readRecipients(texts, files []string) (all []age.Recipient, err error) {
	for _, text := range texts {
		if strings.Contains(strings.ToUpper(text), "AGE-SECRET-KEY") {
			return nil, errors.New("--recipient got a secret key, which others can read in the list of processes: make a new one, and name the public key (age1…) that age-keygen prints")
		}
		found, err := backup.ParseRecipients(strings.NewReader(text))
		if err != nil {
			return nil, fmt.Errorf("--recipient %q is not the public key of an age identity (age1…)", text)
		}
		all = append(all, found...)
	}
	for _, path := range files {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("--recipient-file: %w", err)
		}
		found, err := backup.ParseRecipients(f)
		_ = f.Close()
		if err != nil { // which may say what is in the file
			return nil, fmt.Errorf("--recipient-file %s is not a list of public keys of age identities (age1…), one a line", path)
		}
		all = append(all, found...)
	}
	return all, nil
}

// saveBackup writes the stream in a response to a file beside path first, so that path is whole or does not exist.
func saveBackup(resp *http.Response, path string, recipients []age.Recipient) error {
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is in the way: another backup to %s is under way, or was interrupted; remove it if none runs", part, path)
	}
	if err != nil {
		return fmt.Errorf("backing up to %s: %w", path, err)
	}
	err = writeBackup(f, resp, recipients)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(fmt.Errorf("backing up to %s: %w", path, err), os.Remove(part))
	}
	err = os.Link(part, path) // unlike a rename, a link replaces nothing
	if errors.Is(err, os.ErrExist) {
		err = alreadyExists(path)
	}
	return errors.Join(err, os.Remove(part), syncFolder(filepath.Dir(path)))
}

// writeBackup writes the stream in a response to out, encrypted if there are recipients, and checks on the way that it is whole.
func writeBackup(out io.Writer, resp *http.Response, recipients []age.Recipient) error {
	to, end := out, func() error { return nil }
	if len(recipients) > 0 {
		encrypted, err := backup.Encrypt(out, recipients)
		if err != nil {
			return fmt.Errorf("encrypting: %w", err)
		}
		to, end = encrypted, encrypted.Close
	}
	r, err := backup.NewReader(io.TeeReader(resp.Body, to))
	if err == nil {
		for _, failed := range r.Records() {
			if failed != nil {
				err = failed
			}
		}
	}
	if text := resp.Trailer.Get(backupError); text != "" {
		err = errors.New(text)
	}
	return errors.Join(err, end())
}

func alreadyExists(path string) error {
	return fmt.Errorf("%s exists already, and a backup replaces nothing; name another file", path)
}

func syncFolder(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
