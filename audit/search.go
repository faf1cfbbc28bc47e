package audit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sallyport/disk"
)

// Search says which lines of a record are looked for: those that have one of the texts, and those of one of the kinds.
//
// A search reads raw bytes on all processors and decodes only what it finds, so that a year of lines takes as long as
// reading them. It checks the hash of each line that it finds, and not the chain: [Record.Verify] does that.
type Search struct {
	Texts []Text
	Kinds []Kind
	Since time.Time // files that were closed before are left out, up to the first that was not; lines of the others may be older
}

// Text is a string in a line, whatever the case of its letters. More lines may be found than have it.
type Text struct {
	Key   string // of the string; "": any part of a line may be the text
	Value string
}

// ClockSlack is how much earlier than its line's place an event may be: a decision has the time at which its request came,
// and clocks are set back.
const ClockSlack = time.Hour

// Found is a line that a search found. Its text has no newline.
type Found struct {
	Line
	Text []byte
	Of   string // the replica whose record has the line, if the files are those of replicas
}

// Search calls f with the lines that s looks for, in their order. The error is a [FileError] if one of them does not have
// its own hash. It ends with the first error of f.
func (r *Record) Search(ctx context.Context, s Search, f func(Found) error) error {
	if len(r.parts) > 0 {
		return r.searchAll(ctx, s, f)
	}
	m, err := newMatcher(s)
	if err != nil {
		return err
	}
	for _, file := range r.files[r.firstSince(s.Since, ClockSlack):] {
		err := file.at(func(text io.ReaderAt, size int64) error {
			return m.search(ctx, text, size, !file.Closed.IsZero(), func(l Found) error { l.Of = r.replica; return f(l) })
		})
		if errors.Is(err, ErrBroken) {
			return &FileError{Path: file.Path, Err: err}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// at calls f with a file and its size up to the end of a line.
func (s source) at(f func(text io.ReaderAt, size int64) error) error {
	return s.opened(func(file *os.File, size int64) error {
		if size == math.MaxInt64 {
			return fmt.Errorf("%s is no regular file, and cannot be searched", s.Path)
		}
		return f(file, size)
	})
}

const (
	partSize  = 256 << 10 // bytes that are searched at once
	partCount = 32        // parts of which the lines are held in memory before f gets them
)

// search searches one file. A closed one is mapped into memory, which halves the work; one that may be written must not be.
func (m *matcher) search(ctx context.Context, text io.ReaderAt, size int64, closed bool, f func(Found) error) error {
	read := partReader(text, size)
	if file, ok := text.(*os.File); ok && closed && size > 0 {
		if data, unmap, err := disk.Map(file, size); err == nil {
			defer unmap()
			read = mappedPart(data)
		}
	}
	for begin := int64(0); begin < size; begin += partSize * partCount {
		if err := ctx.Err(); err != nil {
			return err
		}
		found, err := m.searchParts(read, begin, min(size, begin+partSize*partCount))
		if err != nil {
			return err
		}
		for _, l := range slices.Concat(found...) {
			if err := f(l); err != nil {
				return err
			}
		}
	}
	return nil
}

// searchParts returns the lines of each part that begin in a file from begin to end.
func (m *matcher) searchParts(read readPart, begin, end int64) ([][]Found, error) {
	parts := int((end - begin + partSize - 1) / partSize)
	found, errs := make([][]Found, parts), make([]error, parts)
	var next atomic.Int64
	var all sync.WaitGroup
	for range min(parts, runtime.GOMAXPROCS(0)) {
		all.Go(func() {
			buf := partBuffers.Get().(*[]byte)
			defer partBuffers.Put(buf)
			for i := next.Add(1) - 1; i < int64(parts); i = next.Add(1) - 1 {
				at := begin + i*partSize
				found[i], errs[i] = m.searchPart(read, buf, at, min(end, at+partSize))
			}
		})
	}
	all.Wait()
	return found, errors.Join(errs...)
}

// searchPart searches one part. Memory that is mapped faults where the file was cut off meanwhile: that is an error like
// any other.
func (m *matcher) searchPart(read readPart, buf *[]byte, begin, end int64) (found []Found, err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			if _, ok := fault.(interface{ Addr() uintptr }); !ok {
				panic(fault)
			}
			found, err = nil, errCutOff
		}
	}()
	lines, err := read(buf, begin, end)
	if err != nil {
		return nil, err
	}
	return m.find(lines)
}

var errCutOff = errors.New("the file was cut off while it was searched")

// readPart returns the lines that begin in a file from begin to end. It may use buf for them, which grows if it must.
type readPart func(buf *[]byte, begin, end int64) ([]byte, error)

var partBuffers = sync.Pool{New: func() any { return new([]byte) }}

// mappedPart reads parts of a file that is mapped into memory.
func mappedPart(data []byte) readPart {
	return func(_ *[]byte, begin, end int64) ([]byte, error) {
		disk.Prefetch(data[begin:end])
		lines, whole := linesFrom(data[max(0, begin-1):], begin, end)
		if !whole {
			return lines, tooLong(int64(len(data)) - end)
		}
		return lines, nil
	}
}

// partReader reads parts by copying them.
func partReader(r io.ReaderAt, size int64) readPart {
	return func(buf *[]byte, begin, end int64) ([]byte, error) {
		from := max(0, begin-1)
		for reach := int64(4 << 10); ; reach *= 4 {
			to := min(size, end+reach)
			*buf = slices.Grow((*buf)[:0], int(to-from))[:to-from]
			if n, err := r.ReadAt(*buf, from); n < len(*buf) {
				if errors.Is(err, io.EOF) {
					err = errCutOff
				}
				return nil, err
			}
			lines, whole := linesFrom(*buf, begin, end)
			if whole || to == size {
				return lines, nil
			}
			if reach > MaxLine {
				return nil, tooLong(reach)
			}
		}
	}
}

func tooLong(length int64) error {
	if length > MaxLine {
		return fmt.Errorf("%w: a line is longer than %d bytes", ErrBroken, MaxLine)
	}
	return nil
}

// linesFrom returns the lines that begin in a file from begin to end, out of its text from the byte before begin on, or
// from its first byte if begin is 0. It reports false if the last of them has no end there, and leaves it out.
func linesFrom(text []byte, begin, end int64) (lines []byte, whole bool) {
	first, last := 0, int(end-1)
	if begin > 0 { // the byte before says whether a line begins
		last = int(end - begin)
		if first = bytes.IndexByte(text[:last+1], '\n') + 1; first == 0 || first > last {
			return nil, true // the line before goes on here
		}
	}
	reach := text[last:min(len(text), last+MaxLine+1)]
	if length := bytes.IndexByte(reach, '\n'); length >= 0 {
		return text[first : last+length+1], true
	}
	return text[first:max(first, bytes.LastIndexByte(text[:last], '\n')+1)], false
}

// find returns the lines in text that are looked for.
func (m *matcher) find(text []byte) (found []Found, err error) {
	var failed error
	take := func(begin int) (next int) {
		line := text[begin : begin+bytes.IndexByte(text[begin:], '\n')]
		l, err := CheckLine(line)
		if err != nil && failed == nil {
			failed = err
		}
		found = append(found, Found{Line: l, Text: bytes.Clone(line)})
		return begin + len(line) + 1
	}
	if len(m.kinds) > 0 {
		m.eachOf(text, take)
	} else {
		m.eachMatch(text, take)
	}
	return found, failed
}

// CheckLine decodes a line, which must have its own hash. It does not check what the line follows.
func CheckLine(text []byte) (l Line, err error) {
	h, problem := checkLine(text)
	if problem == "" {
		if err := json.Unmarshal(text, &l); err != nil {
			problem = "is not JSON: " + err.Error()
		}
	}
	if problem != "" {
		return l, fmt.Errorf("%w: line %d %s", ErrBroken, h.seq, problem)
	}
	return l, nil
}
