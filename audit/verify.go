package audit

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"time"
)

// Trust is what a record is compared with, beyond its own chain.
type Trust struct {
	Keys   map[string]ed25519.PublicKey // the keys of checkpoints by their ids; nil: signatures are not checked
	Signed bool                         // there must be a checkpoint
	Mark   Mark                         // a line that the record had

	Changes bool // collect the directory changes that replicas made, for [CompareChanges]
}

// Checked is what the check of a record found.
type Checked struct {
	Lines       int
	First, Last uint64 // the numbers of the first and the last line
	Checkpoints int
	Signed      uint64 // the number of the last line that a checkpoint covers
	Gaps        []Gap
	Changes     []Change  // in the order of the lines, if they were asked for
	Begins      time.Time // the times of the first and the last line, if changes were asked for
	Ends        time.Time
}

// Gap is lines that are elsewhere, and the line after them says so.
type Gap struct{ From, To uint64 }

// Verify reads a record and returns the number of lines before the first one that does not continue the chain. Its error
// is [ErrBroken] then.
func Verify(r io.Reader) (n int, err error) {
	v := verifier{}
	err = v.file(r)
	return v.lines, err
}

// Verify checks every line of every file, in their order. An error that is [ErrBroken] is a [FileError]. The record is that
// of one replica: see [Record.Parts].
func (r *Record) Verify(trust Trust) (Checked, error) {
	v := verifier{trust: trust, whole: r.whole}
	return v.record(r)
}

func (v *verifier) record(r *Record) (Checked, error) {
	for _, s := range r.files {
		v.path, v.lines = s.Path, 0
		if err := s.during(v.file); err != nil {
			return v.checked, v.wrap(err)
		}
	}
	err := v.wrap(v.finish())
	if err == nil && v.trust.Changes {
		span, failed := r.Span()
		v.checked.Begins, v.checked.Ends, err = span.Begins, span.Ends, failed
	}
	return v.checked, err
}

// VerifyInBackground is [Record.Verify] that leaves most of the processors to others, and ends when ctx does.
func (r *Record) VerifyInBackground(ctx context.Context, trust Trust) (Checked, error) {
	v := verifier{trust: trust, whole: r.whole, rest: func() error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(restBetween):
			return nil
		}
	}}
	return v.record(r)
}

// restBetween is how long a check in the background rests after each segment.
const restBetween = 4 * time.Millisecond

func (v *verifier) wrap(err error) error {
	if errors.Is(err, ErrBroken) {
		return &FileError{v.path, v.lines, err}
	}
	return err
}

// verifier follows the chain over the files of a record.
type verifier struct {
	trust   Trust
	whole   bool
	path    string // of the file
	lines   int    // of the file
	end     link
	checked Checked
	marked  bool // the line of trust.Mark was found
	missing link // the last line before the record begins, if it is not recorded that it was deleted
	ours    bool // its file had a name of ours

	rest func() error // called before each segment; nil: nothing
}

// segment is some consecutive lines of a file. They are checked without what is before them.
type segment struct {
	text  []byte
	begin bool // the first line is that of a file
	mark  Mark

	done    chan struct{}
	lines   int    // that are sound
	first   link   // before the first line
	head    []byte // the first line, if it is that of a file
	last    link
	events  []numbered // of the record itself
	marked  bool
	problem string // with the line after

	collect bool // the changes
	changes []Change
}

// numbered is an event of the record itself, and the line before it.
type numbered struct {
	before link
	event  Event
}

// file checks one file. Several segments are checked at once, and joined in their order.
func (v *verifier) file(r io.Reader) error {
	workers := runtime.GOMAXPROCS(0)
	waiting, ordered := make(chan *segment, workers), make(chan *segment, 2*workers)
	stop := make(chan struct{})
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for s := range waiting {
				s.check()
				close(s.done)
			}
		})
	}
	var readErr, restErr error
	running.Go(func() {
		defer close(ordered)
		defer close(waiting)
		readErr = segments(r, func(s *segment) bool {
			if v.rest != nil {
				if restErr = v.rest(); restErr != nil {
					return false
				}
			}
			s.mark, s.collect = v.trust.Mark, v.trust.Changes
			select {
			case ordered <- s:
			case <-stop:
				return false
			}
			waiting <- s
			return true
		})
	})
	var err error
	for s := range ordered {
		if <-s.done; err == nil {
			if err = v.join(s); err != nil {
				close(stop)
			}
		}
		whole := s.text[:cap(s.text)]
		texts.Put(&whole)
	}
	running.Wait()
	return errors.Join(err, v.readError(errors.Join(readErr, restErr), err))
}

func (v *verifier) readError(readErr, err error) error {
	if err != nil {
		return nil
	}
	return readErr
}

// segmentSize is about how many bytes are checked at once.
const segmentSize = MaxLine

// texts are buffers for segments: as many bytes, and an incomplete line before them.
var texts = sync.Pool{New: func() any { text := make([]byte, MaxLine+segmentSize+1); return &text }}

// segments cuts the lines of r into segments, until f returns false.
func segments(r io.Reader, f func(*segment) bool) error {
	var rest []byte
	for begin := true; ; begin = false {
		text := *texts.Get().(*[]byte)
		n, err := io.ReadFull(r, text[copy(text, rest):][:segmentSize])
		text = text[:len(rest)+n]
		ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		if err != nil && !ended {
			return err
		}
		end := bytes.LastIndexByte(text, '\n') + 1
		if end == 0 && len(text) > MaxLine {
			return fmt.Errorf("%w: a line is longer than %d bytes", ErrBroken, MaxLine)
		}
		if ended {
			end = len(text)
		}
		rest = bytes.Clone(text[end:]) // the text is used again once it was checked
		s := &segment{text: text[:end], begin: begin, done: make(chan struct{})}
		if len(s.text) > 0 && !f(s) || ended {
			return nil
		}
	}
}

