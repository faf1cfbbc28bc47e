package audit

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Search says which lines of a record are looked for: those that have one of the texts, and those of one of the kinds.
//
// A search reads raw bytes on all processors and decodes only what it finds, so that a year of lines takes as long as
// reading them. It checks the hash of each line that it finds, and not the chain: [Record.Verify] does that.
type Search struct {
	Texts []Text
	Kinds []Kind
	Since time.Time // files that were closed before are left out; lines of the others may be older
}

// Text is a string in a line, whatever the case of its letters. More lines may be found than have it.
type Text struct {
	Key   string // of the string; "": any part of a line may be the text
	Value string
}

// clockSlack is how much earlier than its line's place an event may be: a decision has the time at which its request came,
// and clocks are set back.
const clockSlack = time.Hour

// Found is a line that a search found. Its text has no newline.
type Found struct {
	Line
	Text []byte
}

// Search calls f with the lines that s looks for, in their order. The error is a [FileError] if one of them does not have
// its own hash. It ends with the first error of f.
func (r *Record) Search(ctx context.Context, s Search, f func(Found) error) error {
	m, err := newMatcher(s)
	if err != nil {
		return err
	}
	for i, file := range r.files {
		if i < len(r.files)-1 && !file.Closed.IsZero() && file.Closed.Add(clockSlack).Before(s.Since) {
			continue
		}
		err := file.at(func(text io.ReaderAt, size int64) error { return m.search(ctx, text, size, f) })
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
	file := s.file
	if file == nil {
		var err error
		if file, err = os.Open(s.Path); err != nil {
			return fmt.Errorf("%w; files that are older than audit.rotate.keep are deleted: try again", err)
		}
		defer file.Close()
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file, and cannot be searched", s.Path)
	}
	if err != nil {
		return err
	}
	size, err := WholeSize(file)
	if err != nil {
		return err
	}
	return f(file, size)
}

const (
	partSize  = 1 << 20 // bytes that are searched at once
	partCount = 32      // parts of which the lines are held in memory before f gets them
)

// search searches one file.
func (m *matcher) search(ctx context.Context, text io.ReaderAt, size int64, f func(Found) error) error {
	for begin := int64(0); begin < size; begin += partSize * partCount {
		if err := ctx.Err(); err != nil {
			return err
		}
		found, err := m.searchParts(text, begin, min(size, begin+partSize*partCount), size)
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

// searchParts returns the lines of each part that begin in text from begin to end.
func (m *matcher) searchParts(text io.ReaderAt, begin, end, size int64) ([][]Found, error) {
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
				var lines []byte
				if lines, errs[i] = readPart(text, buf, at, min(end, at+partSize), size); errs[i] == nil {
					found[i], errs[i] = m.find(lines)
				}
			}
		})
	}
	all.Wait()
	return found, errors.Join(errs...)
}

var partBuffers = sync.Pool{New: func() any { buf := make([]byte, partSize+64<<10); return &buf }}

