package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"time"
)

// Place is the end of a line of the record, after which a reader goes on. The zero value is the beginning of the record.
type Place struct {
	First  uint64 `json:"first"`  // the number of the first line of its file
	Offset int64  `json:"offset"` // where the line ends in its file
	Line   uint64 `json:"line"`   // its number
	Hash   string `json:"hash"`
}

// Durable returns the end of the lines that are known to be on the disk: no crash changes them.
func (l *Log) Durable() Place {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.synced.offset == 0 {
		return Place{Line: l.synced.link.seq, Hash: l.synced.link.hash}
	}
	return Place{l.begin.line, l.synced.offset, l.synced.link.seq, l.synced.link.hash}
}

// Follower reads the lines of a record after a place, over all its files, while the record grows. It is for one goroutine.
type Follower struct {
	path string
	at   Place
	file *os.File // the one that at is in, or the next line; nil if it was not found yet
}

// NewFollower returns a Follower of the record at path that begins after a place.
func NewFollower(path string, after Place) *Follower { return &Follower{path: path, at: after} }

// Entry is a line with its text, without the newline, and its end.
type Entry struct {
	Line
	Text []byte
	End  Place
}

// Step is what a [Follower] read at once.
type Step struct {
	Entries  []Entry
	Lost     []Gap // lines that are not in the record any more, or not as they were written
	Replaced bool  // the record does not have the line to go on after, so that it is read from its beginning
	End      Place // where the next step begins
}

// Limits bound a [Step]. A step may have one entry more than the bytes allow.
type Limits struct{ Lines, Bytes int }

// Next reads the next lines, up to the one with the number until, which must be durable. Without new lines the step has no
// entries.
func (f *Follower) Next(until uint64, limits Limits) (s Step, err error) {
	if f.file == nil {
		s.Replaced, err = f.locate()
	}
	for err == nil && f.file != nil && f.at.Line < until && len(s.Entries) == 0 {
		if err = f.read(&s, until, limits); err != nil || len(s.Entries) > 0 {
			break
		}
		var moved bool
		if moved, err = f.nextFile(until); !moved {
			break
		}
	}
	s.End = f.at
	return s, err
}

// Close closes the file that is read.
func (f *Follower) Close() error {
	if f.file == nil {
		return nil
	}
	err := f.file.Close()
	f.file = nil
	return err
}

// locate opens the file that has the next line. It reports whether the record does not have the last one any more, so that
// it is read from its beginning.
func (f *Follower) locate() (replaced bool, err error) {
	r, err := OpenRecord(f.path)
	if err != nil {
		return false, err
	}
	defer r.Close()
	files := slices.DeleteFunc(slices.Clone(r.files), func(s source) bool { return s.First == 0 }) // which has no line yet
	if len(files) == 0 {
		return false, nil
	}
	here := 0
	for i, s := range files {
		if s.First <= f.at.Line {
			here = i
		}
	}
	if err := f.enter(files[here]); err != nil {
		return false, err
	}
	last := link{f.at.Line, f.at.Hash}
	if f.at.Line < files[here].First && (f.at.First != files[here].First || f.at.Offset != 0) {
		f.at.First, f.at.Offset = files[here].First, 0 // its line is in none of the files
		return false, nil
	}
	if f.at.First == files[here].First && endsWith(f.file, position{f.at.Offset, last}) == nil {
		return false, nil
	}
	offset, found, err := findAfter(f.file, last)
	switch {
	case err != nil:
		return false, errors.Join(err, f.Close())
	case found == linePresent:
		f.at.First, f.at.Offset = files[here].First, offset
		return false, nil
	case found == lineAbsent && here+1 < len(files):
		f.at.First, f.at.Offset = files[here+1].First, 0
		return false, f.enter(files[here+1])
	}
	f.at = Place{First: files[0].First}
	return true, f.enter(files[0])
}

// enter opens a file in the place of the one that is read.
func (f *Follower) enter(s source) error {
	file, err := os.Open(s.Path)
	if err == nil && s.file != nil { // its name may have become that of another
		var same bool
		if same, err = sameFile(file, s.file); err == nil && !same {
			err = fmt.Errorf("%s was renamed just now", s.Path)
		}
	}
	if err != nil {
		if file != nil {
			_ = file.Close()
		}
		return err
	}
	_ = f.Close()
	f.file = file
	return nil
}

