package handover

import (
	"bufio"
	"context"
	"encoding/gob"
	"errors"
	"net"
	"time"

	"sallyport/store"
)

// operation is what a call asks for.
type operation uint8

const (
	opView operation = iota + 1
	opUpdate
	opGet
	opScan
	opPut
	opDelete
	opUrgent
	opEnd   // the function returned nil
	opAbort // the function returned an error
)

// ask is one message of the process that calls.
type ask struct {
	Op         operation
	Key, Value []byte // of a scan: the prefix, and where it begins
}

// reply is one message of the process that has the store.
type reply struct {
	Begin    bool // the function begins; it may have to run again
	Revision store.Revision
	Value    []byte
	Entries  []entry
	More     bool // there are more entries
	Err      *wireError
}

type entry struct {
	Key, Value []byte
	Err        *wireError
}

// wireError is an error of the store, for another process.
type wireError struct {
	Text  string
	Kinds []int // what the error is, as indexes of sentinels
}

// sentinels are the errors that callers ask for. Their order is that of the protocol: new ones come at the end.
var sentinels = []error{store.ErrNotFound, store.ErrDamaged, store.ErrPoisoned, store.ErrUncertain, store.ErrFull, store.ErrCompacted,
	store.ErrClosed, store.ErrStale, store.ErrUnreachable, store.ErrMissing, store.ErrUnsound, store.ErrBehind, store.ErrLocked, store.ErrNewer,
	context.Canceled, context.DeadlineExceeded}

func toWire(err error) *wireError {
	if err == nil {
		return nil
	}
	w := &wireError{Text: err.Error()}
	for i, sentinel := range sentinels {
		if errors.Is(err, sentinel) {
			w.Kinds = append(w.Kinds, i)
		}
	}
	return w
}

// Error implements error.
func (w *wireError) Error() string { return w.Text }

// Is reports whether the error was target in the other process.
func (w *wireError) Is(target error) bool {
	for _, i := range w.Kinds {
		if i >= 0 && i < len(sentinels) && sentinels[i] == target {
			return true
		}
	}
	return false
}

// fromWire returns the error; nil stays nil.
func fromWire(w *wireError) error {
	if w == nil {
		return nil
	}
	return w
}

// link is one end of the connection of one call.
type link struct {
	conn net.Conn
	out  *bufio.Writer
	*gob.Encoder
	*gob.Decoder
}

func newLink(conn net.Conn) *link {
	l := &link{conn: conn, out: bufio.NewWriter(conn), Decoder: gob.NewDecoder(conn)}
	l.Encoder = gob.NewEncoder(l.out)
	return l
}

// send sends a message at once.
func (l *link) send(message any) error { return errors.Join(l.Encode(message), l.out.Flush()) }

// limit bounds how long the other end may take for what comes next.
func (l *link) limit(d time.Duration) { _ = l.conn.SetDeadline(time.Now().Add(d)) }
