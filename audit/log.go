package audit

import (
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

// syncEvery is the interval at which written lines are forced to the disk.
const syncEvery = time.Second

// Log is an open audit record. Its methods may be called concurrently.
type Log struct {
	path   string
	events *prometheus.CounterVec
	errors prometheus.Counter

	writeMu  sync.Mutex // held during a write to the file; guards the fields below, and batches that are no longer pending
	buf      []byte     // of the last batch, for the next one
	unsynced []byte     // the lines that recovery writes again; nil before it has read them

	mu       sync.Mutex // guards the fields below; taken after writeMu; only Close and rotate hold it over I/O
	file     *os.File
	pending  *batch
	last     link
	revision uint64   // of the newest directory change
	written  position // the end of the lines that were acknowledged
	synced   position // the end of the lines that are known to be on the disk
	space    space
	outage
}

// outage is a time in which events are refused.
type outage struct {
	failure   error         // why every event is refused; nil if none is
	refused   int           // events since the outage began
	recovered chan struct{} // closed when the failure ends
}

// position is the end of a line: in the file, in bytes, and in the chain.
type position struct {
	offset int64
	link   link
}

// Open continues the record at path, or begins one. If a crash left the last line
// incomplete, Open removes it and records that; any other fault is an error.
func Open(path string) (*Log, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of the audit record: %w", err)
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the audit record: %w", err)
	}
	l := &Log{path: path, file: f, pending: &batch{}, outage: outage{recovered: make(chan struct{})}, events: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "sallyport_audit_events_total",
		Help: "Events written to the audit record by kind."}, []string{"kind"}),
		errors: prometheus.NewCounter(prometheus.CounterOpts{Name: "sallyport_audit_write_errors_total",
			Help: "Events that could not be written to the audit record."})}
	if err := l.resume(path); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return l, nil
}

// resume reads the whole record and removes an incomplete last line.
func (l *Log) resume(path string) error {
	good, torn, err := l.readAll(l.file)
	if err != nil {
		return fmt.Errorf("%s: %w; keep the file for an investigation: move it elsewhere, and the server begins a new record", path, err)
	}
	if torn > 0 { // otherwise the blocks that are allocated behind the end stay
		if err := l.file.Truncate(good); err != nil {
			return fmt.Errorf("removing the incomplete last line of the audit record: %w", err)
		}
	}
	if _, err := l.file.Seek(good, io.SeekStart); err != nil {
		return fmt.Errorf("finding the end of the audit record: %w", err)
	}
	l.written = position{good, l.last}
	l.synced = l.written
	if torn > 0 {
		return l.Write(Event{Time: time.Now().UTC(), Kind: KindStart, Reason: "torn_line_removed",
			Detail: map[string]string{"bytes": fmt.Sprint(torn)}})
	}
	return nil
}

// readAll follows the chain to its end. It returns the length of the complete lines
// and of an incomplete last one.
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

// Write appends one event. When it returns, the kernel has the line; [Log.Run]
// forces it to the disk. After an error, every Write fails until Run has recovered.
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

// batch is lines that are written by one system call. Of the writers that wait for a
// batch, the first to hold writeMu writes it.
type batch struct {
	lines  []byte
	count  int   // of the lines
	end    link  // of the last line
	change Event // the last event of a directory change, if any
	done   bool
	err    error // of the write
}

// add appends a line to the chain and to the pending batch.
func (l *Log) add(e Event) (*batch, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure != nil {
		l.refuse(1)
		return nil, l.failure
	}
	if l.space.full != nil && ordinary(e.Kind) {
		l.refuse(1)
		return nil, l.space.full
	}
	b := l.pending
	b.lines, l.last = l.last.append(b.lines, e)
	b.count, b.end = b.count+1, l.last
	if e.Kind.changesDirectory() {
		b.change = e
	}
	return b, nil
}

// refuse counts events that could not be written; mu is held. A closed log counts none.
func (l *Log) refuse(events int) {
	if errors.Is(l.failure, os.ErrClosed) {
		return
	}
	l.refused += events
	l.errors.Add(float64(events))
}

// write returns when b was written, by this call or that of another writer.
func (l *Log) write(b *batch) error {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	if b.done {
		return b.err
	}
	runtime.Gosched() // lets other writers add their lines to this batch
	l.mu.Lock()
	l.pending = &batch{lines: l.buf[:0]}
	if b.err = l.failure; b.err != nil {
		l.refuse(b.count)
	}
	l.mu.Unlock()
	if b.err == nil {
		l.allocate(len(b.lines))
		_, b.err = l.file.Write(b.lines)
		b.err = l.finish(b, b.err)
	}
	b.done, l.buf, b.lines = true, b.lines, nil
	return b.err
}

// finish records the result of writing b.
func (l *Log) finish(b *batch, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.refuse(b.count)
		l.failure = fmt.Errorf("%w: %w", ErrUnwritable, err)
		return l.failure
	}
	l.written = position{l.written.offset + int64(len(b.lines)), b.end}
	l.noteRevision(b.change)
	return nil
}

// noteRevision keeps the revision of the newest directory change. The revision of any
// other event is the one that it was decided from, and not that of a recorded change;
// the first event of a record that goes on from another has its newest.
func (l *Log) noteRevision(e Event) {
	if e.Kind.changesDirectory() || e.Kind == KindAudit {
		l.revision = max(l.revision, e.Revision)
	}
}

// Append writes the event, encoded as JSON, that was committed with the directory
// change at revision. It does nothing if revision is at or before [Log.LastRevision]:
// that event was written before.
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

// LastRevision returns the revision of the newest directory change in the record.
func (l *Log) LastRevision() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.revision
}

// Run forces written lines to the disk every second, until ctx ends. While the record
// cannot be written it tries every second to recover.
func (l *Log) Run(ctx context.Context) error {
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
			if l.failed() {
				l.reopen()
			} else {
				l.sync()
				l.follow()
				l.refill()
			}
		}
	}
}

// sync forces written lines to the disk. After a failure every event is refused.
func (l *Log) sync() {
	l.mu.Lock()
	written, synced, f := l.written, l.synced, l.file
	l.mu.Unlock()
	if written == synced {
		return
	}
	err := f.Sync()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		l.synced = written
	case !errors.Is(err, os.ErrClosed):
		l.errors.Inc()
		l.failure = fmt.Errorf("%w: it cannot be forced to the disk: %w", ErrUnwritable, err)
	}
}

// Close waits for a write under way, forces the record to the disk and closes it.
func (l *Log) Close() error {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure == nil {
		l.failure = os.ErrClosed
	}
	return errors.Join(l.file.Sync(), l.file.Close())
}

// Collectors returns the metrics of the log.
func (l *Log) Collectors() []prometheus.Collector { return []prometheus.Collector{l.events, l.errors} }
