package admin

import (
	"context"
	"errors"
	"io"

	"sallyport/audit"
	"sallyport/audit/ocsf"
)

// ErrBusy means that as much is being exported as may be at once.
var ErrBusy = errors.New("as many exports are under way as may be; wait until one is done, or use `sallyport audit export`")

const (
	maxExports   = 16       // that may be under way
	readExports  = 2        // that may read the record at the same moment
	exportedPart = 64 << 10 // bytes that are written at once
)

// exports bounds exports. Whoever receives one slowly keeps nobody else from reading.
type exports struct {
	open    chan struct{} // has an element for each that is under way
	reading chan struct{} // and for each that reads
}

func newExports() exports {
	return exports{make(chan struct{}, maxExports), make(chan struct{}, readExports)}
}

// export writes lines in parts, and reads only while it may.
type export struct {
	ctx     context.Context //nolint:containedctx // of one call
	reading chan struct{}
	reads   bool
	part    []byte
	w       io.Writer
}

// read waits until the export may read.
func (x *export) read() error {
	select {
	case x.reading <- struct{}{}:
		x.reads = true
		return nil
	case <-x.ctx.Done():
		return x.ctx.Err()
	}
}

// rest lets others read.
func (x *export) rest() {
	if x.reads {
		<-x.reading
		x.reads = false
	}
}

// flush writes what was read, which may take as long as whoever receives it likes.
func (x *export) flush() error {
	x.rest()
	if len(x.part) == 0 {
		return nil
	}
	_, err := x.w.Write(x.part)
	x.part = x.part[:0]
	return err
}

// ExportRecord writes the lines of this process's record that a filter selects, the oldest first and each as it is in the
// record, or as an event of the Open Cybersecurity Schema Framework. The chain is checked on the way: after a line that is not
// sound, it ends with an error.
func (a *Admin) ExportRecord(ctx context.Context, _ Actor, f RecordFilter, asOCSF bool, w io.Writer) error {
	if a.source.Open == nil {
		return errNoRecord
	}
	select {
	case a.exports.open <- struct{}{}:
		defer func() { <-a.exports.open }()
	default:
		return ErrBusy
	}
	x := &export{ctx: ctx, reading: a.exports.reading, w: w}
	if err := x.read(); err != nil {
		return err
	}
	defer x.rest()
	record, err := a.source.Open()
	if err != nil {
		return err
	}
	defer record.Close()
	n := 0
	_, err = record.ReadLines(f.Since, func(l audit.Line, text []byte) error {
		if n++; n%stepsBetween == 0 { // others have their turn
			x.rest()
			if err := x.read(); err != nil {
				return err
			}
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
		if x.part = append(append(x.part, text...), '\n'); len(x.part) < exportedPart {
			return nil
		}
		if err := x.flush(); err != nil {
			return err
		}
		return x.read()
	})
	return errors.Join(err, x.flush())
}

// Replica returns the name of this process among those that use the store; "" if it is alone.
func (a *Admin) Replica() string { return a.directory.Replica() }

// ReceiptDocument is the receipt of an offboarding.
type ReceiptDocument struct {
	JWS  string // in compact form
	Page string // HTML, to print
}
