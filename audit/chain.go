package audit

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
)

// ErrBroken means that a line of the record does not continue the chain.
var ErrBroken = errors.New("audit record is broken")

// line is an event with its position in the chain.
type line struct {
	Seq uint64 `json:"seq"`
	Event
	Prev string `json:"prev"` // hash of the line before; "" for the first
}

// link is the end of a chain: the number and the hash of its last line.
type link struct {
	seq  uint64
	hash string
}

// hashMark separates the fields of a line from its hash, which covers everything
// before the mark.
const hashMark = `,"hash":"`

// append appends the line of an event to lines, of which event is the fields. It returns the new end of the chain too.
func (l link) append(lines, event []byte) ([]byte, link) {
	begin := len(lines)
	lines = appendLine(lines, l.seq+1, event, l.hash)
	sum := sha256.Sum256(lines[begin:])
	lines = append(lines, hashMark...)
	begin = len(lines)
	lines = hex.AppendEncode(lines, sum[:])
	hash := string(lines[begin:])
	return append(lines, "\"}\n"...), link{l.seq + 1, hash}
}

// follow checks that text is the next line of the chain. The first line of a file continues the zero link: it is line 1,
// or one that names the line before it.
func (l link) follow(text []byte) (link, Event, error) {
	next, err := l.followHead(text)
	if err != nil {
		return l, Event{}, err
	}
	var e Event
	if err := json.Unmarshal(text, &e); err != nil {
		return l, Event{}, fmt.Errorf("%w: line %d is not JSON: %w", ErrBroken, l.seq+1, err)
	}
	return next, e, nil
}

// followHead is follow without the event, which may not be one.
func (l link) followHead(text []byte) (link, error) {
	h, problem := checkLine(text)
	if problem == "" && l == (link{}) && h.seq > 1 {
		if _, ok := beginsFile(text, h); ok {
			l = link{h.seq - 1, string(h.prev)}
		}
	}
	if problem == "" && (h.seq != l.seq+1 || string(h.prev) != l.hash) {
		problem = "does not follow the line before: lines were removed or inserted"
	}
	if problem != "" {
		return l, fmt.Errorf("%w: line %d %s", ErrBroken, l.seq+1, problem)
	}
	return link{h.seq, string(h.hash)}, nil
}

// The reasons of events of the record itself. The first line of a file has one of the first two, unless it is line 1.
const (
	reasonRotated    = "rotated"    // the file before this one was closed
	reasonBegun      = "begun"      // at the start, the file before this one was not where it was left
	reasonCheckpoint = "checkpoint" // what came before is signed
	reasonExpired    = "expired"    // a file is deleted since it is older than the time that files are kept for
	reasonRecovered  = "recovered"  // the record could not be written for a while
	reasonUnrecorded = "unrecorded" // requests and sign-ins are let in without a line
	reasonSinkLost   = "sink_lost"  // lines will never be sent to a sink
)

// beginsFile reports whether a line says itself which line it continues.
func beginsFile(text []byte, h head) (e Event, ok bool) {
	err := json.Unmarshal(text, &e)
	return e, err == nil && e.Kind == KindAudit && (e.Reason == reasonRotated || e.Reason == reasonBegun) &&
		e.Detail["former_lines"] == strconv.FormatUint(h.seq-1, 10) && e.Detail["former_hash"] == string(h.prev)
}

// enter returns the line that the first line of a file continues, after a file that ended at l. That is l, unless somebody
// else renamed the file in between, or it was missing at a start.
func (l link) enter(text []byte, h head) (before link, gap bool, problem string) {
	if h.seq == l.seq+1 && string(h.prev) == l.hash {
		return l, false, ""
	}
	e, ok := beginsFile(text, h)
	former := e.Detail["former_file"]
	switch {
	case e.Reason == reasonRotated && h.seq == 1 && e.Detail["former_hash"] == l.hash: // as older versions did
		return link{}, false, ""
	case ok && former == "":
		return link{h.seq - 1, string(h.prev)}, true, ""
	case ok && h.seq > l.seq+1:
		return l, false, fmt.Sprintf("does not follow: lines %d to %d are missing, and the file %s with them", l.seq+1, h.seq-1, former)
	}
	return l, false, "does not follow the last line of the file before: lines or files were removed or inserted"
}

// MaxLine is the length limit of a line, in bytes.
const MaxLine = 1 << 20

// eachLine calls f for every line, without its newline. whole is false for a last
// line that does not end in one.
func eachLine(r io.Reader, f func(line []byte, whole bool) error) error {
	lines := bufio.NewReaderSize(r, MaxLine)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("%w: a line is longer than %d bytes", ErrBroken, MaxLine)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if err := f(bytes.TrimSuffix(line, []byte("\n")), err == nil); err != nil {
			return err
		}
		if err == io.EOF {
			return nil
		}
	}
}

// Read checks a record and calls f with the event of each line. It returns the number of lines before the first one that
// does not continue the chain; its error is [ErrBroken] then. It ends with the first error of f.
func Read(r io.Reader, f func(Event) error) (n int, err error) {
	return ReadLines(r, func(l Line, _ []byte) error { return f(l.Event) })
}
