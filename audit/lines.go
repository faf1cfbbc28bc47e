package audit

import (
	"encoding/json"
	"fmt"
	"io"
)

// Line is a line of the record: an event with its position in the chain.
type Line struct {
	Seq uint64 `json:"seq"`
	Event
	Prev string `json:"prev"`
	Hash string `json:"hash"`
}

// ParseLine reads a line without its newline. It does not check the hash.
func ParseLine(text []byte) (l Line, err error) {
	if err := json.Unmarshal(text, &l); err != nil {
		return Line{}, fmt.Errorf("%w: a line is not JSON: %w", ErrBroken, err)
	}
	return l, nil
}

// ReadLines is [Read] that calls f with each line and its text, which is valid until f returns.
func ReadLines(r io.Reader, f func(l Line, text []byte) error) (n int, err error) {
	var last link
	return last.readLines(r, f)
}

// readLines is ReadLines of a file that comes after the line at l, which becomes its last line.
func (l *link) readLines(r io.Reader, f func(l Line, text []byte) error) (n int, err error) {
	entered := *l == link{}
	err = eachLine(r, func(text []byte, whole bool) error {
		if h, ok := parseHead(text); ok && !entered {
			before, _, problem := l.enter(text, h)
			if problem != "" {
				return fmt.Errorf("%w: line %d %s", ErrBroken, h.seq, problem)
			}
			*l = before
		}
		entered = true
		next, event, err := l.follow(text)
		if err == nil && !whole {
			err = fmt.Errorf("%w: line %d does not end in a newline", ErrBroken, l.seq+1)
		}
		if err != nil {
			return err
		}
		line := Line{Seq: next.seq, Event: event, Prev: l.hash, Hash: next.hash}
		*l = next
		n++
		return f(line, text)
	})
	return n, err
}
