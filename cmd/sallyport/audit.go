package main

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/spf13/cobra"

	"sallyport/audit"
	"sallyport/config"
)

func auditCommand() *cobra.Command {
	c := &cobra.Command{Use: "audit", Short: "Follow, export and check the record of who was allowed, denied and cut, and of what was changed"}
	c.AddCommand(auditVerifyCommand(), &cobra.Command{
		Use:     "key",
		Short:   "Print the public keys that the record is signed with (JWK Set)",
		Example: "  sallyport audit key > audit-key.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := newControlClient(cmd)
			if err != nil {
				return err
			}
			var trust recordTrust
			if err := client.call(cmd.Context(), http.MethodGet, "/record", nil, &trust); err != nil {
				return err
			}
			enc := json.NewEncoder(cmd.OutOrStdout())
			enc.SetIndent("", "  ")
			return enc.Encode(trust.Keys)
		},
	})
	c.AddCommand(auditTailCommand(), auditExportCommand(), auditSchemaCommand(), auditReceiptCommand(), auditReportCommand())
	return c
}

func auditSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of a line of the record",
		Example: "  sallyport audit schema > record.schema.json",
		Args:    cobra.NoArgs,
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

func auditVerifyCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "verify [FILE]...",
		Short: "Check that no line of the record was changed, removed or inserted",
		Long: "Check that no line of the record was changed, removed or inserted. Without FILE, all files of this installation's record are\n" +
			"checked in their order, with the keys and the last known end of it that the store has: lines that are missing at its end are\n" +
			"found too. With FILE, copies are checked wherever they are; give --key to check who signed them. Exits with 2 if the record\n" +
			"is not sound, and names the first line that is not.",
		Example: "  sallyport audit verify\n" +
			"  sallyport audit verify --key audit-key.json audit.jsonl",
		Annotations: exits(exitDenied, "the record is not sound"),
	}
	keyFiles := c.Flags().StringArray("key", nil, "a `FILE` that `sallyport audit key` printed; may be repeated")
	addOutputFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		trust, err := readKeyFiles(*keyFiles)
		if err != nil {
			return err
		}
		if len(args) > 0 {
			return verifyFiles(cmd, args, trust)
		}
		return verifyInstalled(cmd, trust)
	}
	return c
}

// readKeyFiles returns the keys in files. If there are some, a record must be signed with them.
func readKeyFiles(paths []string) (trust audit.Trust, err error) {
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return trust, err
		}
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(text, &set); err != nil || len(set.Keys) == 0 {
			return trust, fmt.Errorf("%s has no keys; it must be what `sallyport audit key` printed", path)
		}
		if err := trustKeys(&trust, set); err != nil {
			return trust, fmt.Errorf("%s: %w", path, err)
		}
	}
	trust.Signed = len(paths) > 0
	return trust, nil
}

func trustKeys(trust *audit.Trust, set jose.JSONWebKeySet) error {
	if trust.Keys == nil {
		trust.Keys = map[string]ed25519.PublicKey{}
	}
	for _, key := range set.Keys {
		public, ok := key.Key.(ed25519.PublicKey)
		if !ok {
			return fmt.Errorf("the key %q is no public Ed25519 key; name what `sallyport audit key` printed", printable(key.KeyID))
		}
		trust.Keys[key.KeyID] = public
	}
	return nil
}

// verifyInstalled checks all files of the record of this installation.
func verifyInstalled(cmd *cobra.Command, trust audit.Trust) error {
	path, err := findInstallation(configPath(cmd)).auditFile()
	if err != nil {
		return err
	}
	known, err := findTrust(cmd) // before the record is opened, which may be growing
	if err == nil {
		trust.Mark = known.Mark
		err = trustKeys(&trust, known.Keys)
	}
	if err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: the store cannot be read, so that lines that are missing at the end are not noticed: %v\n", err)
	}
	record, err := audit.OpenRecord(path)
	if err != nil {
		return err
	}
	return verifyRecord(cmd, record, trust)
}

