package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/audit/receipt"
)

// receiptRequest asks for the receipt of an offboarding.
type receiptRequest struct {
	User string    `json:"user"`
	At   time.Time `json:"at,omitzero"`

	Files []string `json:"files,omitempty"` // of the records of other replicas
}

// signedReceipt is the body of the response to it.
type signedReceipt struct {
	JWS string `json:"jws"`
}

func auditReceiptCommand() *cobra.Command {
	format := choice{"json", []string{"json", "html"}}
	var at *time.Time
	files := new([]string)
	c := &cobra.Command{
		Use:   "receipt USER",
		Short: "Print a signed receipt of the offboarding of a user",
		Long: "Print a signed receipt of the last offboarding of a user: when the push arrived and by whom, which sessions and live requests\n" +
			"it ended and after how many milliseconds, what was tried afterwards and denied, and what the user still has. USER is a userName,\n" +
			"an e-mail address, an externalId or an id; of somebody who was deleted, the userName, the externalId or the id. -o html prints a\n" +
			"page to print. With several replicas, --file names the files of the records of the others; they must be sound and signed.",
		Example: "  sallyport audit receipt ada@example.com > ada.json\n" +
			"  sallyport audit receipt ada@example.com --at 2026-05-03 -o html > ada.html",
		Annotations: exits(exitError, "an error, which standard error describes, such as that there was no offboarding"),
		Args:        cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			client, err := newControlClient(cmd)
			if err != nil {
				return err
			}
			ask, signed := receiptRequest{User: args[0]}, signedReceipt{}
			if at != nil {
				ask.At = *at
			}
			if ask.Files, err = absolutePaths(*files); err != nil {
				return err
			}
			if err := client.call(cmd.Context(), http.MethodPost, "/receipts", ask, &signed); err != nil {
				return err
			}
			return printReceipt(cmd, signed.JWS, format.value)
		},
	}
	format.addFlag(c)
	files = addRecordFlag(c)
	addAtFlag(c, &at, "the last offboarding until a `TIME`")
	c.AddCommand(receiptVerifyCommand())
	return c
}

func printReceipt(cmd *cobra.Command, signed, format string) error {
	document, r, keyID, err := receipt.Open(signed)
	if err != nil {
		return err
	}
	if r.Allowed.Count > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "warning: %d requests or logins were allowed after it; look at `allowed`\n", r.Allowed.Count)
	}
	if r.Still.Access != receipt.AccessNone {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: %s %s\n", printable(r.Person.UserName), r.Still.Sentence())
	}
	if len(r.Replicas) > 0 {
		noteNotRead(cmd, r.Replicas[0].Name, r.NotRead)
	}
	out := cmd.OutOrStdout()
	switch {
	case format == "html":
		return receipt.WritePage(out, &r, keyID, signed)
	case isTerminal(out): // what is shown is not what was signed, byte for byte
		var text strings.Builder
		if _, err := document.WriteTo(&text); err != nil {
			return err
		}
		for line := range strings.Lines(text.String()) {
			fmt.Fprintf(out, "%s\n", escapeJSON([]byte(strings.TrimSuffix(line, "\n"))))
		}
		return nil
	}
	_, err = document.WriteTo(out)
	return err
}

