package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// beginning is the first line of the file that is written to.
type beginning struct {
	line uint64 // its number
	time time.Time
}

// Open is [Resume] without a mark: it reads the newest file of the record from its beginning.
func Open(path string) (*Log, error) { return Resume(path, Mark{}) }

// Resume is [ResumeAs] with a mark alone.
func Resume(path string, mark Mark) (*Log, error) {
	return ResumeAs(path, Options{Mark: mark})
}

// Options say how a record is continued.
type Options struct {
	Mark    Mark   // kept of an earlier run; the zero value if there was none
	Replica string // the name of this process among those that use one store, each with a record of its own; "" if it is alone
}

// ResumeAs continues the record at path, or begins one. It reads what comes after the mark, which was kept of an earlier
// run, and returns an error if the record does not have that line any more: its end was cut off, or it was replaced.
//
// If a crash left the last line incomplete, ResumeAs removes it and records that. If there is no file at path, a new one
// begins: after the newest file that was rotated, if a crash came between; otherwise after the mark, and the first line
// tells that what was there is missing.
func ResumeAs(path string, o Options) (l *Log, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of the audit record: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the audit record: %w", err)
	}
	l = &Log{path: path, replica: o.Replica, file: f, unclaimed: map[uint64]bool{}, pending: &batch{}, outage: outage{recovered: make(chan struct{})}, events: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_audit_events_total",
		Help: "Events written to the audit record by kind."}, []string{"kind"}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{Name: "sallyport_audit_write_errors_total",
			Help: "Events that could not be written to the audit record."}),
		unrecorded: prometheus.NewCounter(prometheus.CounterOpts{Name: "sallyport_audit_unrecorded_total",
			Help: "Requests and sign-ins that were let in although the audit record could not be written."})}
	err = l.resume(o.Mark)
	if err == nil && o.Replica != "" {
		err = l.file.Sync() // what the file has is never written again
	}
	if err != nil {
		return nil, errors.Join(err, l.file.Close())
	}
	return l, nil
}

// Missing reports whether the record that was there at the mark is not, so that a new one was begun.
func (l *Log) Missing() bool { return l.missing }

// resume finds the end of the record, removes an incomplete last line, and goes on.
func (l *Log) resume(mark Mark) error {
	_ = os.Remove(l.path + newSuffix) // of a rotation that did not come to its end
	torn, started, err := l.findEnd(mark)
	if errors.Is(err, ErrBroken) {
		return fmt.Errorf("%s: %w; keep the file for an investigation: move it elsewhere, and the server begins a new record", l.path, err)
	}
	if err != nil {
		return err
	}
	l.synced, l.change = l.written, l.revision
	l.checkmark.mark = mark
	if l.begin.line == 0 {
		l.begin = beginning{1, time.Now()}
	}
	if started != nil {
		l.begin = beginning{l.last.seq + 1, started.Time}
		if err := l.Write(*started); err != nil {
			return err
		}
		syncFolder(l.path)
	}
	if torn > 0 {
		return l.Write(Event{Time: time.Now().UTC(), Kind: KindStart, Reason: "torn_line_removed",
			Detail: map[string]string{"bytes": fmt.Sprint(torn)}})
	}
	return nil
}

// findEnd finds the end of the record. It returns the length of an incomplete last line that it removed, and the event
// with which a new file must begin, if any.
func (l *Log) findEnd(mark Mark) (torn int64, first *Event, err error) {
	line, err := firstLine(l.file)
	if err != nil {
		return 0, nil, err
	}
	if line != nil {
		torn, err = l.findEndHere(line, mark)
		return torn, nil, err
	}
	if torn, err = l.truncate(l.file, 0); err != nil {
		return torn, nil, err
	}
	former, err := rotatedFiles(l.path)
	if err != nil {
		return torn, nil, err
	}
	switch {
	case len(former) > 0 && mark.First <= former[len(former)-1].First:
		cut, err := l.followFormer(former[len(former)-1], mark)
		if err != nil {
			return torn, nil, err
		}
		e := rotatedEvent(l.last, l.revision, filepath.Base(former[len(former)-1].Path))
		return torn + cut, &e, nil
	case mark.Line > 0:
		l.last, l.missing = link{mark.Line, mark.Hash}, true
		return torn, &Event{Time: time.Now().UTC(), Kind: KindAudit, Reason: reasonBegun, Detail: formerLine(l.last)}, nil
	}
	return torn, nil, nil
}

