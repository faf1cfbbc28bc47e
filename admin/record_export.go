package admin

import (
	"context"
	"errors"
	"io"
	"time"

	"sallyport/audit"
	"sallyport/audit/ocsf"
)

// ErrBusy means that as much is being exported as may be at once.
var ErrBusy = errors.New("two exports are under way; wait until one is done, or use `sallyport audit export`")

// maxExports is how many exports may be under way.
const maxExports = 2

// ExportRecord writes the lines of this process's record that a filter selects, the oldest first and each as it is in the
// record, or as an event of the Open Cybersecurity Schema Framework. The chain is checked on the way: after a line that is not
// sound, it ends with an error.
func (a *Admin) ExportRecord(ctx context.Context, _ Actor, f RecordFilter, asOCSF bool, w io.Writer) error {
	if a.source.Open == nil {
		return errNoRecord
	}
	select {
	case a.exports <- struct{}{}:
		defer func() { <-a.exports }()
	default:
		return ErrBusy
	}
	record, err := a.source.Open()
	if err != nil {
		return err
	}
	defer record.Close()
	n := 0
	_, err = record.ReadLines(f.Since, func(l audit.Line, text []byte) error {
		if n++; n%stepsBetween == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		found := audit.Found{Line: l, Text: text}
		switch {
		case l.Time.Before(f.Since) || !f.Until.IsZero() && l.Time.After(f.Until) || !f.selects(&found):
			return nil
		case asOCSF:
			if text, err = ocsf.Encode(&l, text); err != nil {
				return err
			}
		}
		_, err := w.Write(append(append(make([]byte, 0, len(text)+1), text...), '\n'))
		return err
	})
	return err
}

// Replica returns the name of this process among those that use the store; "" if it is alone.
func (a *Admin) Replica() string { return a.directory.Replica() }

// ReceiptDocument is the receipt of an offboarding.
type ReceiptDocument struct {
	JWS  string // in compact form
	Page string // HTML, to print
}

// Receipt returns the signed receipt of the last offboarding of a user until a time, or of the last one at all (the zero time).
func (a *Admin) Receipt(ctx context.Context, actor Actor, user string, at time.Time) (ReceiptDocument, error) {
	if a.source.Receipt == nil {
		return ReceiptDocument{}, ErrNoServer
	}
	return a.source.Receipt(ctx, actor, user, at)
}