func receiptVerifyCommand() *cobra.Command {
	var keyFiles, files []string
	c := &cobra.Command{
		Use:   "verify FILE",
		Short: "Check that a receipt is what was signed, and that the record has its lines",
		Long: "Check that a receipt is what was signed, and that the record has the lines on which it rests. With --key, no server and no\n" +
			"configuration is needed, and the record is looked at only if --record names its files; without --key, the keys and the record of this\n" +
			"installation are used.",
		Annotations: exits(exitDenied, "the receipt is not sound, or the record has other lines"),
		Example: "  sallyport audit receipt verify ada.json\n" +
			"  sallyport audit receipt verify ada.json --key key.json\n" +
			"  sallyport audit receipt verify ada.json --key key.json --record audit.jsonl",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			trust, err := readKeyFiles(keyFiles)
			if err == nil && len(keyFiles) == 0 {
				var known recordTrust
				if known, err = findTrust(cmd); err == nil {
					err = trustKeys(&trust, known.Keys)
				}
			}
			if err != nil {
				return err
			}
			return verifyReceipt(cmd, args[0], text, trust.Keys, files, len(keyFiles) == 0)
		},
	}
	c.Flags().StringArrayVar(&keyFiles, "key", nil, "a `FILE` that `sallyport audit key` printed; may be repeated")
	c.Flags().StringArrayVar(&files, "record", nil, "a `FILE` of the record to compare with; may be repeated")
	return c
}