// findEndHere reads the file that is written to, after its first line.
func (l *Log) findEndHere(line []byte, mark Mark) (torn int64, err error) {
	if _, _, err := (link{}).follow(line); err != nil {
		return 0, err
	}
	var first struct {
		Seq  uint64    `json:"seq"`
		Time time.Time `json:"time"`
	}
	if err := json.Unmarshal(line, &first); err != nil {
		return 0, fmt.Errorf("%w: line 1 is not JSON: %w", ErrBroken, err)
	}
	l.begin = beginning{first.Seq, first.Time}
	switch {
	case mark.First > first.Seq:
		return 0, mark.missing()
	case mark.First == first.Seq:
		return l.followFrom(l.file, mark)
	}
	if err := l.checkFormer(mark, first.Seq); err != nil {
		return 0, err
	}
	return l.followFrom(l.file, Mark{})
}

// checkFormer demands that the file that the mark is in has that line, if the file is still there. It notes the directory
// changes after the mark, in files before the one that begins with the line at next.
func (l *Log) checkFormer(mark Mark, next uint64) error {
	if mark.Line == 0 {
		return nil
	}
	former, err := rotatedFiles(l.path)
	if err != nil {
		return err
	}
	for _, file := range former {
		if file.First < mark.First || file.First >= next {
			continue
		}
		if err := l.noteFormer(file, mark); err != nil {
			return err
		}
	}
	return nil
}

// noteFormer notes the directory changes in a closed file after the mark, which the file must have if it is in it.
func (l *Log) noteFormer(file File, mark Mark) error {
	f, err := os.Open(file.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	begin := int64(0)
	if file.First == mark.First {
		if err := mark.check(f); err != nil {
			return err
		}
		l.marked, begin = true, mark.Offset
	}
	if l.replica == "" {
		return nil
	}
	return eachLine(io.NewSectionReader(f, begin, math.MaxInt64-begin), func(line []byte, _ bool) error {
		return l.note(line)
	})
}

// Marked reports whether the record has the line of the mark with which it was resumed.
func (l *Log) Marked() bool { return l.marked }

// followFormer finds the end of the newest closed file, after which a crash came.
func (l *Log) followFormer(former File, mark Mark) (torn int64, err error) {
	f, err := os.OpenFile(former.Path, os.O_RDWR, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if mark.First != former.First {
		if err := l.checkFormer(mark, former.First); err != nil {
			return 0, err
		}
		mark = Mark{}
	}
	if torn, err = l.followFrom(f, mark); err == nil {
		err = f.Sync()
	}
	l.written.offset = 0
	return torn, err
}

// followFrom follows the chain from the mark to its end, which becomes that of the log, and removes an incomplete last
// line.
func (l *Log) followFrom(f *os.File, mark Mark) (torn int64, err error) {
	if err := mark.check(f); err != nil {
		return 0, err
	}
	l.marked = l.marked || mark.Line > 0
	l.last, l.revision, l.checkmark.line = link{mark.Line, mark.Hash}, mark.Revision, mark.Signed
	good, err := l.readAll(io.NewSectionReader(f, mark.Offset, math.MaxInt64-mark.Offset))
	if err != nil {
		return 0, err
	}
	good += mark.Offset
	if torn, err = l.truncate(f, good); err != nil {
		return 0, err
	}
	if _, err := f.Seek(good, io.SeekStart); err != nil {
		return 0, fmt.Errorf("finding the end of the audit record: %w", err)
	}
	l.written = position{good, l.last}
	return torn, nil
}

// truncate removes what is behind the last line. It does nothing if there is nothing, so that the blocks that are
// allocated behind the end stay.
func (l *Log) truncate(f *os.File, end int64) (removed int64, err error) {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() <= end {
		return 0, err
	}
	if err := f.Truncate(end); err != nil {
		return 0, fmt.Errorf("removing the incomplete last line of the audit record: %w", err)
	}
	return info.Size() - end, nil
}

// readAll follows the chain to its end. It returns the length of the complete lines.
func (l *Log) readAll(r io.Reader) (good int64, err error) {
	err = eachLine(r, func(line []byte, whole bool) error {
		if !whole {
			return nil
		}
		next, err := l.last.followHead(line)
		if err != nil {
			return err
		}
		l.last = next
		good += int64(len(line)) + 1
		return l.note(line)
	})
	return good, err
}

// note keeps what a line says about the directory and the record. Lines of other kinds are not decoded: there are many.
func (l *Log) note(line []byte) error {
	if !isKind(line, KindSCIM) && !isKind(line, KindStore) && !isKind(line, KindAudit) {
		return nil
	}
	var e Event
	if err := json.Unmarshal(line, &e); err != nil {
		return fmt.Errorf("%w: line %d is not JSON: %w", ErrBroken, l.last.seq, err)
	}
	l.noteRevision(&e)
	if e.Kind == KindAudit && e.Reason == reasonCheckpoint {
		l.checkmark.line = l.last.seq
	}
	return nil
}
