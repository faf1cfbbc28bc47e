// Package audit is the record of who was let in, turned away, cut and changed:
// one JSON line an event, each chained to the one before by its SHA-256.
//
// An event is written before the deed it tells of, and a deed whose event cannot
// be written must not be done: after a failed write the log takes no more.
package audit

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ErrBroken says that a record does not continue the chain.
var ErrBroken = errors.New("audit record is broken")

// syncEvery is how often what the kernel has is forced to the disk.
const syncEvery = time.Second

// Settings is the audit node of the configuration.
type Settings struct {
	File string `yaml:"file" kind:"file" doc:"where the audit record is written, as JSON lines"`
}

// Defaults is what an absent node means.
func Defaults() Settings { return Settings{File: "data/audit.jsonl"} }

// Check reports every fault of s.
func (s Settings) Check(fault func(path, problem string)) {
	if s.File == "" {
		fault("file", "is empty; write a path such as data/audit.jsonl")
	}
}

// Log is an open audit record. Its methods may be called concurrently.
type Log struct {
	events *prometheus.CounterVec
	errors prometheus.Counter

	pen   sync.Mutex // held by who writes; guards spare, and batches that no longer wait
	spare []byte     // room for lines, to be used again

	mu       sync.Mutex // guards what follows
	file     *os.File
	waiting  *batch
	last     link
	revision uint64 // of the newest scim event
	failure  error
	unsynced bool
}

// Open continues the record at path, or begins one. A torn last line, as a
// crash leaves it, is cut off and the cut recorded; any other fault is refused.
func Open(path string) (*Log, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the audit record's folder: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the audit record: %w", err)
	}
	l := &Log{file: f, waiting: &batch{}, events: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_audit_events_total",
		Help: "Events written to the audit record by kind."}, []string{"kind"}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{Name: "sallyport_audit_write_errors_total",
			Help: "Events that could not be written to the audit record."})}
	if err := l.resume(path); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

// resume reads the record to its end and cuts off a torn line.
func (l *Log) resume(path string) error {
	good, torn, err := l.readAll(l.file)
	if err != nil {
		return fmt.Errorf("%s: %w; move it away for those who must look into it, and a new record begins", path, err)
	}
	if err := l.file.Truncate(good); err != nil {
		return fmt.Errorf("cutting a torn line off the audit record: %w", err)
	}
	if _, err := l.file.Seek(good, io.SeekStart); err != nil {
		return err
	}
	if torn > 0 {
		return l.Write(Event{Time: time.Now().UTC(), Kind: KindStart, Reason: "torn_line_removed",
			Detail: map[string]string{"bytes": fmt.Sprint(torn)}})
	}
	return nil
}

func (l *Log) readAll(r io.Reader) (good, torn int64, err error) {
	err = eachLine(r, func(line []byte, whole bool) error {
		if !whole {
			torn = int64(len(line))
			return nil
		}
		next, e, err := l.last.follow(line)
		if err != nil {
			return err
		}
		l.last = next
		l.noteRevision(e)
		good += int64(len(line)) + 1
		return nil
	})
	return good, torn, err
}

// maxLine bounds a line of the record, in bytes.
const maxLine = 1 << 20

