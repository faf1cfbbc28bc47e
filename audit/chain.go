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

// append appends the line of e to lines. It returns the new end of the chain too.
func (l link) append(lines []byte, e Event) ([]byte, link) {
	begin := len(lines)
	lines = line{Seq: l.seq + 1, Event: e, Prev: l.hash}.appendFields(lines)
	hash := digest(lines[begin:])
	lines = append(append(append(lines, hashMark...), hash...), "\"}\n"...)
	return lines, link{l.seq + 1, hash}
}

func digest(fields []byte) string {
	sum := sha256.Sum256(fields)
	return hex.EncodeToString(sum[:])
}

// follow checks that text is the next line of the chain.
func (l link) follow(text []byte) (link, Event, error) {
	broken := func(problem string) (link, Event, error) {
		return l, Event{}, fmt.Errorf("%w: line %d %s", ErrBroken, l.seq+1, problem)
	}
	end := bytes.LastIndex(text, []byte(hashMark))
	if end < 0 {
		return broken("has no hash")
	}
	var next struct {
		line
		Hash string `json:"hash"`
	}
	if err := json.Unmarshal(text, &next); err != nil {
		return broken("is not JSON: " + err.Error())
	}
	switch {
	case next.Hash != digest(text[:end]):
		return broken("was changed: its hash does not match")
	case next.Prev != l.hash || next.Seq != l.seq+1:
		return broken("does not follow the line before: lines were removed or inserted")
	}
	return link{next.Seq, next.Hash}, next.Event, nil
}

// maxLine is the length limit of a line, in bytes.
const maxLine = 1 << 20

// eachLine calls f for every line, without its newline. whole is false for a last
// line that does not end in one.
func eachLine(r io.Reader, f func(line []byte, whole bool) error) error {
	lines := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, io.EOF) && len(line) == 0 {
			return nil
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			return fmt.Errorf("%w: a line is longer than %d bytes", ErrBroken, maxLine)
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

// Verify reads a record and returns the number of lines before the first one that
// does not continue the chain. Its error is [ErrBroken] then.
func Verify(r io.Reader) (n int, err error) {
	return Read(r, func(Event) error { return nil })
}

// Read is [Verify], and calls f with the event of each line. It ends with the first
// error of f.
func Read(r io.Reader, f func(Event) error) (n int, err error) {
	var last link
	err = eachLine(r, func(line []byte, whole bool) error {
		next, event, err := last.follow(line)
		if err == nil && !whole {
			err = fmt.Errorf("%w: line %d does not end in a newline", ErrBroken, n+1)
		}
		if err != nil {
			return err
		}
		last = next
		n++
		return f(event)
	})
	return n, err
}