// readPart returns the lines that begin in a file from begin to end. buf is used for them, and grows if it must.
func readPart(r io.ReaderAt, buf *[]byte, begin, end, size int64) ([]byte, error) {
	from := max(0, begin-1) // the byte before says whether a line begins
	for {
		*buf = (*buf)[:cap(*buf)]
		n, err := r.ReadAt((*buf)[:min(int64(len(*buf)), size-from)], from)
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		text := (*buf)[:n]
		first, last := 0, int(end-1-from)
		if begin > 0 {
			first = bytes.IndexByte(text, '\n') + 1
			if first == 0 || int64(first)+from >= end+1 {
				return nil, nil // the line before goes on here
			}
		}
		if last >= len(text) {
			return nil, io.ErrUnexpectedEOF // the file was cut off meanwhile
		}
		if length := bytes.IndexByte(text[last:], '\n'); length >= 0 {
			return text[min(first, last+length+1) : last+length+1], nil
		}
		switch {
		case from+int64(n) >= size: // the last line has no end
			return text[first:max(first, bytes.LastIndexByte(text, '\n')+1)], nil
		case n > partSize+maxLine:
			return nil, fmt.Errorf("%w: a line is longer than %d bytes", ErrBroken, maxLine)
		}
		*buf = make([]byte, 2*len(*buf))
	}
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
		found = append(found, Found{l, bytes.Clone(line)})
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

// matcher finds texts by the algorithm of Wu and Manber: the last four bytes of a window say how far it may move, since no
// text has them further to its end. Bytes are compared with bit 5 set, which makes letters of ASCII the same in both cases.
type matcher struct {
	kinds    map[string]bool
	patterns [][]byte // of one length, folded
	size     int      // that length; 0: there are no texts
	shifts   [1 << shiftBits]uint8
}

const (
	shiftBits  = 13
	blockSize  = 4   // bytes that a shift is chosen by
	maxPattern = 200 // bytes of a text that are compared; a shift is a byte
	foldBit    = 0x20
)

func newMatcher(s Search) (*matcher, error) {
	m := &matcher{kinds: map[string]bool{}}
	for _, kind := range s.Kinds {
		m.kinds[string(kind)] = true
	}
	for _, t := range s.Texts {
		for _, value := range []string{t.Value, strings.ToLower(t.Value), strings.ToUpper(t.Value)} {
			pattern := t.pattern(value)
			if len(pattern) < blockSize {
				return nil, fmt.Errorf("the text %q is too short to be looked for without its key", t.Value)
			}
			if !slices.ContainsFunc(m.patterns, func(p []byte) bool { return bytes.Equal(p, pattern) }) {
				m.patterns = append(m.patterns, pattern)
			}
		}
	}
	m.size = maxPattern
	for _, p := range m.patterns {
		m.size = min(m.size, len(p))
	}
	if len(m.patterns) == 0 {
		m.size = 0
		return m, nil
	}
	for i := range m.shifts {
		m.shifts[i] = uint8(m.size - blockSize + 1) //nolint:gosec // at most maxPattern
	}
	for i, p := range m.patterns {
		p = p[len(p)-m.size:] // its end is what is special about it
		m.patterns[i] = p
		for end := blockSize; end <= m.size; end++ {
			shift := &m.shifts[blockHash(binary.LittleEndian.Uint32(p[end-blockSize:]))]
			*shift = min(*shift, uint8(m.size-end)) //nolint:gosec // at most maxPattern
		}
	}
	return m, nil
}

// pattern returns how a value is written in a line, folded.
func (t Text) pattern(value string) []byte {
	text := encodeText(value)
	if t.Key == "" {
		text = text[1 : len(text)-1]
	} else {
		text = append(append(encodeText(t.Key), ':'), text...)
	}
	for i := range text {
		text[i] |= foldBit
	}
	return text
}

// blockHash returns where the shift of a folded block is.
func blockHash(block uint32) uint32 {
	return block * 0x9E3779B1 >> (32 - shiftBits)
}

// eachMatch calls take with where a line begins that has a text. take returns where the next line begins.
func (m *matcher) eachMatch(text []byte, take func(begin int) (next int)) {
	if m.size == 0 {
		return
	}
	for end := m.size; end <= len(text); {
		block := binary.LittleEndian.Uint32(text[end-blockSize:]) | 0x20202020
		if shift := m.shifts[blockHash(block)]; shift > 0 {
			end += int(shift)
			continue
		}
		if !m.has(text[end-m.size : end]) {
			end++
			continue
		}
		end = take(bytes.LastIndexByte(text[:end], '\n')+1) + m.size
	}
}

// has reports whether a window is one of the patterns.
func (m *matcher) has(window []byte) bool {
	return slices.ContainsFunc(m.patterns, func(p []byte) bool {
		for i, c := range window {
			if c|foldBit != p[i] {
				return false
			}
		}
		return true
	})
}

// eachOf calls take with where each line begins that is of one of the kinds, or has a text.
func (m *matcher) eachOf(text []byte, take func(begin int) (next int)) {
	for begin := 0; begin < len(text); {
		length := bytes.IndexByte(text[begin:], '\n')
		line := text[begin : begin+length]
		wanted := m.kinds[kindOf(line)]
		if !wanted {
			m.eachMatch(line, func(int) int { wanted = true; return len(line) })
		}
		if wanted {
			take(begin)
		}
		begin += length + 1
	}
}

// kindOf returns the kind of the event of a line. Text in a line cannot be taken for it, since its quotation marks are
// escaped.
func kindOf(line []byte) string {
	_, after, ok := bytes.Cut(line[:min(len(line), kindEnd)], []byte(`,"kind":"`))
	if !ok {
		return ""
	}
	kind, _, _ := bytes.Cut(after, []byte(`"`))
	return string(kind)
}
