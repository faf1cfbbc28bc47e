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
	err = eachLine(r, func(text []byte, whole bool) error {
		next, event, err := last.follow(text)
		if err == nil && !whole {
			err = fmt.Errorf("%w: line %d does not end in a newline", ErrBroken, n+1)
		}
		if err != nil {
			return err
		}
		l := Line{Seq: next.seq, Event: event, Prev: last.hash, Hash: next.hash}
		last = next
		n++
		return f(l, text)
	})
	return n, err
}
