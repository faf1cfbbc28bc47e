package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"

	"sallyport/admin"
)

func reviewExportCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "export ID",
		Short:   "Print a review with all its rows, signed (JWS, ES256)",
		Example: "  sallyport access review export 5d0f1c2ab9e04d11 --output review.jws",
		Args:    cobra.ExactArgs(1),
	}
	output := c.Flags().String("output", "", "write to this new `FILE`; otherwise to standard output")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		var signed signedReview
		if err := callReview(cmd, http.MethodGet, reviewPath(args[0], "/export"), nil, &signed); err != nil {
			return err
		}
		if *output == "" {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), signed.JWS)
			return err
		}
		return writeNewFile(*output, []byte(signed.JWS+"\n"))
	}
	return c
}

// writeNewFile writes a file that does not exist yet, for its owner alone.
func writeNewFile(path string, text []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(path))
	}
	return nil
}

func reviewKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "key",
		Short: "Print the public keys that exports are verified with, as a JWK set",
		Long: "Print the public keys that exports of this installation are verified with, as a JWK set. It has no secret. Whoever verifies\n" +
			"exports should get it once, and not with each of them.",
		Example: "  sallyport access review key > review-key.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var set json.RawMessage
			if err := callReview(cmd, http.MethodGet, "/review-keys", nil, &set); err != nil {
				return err
			}
			return writeJSON(cmd.OutOrStdout(), set)
		},
	}
}

func reviewVerifyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check that an exported review is what was signed",
		Long: "Check that an exported review is what was signed. With --key, no server and no configuration is needed; without it, the\n" +
			"keys of this installation are used. Exits with 2 if the export is not sound.",
		Example:     "  sallyport access review verify review.jws --key review-key.json",
		Annotations: exits(exitDenied, "the export is not sound"),
		Args:        cobra.ExactArgs(1),
	}
	keyFile := c.Flags().String("key", "", "the `FILE` that `sallyport access review key` printed")
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		text, err := os.ReadFile(args[0])
		if err != nil {
			return err
		}
		keys, err := reviewKeys(cmd, *keyFile)
		if err != nil {
			return err
		}
		export, keyID, err := admin.VerifyReview(string(text), keys)
		if err != nil {
			return fmt.Errorf("%w: %s: %w", errDenied, args[0], err)
		}
		n := export.Review.Counts
		said := fmt.Sprintf("%s is sound: signed by the key %s\nreview %s of %s, %s, exported %s by %s: %d rows, of which %d keep, %d revoke, %d ask and %d are undecided", args[0], keyID,
			printable(export.Review.ID), printable(export.Review.Route), export.Review.State, export.Exported.Format(time.RFC3339), printable(export.By), n.Total(), n.Keep, n.Revoke, n.Ask, n.Open)
		return printFacts(cmd, said, table{[]string{"file", "key", "review", "route", "exported", "by", "rows"},
			[][]string{{args[0], keyID, export.Review.ID, export.Review.Route, export.Exported.Format(time.RFC3339), export.By, strconv.Itoa(n.Total())}},
			soundReview{args[0], true, keyID, export.Review.ID, export.Review.Route, export.Exported, export.By, n.Total()}})
	}
	return c
}

// soundReview is what verification says of a sound export.
type soundReview struct {
	File     string    `json:"file"`
	Sound    bool      `json:"sound"`
	Key      string    `json:"key"`
	Review   string    `json:"review"`
	Route    string    `json:"route"`
	Exported time.Time `json:"exported"`
	By       string    `json:"by"`
	Rows     int       `json:"rows"`
}

// reviewKeys returns the keys in a file, or else those of this installation.
func reviewKeys(cmd *cobra.Command, path string) (set jose.JSONWebKeySet, err error) {
	if path == "" {
		return set, callReview(cmd, http.MethodGet, "/review-keys", nil, &set)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return set, err
	}
	var one jose.JSONWebKey
	switch err := json.Unmarshal(text, &set); {
	case err == nil && len(set.Keys) > 0:
		return set, nil
	case json.Unmarshal(text, &one) == nil:
		return jose.JSONWebKeySet{Keys: []jose.JSONWebKey{one}}, nil
	}
	return set, fmt.Errorf("%s has no keys; it must be what `sallyport access review key` printed, or one of its keys", path)
}