// eachLine gives f every line without its newline; whole is false for a last
// line that has none.
func eachLine(r io.Reader, f func(line []byte, whole bool) error) error {
	lines := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := lines.ReadSlice('\n')
		if err == io.EOF && len(line) == 0 {
			return nil
		}
		if err == bufio.ErrBufferFull {
			return fmt.Errorf("%w: a line is longer than %d bytes", ErrBroken, maxLine)
		}
		if err != nil && err != io.EOF {
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

// Write appends one event: the kernel has it when Write returns. After an error
// nothing more is written until the record is opened again.
func (l *Log) Write(e Event) error {
	b, err := l.add(e)
	if err == nil {
		err = l.write(b)
	}
	if err == nil {
		l.events.WithLabelValues(string(e.Kind)).Inc()
	}
	return err
}

// batch is lines that are written together, by whoever comes first of those who wait for it.
type batch struct {
	lines []byte
	scim  Event // the newest of a directory change
	over  bool
	err   error
}

// add continues the chain by one line, which waits to be written.
func (l *Log) add(e Event) (*batch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure != nil {
		return nil, l.failure
	}
	b := l.waiting
	b.lines, l.last = l.last.append(b.lines, e)
	if e.Kind == KindSCIM {
		b.scim = e
	}
	return b, nil
}

// write returns when b is written, by us or together with an earlier line of it.
func (l *Log) write(b *batch) error {
	l.pen.Lock()
	defer l.pen.Unlock()
	if b.over {
		return b.err
	}
	runtime.Gosched() // whoever has a line ready adds it: one system call writes them all
	l.mu.Lock()
	l.waiting = &batch{lines: l.spare[:0]}
	b.err = l.failure
	l.mu.Unlock()
	if b.err == nil {
		_, b.err = l.file.Write(b.lines)
		b.err = l.wrote(b, b.err)
	}
	b.over, l.spare, b.lines = true, b.lines, nil
	return b.err
}

// wrote notes what came of writing b.
func (l *Log) wrote(b *batch, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.errors.Inc()
		l.failure = fmt.Errorf("the audit record cannot be written, so nothing is done that belongs in it: %w", err)
		return l.failure
	}
	l.unsynced = true
	l.noteRevision(b.scim)
	return nil
}

// noteRevision remembers the newest directory change. Other events name the
// revision they were decided from, which says nothing of what is recorded.
func (l *Log) noteRevision(e Event) {
	if e.Kind == KindSCIM {
		l.revision = max(l.revision, e.Revision)
	}
}

// Append writes an event that is JSON already, as committed with a directory
// change at revision. One at or before LastRevision was written before.
func (l *Log) Append(event []byte, revision uint64) error {
	if revision <= l.LastRevision() {
		return nil
	}
	var e Event
	if err := json.Unmarshal(event, &e); err != nil {
		return fmt.Errorf("reading the event of revision %d: %w", revision, err)
	}
	e.Revision = revision
	return l.Write(e)
}

// LastRevision is that of the newest event of a directory change.
func (l *Log) LastRevision() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.revision
}

// Run forces what was written to the disk every second until ctx ends.
func (l *Log) Run(ctx context.Context) error {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			l.sync()
		}
	}
}

// sync does not hold the lock over the disk's work.
func (l *Log) sync() {
	l.mu.Lock()
	wanted, f := l.unsynced, l.file
	l.unsynced = false
	l.mu.Unlock()
	if !wanted {
		return
	}
	if err := f.Sync(); err != nil && !errors.Is(err, os.ErrClosed) {
		l.errors.Inc()
		l.mu.Lock()
		l.failure = fmt.Errorf("the audit record cannot be brought to the disk: %w", err)
		l.mu.Unlock()
	}
}

// Close forces the record to the disk and closes it. What is being written is part of it.
func (l *Log) Close() error {
	l.pen.Lock()
	defer l.pen.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure == nil {
		l.failure = os.ErrClosed
	}
	return errors.Join(l.file.Sync(), l.file.Close())
}

// Verify reads a record and returns how many lines are sound before the first
// that is not.
func Verify(r io.Reader) (n int, err error) {
	var last link
	err = eachLine(r, func(line []byte, whole bool) error {
		next, _, err := last.follow(line)
		if err == nil && !whole {
			err = fmt.Errorf("%w: line %d has no end", ErrBroken, n+1)
		}
		if err != nil {
			return err
		}
		last = next
		n++
		return nil
	})
	return n, err
}

// Collectors are the log's metrics.
func (l *Log) Collectors() []prometheus.Collector { return []prometheus.Collector{l.events, l.errors} }