func sameFile(a, b *os.File) (bool, error) {
	inA, errA := a.Stat()
	inB, errB := b.Stat()
	return errA == nil && errB == nil && os.SameFile(inA, inB), errors.Join(errA, errB)
}

// What [findAfter] found of a line.
type presence int

const (
	lineAbsent  presence = iota // the file ends before it
	linePresent                 // the file goes on after it
	lineOther                   // another line has its number
)

// findAfter looks for the line at last in a file, and returns where it ends. If the line itself is damaged, the one after it
// tells.
func findAfter(file io.ReaderAt, last link) (end int64, found presence, err error) {
	enough := errors.New("the line was found")
	var offset int64
	err = eachLine(io.NewSectionReader(file, 0, math.MaxInt64), func(text []byte, whole bool) error {
		begin := offset
		offset += int64(len(text)) + 1
		h, problem := checkLine(text)
		switch {
		case !whole:
			return enough
		case problem != "" || h.seq < last.seq:
			return nil
		case h.seq == last.seq && string(h.hash) == last.hash:
			end, found = offset, linePresent
		case h.seq == last.seq, h.seq == last.seq+1 && string(h.prev) != last.hash:
			found = lineOther
		default:
			end, found = begin, linePresent
		}
		return enough
	})
	if errors.Is(err, enough) || errors.Is(err, ErrBroken) {
		err = nil
	}
	return end, found, err
}

// read reads lines of the file up to its end, the limits or the line until. What is not as it was written is left out: the
// next sound line shows that it is missing.
func (f *Follower) read(s *Step, until uint64, limits Limits) error {
	enough := errors.New("enough was read")
	offset, size := f.at.Offset, 0
	err := eachLine(io.NewSectionReader(f.file, offset, math.MaxInt64-offset), func(text []byte, whole bool) error {
		if !whole || len(s.Entries) >= limits.Lines || size >= limits.Bytes {
			return enough
		}
		offset += int64(len(text)) + 1
		h, problem := checkLine(text)
		if problem != "" {
			return nil
		}
		if h.seq > until {
			return enough
		}
		line, err := ParseLine(text)
		if err != nil {
			return nil
		}
		if expected := f.expected(); h.seq > expected {
			s.Lost = append(s.Lost, Gap{expected, h.seq - 1})
		}
		f.at = Place{f.at.First, offset, h.seq, string(h.hash)}
		s.Entries = append(s.Entries, Entry{line, bytes.Clone(text), f.at})
		size += len(text)
		return nil
	})
	if errors.Is(err, enough) || errors.Is(err, ErrBroken) { // a line that is too long hides the rest of the file
		return nil
	}
	return err
}

// expected returns the number of the next line. At the beginning of the record, that is the first line of its first file.
func (f *Follower) expected() uint64 {
	if f.at.Hash == "" {
		return f.at.First
	}
	return f.at.Line + 1
}

// nextFile goes on with the file after the one that was read to its end. It reports whether there is one.
func (f *Follower) nextFile(until uint64) (moved bool, err error) {
	r, err := OpenRecord(f.path)
	if err != nil {
		return false, err
	}
	defer r.Close()
	for _, s := range r.files {
		if s.First > f.at.First && s.First <= until {
			if err := f.enter(s); err != nil {
				return false, err
			}
			f.at.First, f.at.Offset = s.First, 0
			return true, nil
		}
	}
	return false, nil
}

// SinkLost is the event that tells of lines that are never sent to a sink: all of a gap, or as many as lines if it is not 0.
func SinkLost(sink string, gap Gap, lines int, why string) Event {
	detail := map[string]string{"sink": sink, "first": strconv.FormatUint(gap.From, 10), "last": strconv.FormatUint(gap.To, 10), "why": why}
	if lines > 0 {
		detail["lines"] = strconv.Itoa(lines)
	}
	return Event{Time: time.Now().UTC(), Kind: KindAudit, Reason: reasonSinkLost, Detail: detail}
}