// check follows the chain through the lines of a segment.
func (s *segment) check() {
	var last head // of the last sound line; its parts are those of the text
	for rest := s.text; len(rest) > 0 && s.problem == ""; {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		rest = after
		if len(line) >= MaxLine {
			s.problem = fmt.Sprintf("is longer than %d bytes", MaxLine)
			break
		}
		h, problem := s.follow(line, last)
		if problem == "" && !whole {
			problem = "does not end in a newline"
		}
		if s.problem = problem; problem == "" {
			last = h
			s.lines++
		}
	}
	s.last = link{last.seq, string(last.hash)}
}

// follow checks one line after the last one. It returns what is wrong with it, or "".
func (s *segment) follow(line []byte, last head) (h head, problem string) {
	if h, problem = checkLine(line); problem != "" {
		return h, problem
	}
	switch {
	case s.lines == 0:
		s.first = link{h.seq - 1, string(h.prev)}
		if s.begin {
			s.head = bytes.Clone(line)
		}
		s.marked = s.first == link{s.mark.Line, s.mark.Hash} // a new file names a line of one that was moved elsewhere
	case h.seq != last.seq+1 || !bytes.Equal(h.prev, last.hash):
		return h, "does not follow the line before: lines were removed or inserted"
	}
	if isKind(line, KindAudit) {
		n := numbered{before: link{h.seq - 1, string(h.prev)}}
		if err := json.Unmarshal(line, &n.event); err != nil {
			return h, "is not JSON: " + err.Error()
		}
		s.events = append(s.events, n)
	}
	if s.collect && (isKind(line, KindSCIM) || isKind(line, KindStore)) {
		s.addChange(line)
	}
	s.marked = s.marked || h.seq == s.mark.Line && string(h.hash) == s.mark.Hash
	return h, ""
}

// join continues the chain with a segment.
func (v *verifier) join(s *segment) error {
	if s.lines > 0 || s.first != (link{}) {
		if err := v.enter(s); err != nil {
			return err
		}
	}
	for _, e := range s.events {
		if e.before.seq >= s.last.seq { // not sound
			break
		}
		if err := v.event(e); err != nil {
			v.lines += int(e.before.seq - s.first.seq) //nolint:gosec // a segment has few lines
			return err
		}
	}
	if s.lines > 0 {
		v.end = s.last
	}
	v.checked.Changes = append(v.checked.Changes, s.changes...)
	v.marked = v.marked || s.marked
	v.lines += s.lines
	v.checked.Lines += s.lines
	v.checked.Last = v.end.seq
	if s.problem != "" {
		return v.broken(v.end.seq+1, s.problem)
	}
	return nil
}

func (v *verifier) broken(line uint64, problem string) error {
	return fmt.Errorf("%w: line %d %s", ErrBroken, line, problem)
}

// enter demands that the first line of a segment follows.
func (v *verifier) enter(s *segment) error {
	h := head{seq: s.first.seq + 1, prev: []byte(s.first.hash)}
	switch {
	case !s.begin:
		if s.first != v.end {
			return v.broken(v.end.seq+1, "does not follow the line before: lines were removed or inserted")
		}
		return nil
	case v.checked.Lines == 0:
		v.checked.First = h.seq
		if s.first == (link{}) {
			return nil
		}
		e, ok := beginsFile(s.head, h)
		if !ok {
			return v.broken(1, "does not follow the line before: lines were removed or inserted")
		}
		if v.whole {
			v.missing, v.ours = s.first, e.Detail["former_file"] != ""
		}
		v.end = s.first
		return nil
	}
	before, gap, problem := v.end.enter(s.head, h)
	if problem != "" {
		return v.broken(h.seq, problem)
	}
	if gap {
		v.checked.Gaps = append(v.checked.Gaps, Gap{v.end.seq + 1, before.seq})
	}
	v.end = before
	return nil
}

// event looks at an event of the record itself.
func (v *verifier) event(e numbered) error {
	switch e.event.Reason {
	case reasonCheckpoint:
		v.checked.Checkpoints++
		if v.trust.Keys != nil {
			if problem := checkSignature(e.event, e.before, v.trust.Keys); problem != "" {
				return v.broken(e.before.seq+1, problem)
			}
		}
		v.checked.Signed = e.before.seq
	case reasonExpired:
		if fmt.Sprint(v.missing.seq) == e.event.Detail["last"] && v.missing.hash == e.event.Detail["last_hash"] {
			v.missing = link{}
		}
	}
	return nil
}

// finish demands what only the whole record can tell.
func (v *verifier) finish() error {
	mark := v.trust.Mark
	if v.missing != (link{}) && !v.ours {
		v.checked.Gaps = append([]Gap{{1, v.missing.seq}}, v.checked.Gaps...)
	}
	switch {
	case v.missing != link{} && v.ours:
		return fmt.Errorf("%w: the lines before line %d are missing, and it is not recorded that their file was deleted", ErrBroken, v.checked.First)
	case mark.Line > v.end.seq:
		return fmt.Errorf("%w: it ends with line %d, but line %d was on the disk: its end was cut off", ErrBroken, v.end.seq, mark.Line)
	case mark.Line >= v.checked.First && mark.Line > 0 && !v.marked: // otherwise its file was deleted since
		return fmt.Errorf("%w: line %d is not the one that was on the disk: the record was replaced or written again", ErrBroken, mark.Line)
	case v.trust.Signed && v.checked.Checkpoints == 0:
		return fmt.Errorf("%w: no line is signed", ErrBroken)
	}
	return nil
}
