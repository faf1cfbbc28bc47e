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
	c := &cobra.Command{Use: "audit", Short: "Follow, search, export and check the record of who was allowed, denied and cut, and of what was changed"}
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
	c.AddCommand(auditSearchCommand(), auditShowCommand(), auditTailCommand(), auditExportCommand(), auditSchemaCommand(), auditReceiptCommand(), auditReportCommand())
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
			"found too. With FILE, copies are checked wherever they are; give --key to check who signed them. The files may be of several\n" +
			"replicas that use one store: then each change of the directory must be in exactly one record. Exits with 2 if a record is not\n" +
			"sound, and names the first line that is not, or if a change is missing or in two records.",
		Example: "  sallyport audit verify\n" +
			"  sallyport audit verify --key audit-key.json audit.jsonl\n" +
			"  sallyport audit verify --key audit-key.json replica-1/*.jsonl replica-2/*.jsonl replica-3/*.jsonl",
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
	trust.Changes = record.Parts()[0].Replica() != "" || len(record.Parts()) > 1
	all, checked := soundRecords{}, map[string]audit.Checked{}
	for _, part := range record.Parts() {
		found, err := part.Verify(trust)
		if errors.Is(err, audit.ErrBroken) {
			return fmt.Errorf("%w: %w", errDenied, err)
		}
		if err != nil {
			return err
		}
		checked[part.Replica()] = found
		all.Records = append(all.Records, newSoundRecord(part, found, trust.Keys != nil))
	}
	if trust.Changes {
		all.Compared = audit.CompareChanges(checked)
	}
	if len(all.Records) == 1 {
		facts := all.Records[0]
		facts.Elsewhere = len(all.Missing)
		return printFacts(cmd, facts.String(), table{soundHeads, [][]string{facts.row()}, facts})
	}
	if err := all.err(); err != nil {
		return err
	}
	t := table{append([]string{"replica"}, soundHeads...), nil, all}
	for _, facts := range all.Records {
		t.rows = append(t.rows, append([]string{facts.Replica}, facts.row()...))
	}
	return printFacts(cmd, all.String(), t)
}

// soundRecord is what verification says of a sound record.
type soundRecord struct {
	Replica     string    `json:"replica,omitempty"` // whose it is, of several that use one store
	Files       []string  `json:"files"`
	Lines       int       `json:"lines"`
	First       uint64    `json:"first"` // the number of the first line
	Last        uint64    `json:"last"`
	Checkpoints int       `json:"checkpoints"`
	Checked     bool      `json:"signatures_checked"`
	Signed      uint64    `json:"signed"` // the number of the last line that a checked signature covers
	Gaps        []lineGap `json:"gaps"`
	Elsewhere   int       `json:"changes_elsewhere,omitempty"` // of the directory, which other replicas recorded, at least
}

var soundHeads = []string{"files", "lines", "last", "signed", "gaps"}

func (s soundRecord) row() []string {
	return []string{strings.Join(s.Files, " "), strconv.Itoa(s.Lines), strconv.FormatUint(s.Last, 10), strconv.FormatUint(s.Signed, 10), strconv.Itoa(len(s.Gaps))}
}

// lineGap is lines that are not there, and that the record says were moved.
type lineGap struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
}

// String says it for people. A file may go on before the end of the one before it: then To is less than From.
func (g lineGap) String() string {
	if g.To < g.From {
		return fmt.Sprintf("a file goes on after line %d, and the file before it ends with line %d: two servers had one name, or the file was moved after its server was killed", g.To, g.From-1)
	}
	return fmt.Sprintf("lines %d to %d are not there: somebody moved or renamed their file", g.From, g.To)
}

func newSoundRecord(record *audit.Record, found audit.Checked, checked bool) soundRecord {
	s := soundRecord{Replica: record.Replica(), Files: record.Paths(), Lines: found.Lines, First: found.First, Last: found.Last, Checkpoints: found.Checkpoints, Checked: checked, Gaps: []lineGap{}}
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
		lines = append(lines, gap.String())
	}
	if s.Replica != "" {
		lines[0] += ", of " + printable(s.Replica)
	}
	if s.Elsewhere > 0 {
		lines = append(lines, fmt.Sprintf("of %s alone: give the files of the other replicas, too, which have at least %d changes of the directory that are not here", printable(s.Replica), s.Elsewhere))
	}
	return strings.Join(lines, "\n")
}