// verifyReceipt verifies a receipt, and compares its lines with files of the record: those named, or with installed those
// of this installation, if it has some.
func verifyReceipt(cmd *cobra.Command, path string, text []byte, keys map[string]ed25519.PublicKey, files []string, installed bool) error {
	r, keyID, err := receipt.Verify(text, keys)
	if errors.Is(err, receipt.ErrUnsound) {
		return fmt.Errorf("%w: %s: %w", errDenied, path, err)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	compared := "its lines were not compared with a record; name its files with --record"
	if len(files) > 0 || installed {
		record, err := findRecord(cmd, files)
		switch {
		case errors.Is(err, fs.ErrNotExist) && len(files) == 0:
		case err != nil:
			return err
		default:
			defer record.Close()
			if compared, err = compareReceipt(&r, record, len(files) == 0); err != nil {
				return fmt.Errorf("%s: %w", path, err)
			}
		}
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%s is sound: signed by the key %s\n%s\n", path, printable(keyID), compared)
	fmt.Fprintf(out, "%s (%s) was %s at %s; %d sessions and %d live requests ended, and everything had ended after %d ms; %d attempts were denied afterwards\n", printable(r.Person.UserName),
		printable(r.Person.ID), printable(r.Offboarding.What), r.Offboarding.Done.Format(time.RFC3339Nano), r.Enforced.Sessions, r.Enforced.Cuts, r.Enforced.Milliseconds, r.Attempts.Count)
	if r.Everywhere != nil {
		fmt.Fprintf(out, "it was %s\n", printable(r.Everywhere.Text))
	}
	fmt.Fprintf(out, "made %s by %s\n", r.Made.Format(time.RFC3339), printable(r.MadeBy.Name))
	return nil
}

// compareReceipt compares a receipt with a record. If that is whole, it must not end before a line on which the receipt
// rests; otherwise more of it may be in other files.
func compareReceipt(r *receipt.Receipt, record *audit.Record, whole bool) (string, error) {
	found, err := receipt.Compare(r, record)
	switch {
	case errors.Is(err, receipt.ErrUnsound):
		return "", fmt.Errorf("%w: %w", errDenied, err)
	case err != nil:
		return "", err
	case whole && found.Later > 0:
		return "", fmt.Errorf("%w: the record ends before %d of the lines on which the receipt rests: it was cut off, or an older one was put in its place", errDenied, found.Later)
	}
	text := fmt.Sprintf("the record has the same %d lines", found.Same)
	if found.Missing > 0 {
		text += fmt.Sprintf("; %d lines are not in it: they were deleted, or other replicas have them", found.Missing)
	}
	if found.Later > 0 {
		text += fmt.Sprintf("; its files end before %d lines", found.Later)
	}
	return text, nil
}

// makeReceipt responds with the signed receipt of an offboarding.
func (c *control) makeReceipt(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[receiptRequest](r)
	if err != nil {
		return nil, err
	}
	_, _, signed, err := c.signReceipt(ctx, actor, body)
	return signedReceipt{signed}, err
}

// signReceipt makes a receipt and signs it. It returns the id of the key, too.
func (c *control) signReceipt(ctx context.Context, actor admin.Actor, ask receiptRequest) (made receipt.Receipt, keyID, signed string, err error) {
	if made, err = c.receiptOf(ctx, actor, ask); err != nil {
		return made, "", "", err
	}
	key, err := signingAuditKey(ctx, c.store)
	if err != nil {
		return made, "", "", fmt.Errorf("reading the key of the audit record: %w", err)
	}
	signed, err = receipt.Sign(made, key.ID, ed25519.NewKeyFromSeed(key.Private))
	return made, key.ID, signed, err
}

func (c *control) receiptOf(ctx context.Context, actor admin.Actor, ask receiptRequest) (made receipt.Receipt, err error) {
	question := receipt.Question{Name: ask.User, At: ask.At}
	if strings.TrimSpace(ask.User) == "" {
		return made, errors.New("the name of the user is empty; write a userName, an e-mail address, an externalId or an id")
	}
	named, err := c.admin.UsersNamed(ctx, actor, ask.User)
	switch {
	case err != nil:
		return made, err
	case len(named) > 1:
		return made, fmt.Errorf("%q names %d users; name one by their id, which `sallyport users list` shows", ask.User, len(named))
	case len(named) == 1:
		question.User = receipt.Person{ID: named[0].ID, UserName: named[0].UserName, ExternalID: named[0].ExternalID}
	}
	record, err := c.questions.openRecord(ctx, ask.Files)
	if err != nil {
		return made, err
	}
	defer record.Close()
	made, err = receipt.Find(ctx, record, question)
	notRead, failed := c.questions.notRead(ctx, record, made.Offboarding.Received)
	if errors.Is(err, receipt.ErrNone) && len(notRead) > 0 {
		err = fmt.Errorf("%w; the records of %s were not read: name their files with --file", err, strings.Join(notRead, ", "))
	}
	if err = errors.Join(err, failed); err != nil {
		return made, err
	}
	made.NotRead = notRead
	if made.Replicas, err = replicasOf(record); err != nil {
		return made, err
	}
	made.Made, made.MadeBy, made.Program = time.Now().UTC().Truncate(time.Millisecond), actor, version
	if c.publicURL != nil {
		made.PublicURL = c.publicURL()
	}
	return made, c.addStill(ctx, actor, &made)
}

// replicasOf returns the servers that wrote a record: the name of this host if there is one alone.
func replicasOf(record *audit.Record) (names []receipt.Replica, err error) {
	for _, part := range record.Parts() {
		name := part.Replica()
		if name == "" {
			if name, err = os.Hostname(); err != nil {
				return nil, fmt.Errorf("finding the name of this server: %w", err)
			}
		}
		names = append(names, receipt.Replica{Name: name})
	}
	return names, nil
}

// addStill says what the person of a receipt has now.
func (c *control) addStill(ctx context.Context, actor admin.Actor, r *receipt.Receipt) error {
	still := &r.Still
	still.Directory = c.stateOf(r.Person.ID)
	if still.Directory == "active" && still.Access == receipt.AccessNone {
		still.Access = receipt.AccessUnknown
	}
	sessions, err := c.admin.Sessions(ctx, actor)
	if err != nil {
		return err
	}
	for _, s := range sessions {
		if s.User == r.Person.ID {
			still.Sessions++
		}
	}
	grants, err := c.admin.Grants(ctx, actor, false)
	for _, g := range grants {
		if g.Person.ID == r.Person.ID && g.State == admin.GrantOpen {
			still.Grants++
		}
	}
	return err
}

// stateOf returns what the directory says of a user.
func (c *control) stateOf(id string) string {
	user, ok := c.questions.directory.ByID(id)
	switch {
	case !ok:
		return "deleted"
	case user.Damaged:
		return "damaged"
	case user.Suspended != nil:
		return "suspended"
	case !user.Active:
		return "inactive"
	}
	return "active"
}
