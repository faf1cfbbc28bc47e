package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

// ErrNoLine means that a record does not have a line.
var ErrNoLine = errors.New("the record does not have this line")

// Span is from where to where a record goes.
type Span struct {
	Replica  string    `json:"replica,omitempty"` // whose record it is, of several
	First    uint64    `json:"first"`             // the numbers of the first and the last line
	Last     uint64    `json:"last"`
	LastHash string    `json:"last_hash"`
	Begins   time.Time `json:"begins"` // the times of those lines
	Ends     time.Time `json:"ends"`
}

// Span returns from where to where the record goes now. It is for the record of one replica: see [Record.Spans].
func (r *Record) Span() (s Span, err error) {
	var first, last Line
	for _, file := range r.files {
		err := file.at(func(text io.ReaderAt, size int64) (err error) {
			if size, err = endOfLines(text, size); err != nil || size == 0 {
				return err
			}
			if first.Seq == 0 {
				line, _, err := lineAround(text, 0, size)
				if err == nil {
					first, err = CheckLine(line)
				}
				if err != nil {
					return err
				}
			}
			line, _, err := lineAround(text, size-1, size)
			if err == nil {
				last, err = CheckLine(line)
			}
			return err
		})
		if errors.Is(err, ErrBroken) {
			return s, &FileError{Path: file.Path, Err: err}
		}
		if err != nil {
			return s, err
		}
	}
	return Span{Replica: r.replica, First: first.Seq, Last: last.Seq, LastHash: last.Hash, Begins: first.Time, Ends: last.Time}, nil
}

// endOfLines returns where the last line ends that is whole: a crash may have left a part of another.
func endOfLines(text io.ReaderAt, size int64) (int64, error) {
	for _, length := range []int64{1, MaxLine} { // it is the end of the file nearly always
		from := max(0, size-length)
		tail := make([]byte, size-from)
		if _, err := text.ReadAt(tail, from); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		if end := bytes.LastIndexByte(tail, '\n'); end >= 0 {
			return from + int64(end) + 1, nil
		}
	}
	return 0, nil
}

// Line returns the text of a line by its number, or [ErrNoLine]. It checks neither the chain nor the hash of the line.
func (r *Record) Line(number uint64) (text []byte, err error) {
	for _, file := range slices.Backward(r.files) { // a later file may go on with an earlier number, after one that was put aside
		if file.First == 0 || file.First > number {
			continue
		}
		err := file.at(func(from io.ReaderAt, size int64) error {
			size, err := endOfLines(from, size)
			if err == nil {
				text, err = findLine(from, size, number)
			}
			return err
		})
		if !errors.Is(err, ErrNoLine) {
			return text, err
		}
	}
	return nil, ErrNoLine
}

// findLine finds a line by its number, by halves: numbers rise in a file.
func findLine(text io.ReaderAt, size int64, number uint64) ([]byte, error) {
	for low, high := int64(0), size; low < high; {
		line, begin, err := lineAround(text, low+(high-low)/2, size)
		if err != nil {
			return nil, err
		}
		h, ok := parseHead(line)
		switch {
		case !ok:
			return nil, fmt.Errorf("%w: a line near line %d %s", ErrBroken, number, formProblem(line))
		case h.seq == number:
			return line, nil
		case h.seq < number:
			low = begin + int64(len(line)) + 1
		default:
			high = begin
		}
	}
	return nil, ErrNoLine
}

// lineAround returns the line that has the byte at a place, and where it begins.
func lineAround(text io.ReaderAt, at, size int64) (line []byte, begin int64, err error) {
	for reach := int64(8 << 10); ; reach *= 4 {
		from, to := max(0, at-reach), min(size, at+reach)
		buf := make([]byte, to-from)
		if _, err := text.ReadAt(buf, from); err != nil && !errors.Is(err, io.EOF) {
			return nil, 0, err
		}
		begin := int64(bytes.LastIndexByte(buf[:at-from], '\n')) + 1
		end := int64(bytes.IndexByte(buf[at-from:], '\n')) + at - from
		if (begin > 0 || from == 0) && end >= at-from {
			return buf[begin:end], from + begin, nil
		}
		if reach > MaxLine || from == 0 && to == size {
			return nil, 0, fmt.Errorf("%w: a line is longer than %d bytes, or has no end", ErrBroken, MaxLine)
		}
	}
}