// findTrust asks the running server what it knows of the record. If none runs, it reads the store, and changes nothing.
func findTrust(cmd *cobra.Command) (trust recordTrust, err error) {
	client, err := newControlClient(cmd)
	if err != nil {
		return trust, err
	}
	req, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, "http://control/record", nil)
	if err != nil {
		return trust, err
	}
	resp, err := client.http().Do(req)
	if notListening := (*notListeningError)(nil); errors.As(err, &notListening) && client.err == nil {
		return readStoredTrust(cmd.Context(), client.file.Store)
	}
	if err != nil {
		return trust, err
	}
	defer resp.Body.Close()
	return trust, decodeResponse(resp, &trust)
}

func readStoredTrust(ctx context.Context, s config.Store) (trust recordTrust, err error) {
	st, err := openToRead(ctx, s)
	if err != nil {
		return trust, err
	}
	replica, err := recordName(s)
	if err == nil {
		trust, err = readTrust(ctx, st, replica)
	}
	return trust, errors.Join(err, st.Close())
}

// verifyFiles checks files, wherever they are.
func verifyFiles(cmd *cobra.Command, paths []string, trust audit.Trust) error {
	record, err := audit.OpenFiles(paths)
	if err != nil {
		return err
	}
	return verifyRecord(cmd, record, trust)
}

func verifyRecord(cmd *cobra.Command, record *audit.Record, trust audit.Trust) error {
	defer record.Close()
	found, err := record.Verify(trust)
	if errors.Is(err, audit.ErrBroken) {
		return fmt.Errorf("%w: %w", errDenied, err)
	}
	if err != nil {
		return err
	}
	facts := newSoundRecord(record.Paths(), found, trust.Keys != nil)
	return printFacts(cmd, facts.String(), table{[]string{"files", "lines", "last", "signed", "gaps"}, [][]string{{strings.Join(facts.Files, " "),
		strconv.Itoa(facts.Lines), strconv.FormatUint(facts.Last, 10), strconv.FormatUint(facts.Signed, 10), strconv.Itoa(len(facts.Gaps))}}, facts})
}

// soundRecord is what verification says of a sound record.
type soundRecord struct {
	Files       []string  `json:"files"`
	Lines       int       `json:"lines"`
	First       uint64    `json:"first"` // the number of the first line
	Last        uint64    `json:"last"`
	Checkpoints int       `json:"checkpoints"`
	Checked     bool      `json:"signatures_checked"`
	Signed      uint64    `json:"signed"` // the number of the last line that a checked signature covers
	Gaps        []lineGap `json:"gaps"`
}

// lineGap is lines that are not there, and that the record says were moved.
type lineGap struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

func newSoundRecord(files []string, found audit.Checked, checked bool) soundRecord {
	s := soundRecord{Files: files, Lines: found.Lines, First: found.First, Last: found.Last, Checkpoints: found.Checkpoints, Checked: checked, Gaps: []lineGap{}}
	if checked {
		s.Signed = found.Signed
	}
	for _, gap := range found.Gaps {
		s.Gaps = append(s.Gaps, lineGap(gap))
	}
	return s
}

// String returns the facts as lines for people.
func (s soundRecord) String() string {
	lines := []string{fmt.Sprintf("%s is sound: %d lines", strings.Join(s.Files, ", "), s.Lines)}
	switch {
	case s.Checkpoints == 0:
		lines = append(lines, "no line of it is signed: it has no checkpoint")
	case !s.Checked:
		lines = append(lines, fmt.Sprintf("signatures were not checked: %d; name the keys with --key", s.Checkpoints))
	default:
		lines = append(lines, fmt.Sprintf("signed up to line %d of %d", s.Signed, s.Last))
	}
	for _, gap := range s.Gaps {
		lines = append(lines, fmt.Sprintf("lines %d to %d are not there: somebody moved or renamed their file", gap.From, gap.To))
	}
	return strings.Join(lines, "\n")
}
