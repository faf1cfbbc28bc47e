package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// syncEvery is the interval at which written lines are forced to the disk.
const syncEvery = time.Second

// Log is an open audit record. Its methods may be called concurrently.
type Log struct {
	path    string
	replica string // is in every event
	missing bool   // see [Log.Missing]
	marked  bool   // see [Log.Marked]

	events     *prometheus.CounterVec
	lastKind   atomic.Pointer[kindCounter] // of events, the one that was used last
	errors     prometheus.Counter
	unrecorded prometheus.Counter
	tell       atomic.Pointer[func(error, int)] // see [Log.AllowUnrecorded]; nil: whatever cannot be recorded is refused
	observe    func(Event)                      // see [Log.Observe]; may be nil
	observers  observers                        // see [Log.Written]

	writeMu  sync.Mutex // held during a write to the file; guards the fields below, and batches that are no longer pending
	buf      []byte     // of the last batch, for the next one
	unsynced []byte     // the lines that recovery writes again; nil before it has read them

	mu        sync.Mutex // guards the fields below; taken after writeMu; only Close and rotate hold it over I/O
	file      *os.File
	pending   *batch
	last      link
	revision  uint64          // of the newest directory change
	unclaimed map[uint64]bool // see [Log.Changes]; nil once it was called
	written   position        // the end of the lines that were acknowledged
	synced    position        // the end of the lines that are known to be on the disk
	change    uint64          // the revision of the newest directory change in the lines that are known to be on the disk
	begin     beginning
	space     space
	away      *away // nil while this process writes the record
	retaken   bool  // see [Log.Retaken]
	outage
	rotation  rotation
	checkmark checkmark
}

// outage is a time in which events are refused.
type outage struct {
	failure   error         // why every event is refused; nil if none is
	lost      lost          // since the record last told of it
	recovered chan struct{} // closed when the failure ends
	told      told
}

// position is the end of a line: in the file, in bytes, and in the chain.
type position struct {
	offset int64
	link   link
}

// Write appends one event. When it returns, the kernel has the line; [Log.Run]
// forces it to the disk. After an error, every Write fails until Run has recovered; but
// see [Log.AllowUnrecorded].
func (l *Log) Write(e Event) error {
	if !ordinary(e.Kind) {
		if relay := l.elsewhere(); relay != nil {
			return relayEvent(relay, e)
		}
		if l.observe != nil {
			l.observe(e)
		}
	}
	_, err := l.writeLine(e)
	for errors.Is(err, errAway) {
		if relay := l.elsewhere(); relay != nil {
			return relayEvent(relay, e)
		}
		_, err = l.writeLine(e)
	}
	if err != nil && e.letsIn() && l.passes(err) {
		return nil
	}
	return err
}

// writeLine writes one event, and returns the number of its line.
func (l *Log) writeLine(e Event) (number uint64, err error) {
	e.Replica = l.replica
	var fields [1 << 10]byte
	b, first, number, err := l.add(&e, e.appendFields(fields[:0])) // encoded before the locks are taken
	if err == nil {
		err = l.write(b, first)
	}
	if err == nil {
		l.count(e.Kind)
		l.observers.tell(e, number)
	}
	return number, err
}

// count counts an event that was written. Most events are decisions, and looking up a counter takes longer than counting, so
// the counter that was used last is kept.
func (l *Log) count(kind Kind) {
	last := l.lastKind.Load()
	if last == nil || last.kind != kind {
		last = &kindCounter{kind, l.events.WithLabelValues(string(kind))}
		l.lastKind.Store(last)
	}
	last.Inc()
}

// kindCounter counts the events of one kind.
type kindCounter struct {
	kind Kind
	prometheus.Counter
}

// Observe has f called with every event other than decisions and logins, before it is written, whether or not it then can be.
// An event that is tried again is seen again. f must not wait. Call Observe once, before any other method.
func (l *Log) Observe(f func(Event)) { l.observe = f }

// batch is lines that are written by one system call. The writer of its first line writes it; those of the others wait for
// that writer.
type batch struct {
	lines  []byte
	count  int    // of the lines
	letIn  int    // how many of them let somebody in
	end    link   // of the last line
	change *Event // the last event of a directory change; nil if there is none
	done   bool
	err    error         // of the write
	wait   chan struct{} // closed when the batch is finished; nil while nobody waits
}

// finish marks the batch as done. Its lines were written, or err is why not. No more lines are added to it.
func (b *batch) finish(err error) {
	b.done, b.err = true, err
	if b.wait != nil {
		close(b.wait)
	}
}

// add appends a line to the chain and to the pending batch; fields are those of e. It returns the number of the line, too,
// and whether it is the first of the batch.
func (l *Log) add(e *Event, fields []byte) (b *batch, first bool, number uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if errors.Is(l.failure, errAway) {
		return nil, false, 0, errAway
	}
	if l.failure != nil {
		l.lose(1, e.lettingIn(), l.failure)
		return nil, false, 0, l.failure
	}
	if l.space.full != nil && ordinary(e.Kind) {
		l.lose(1, e.lettingIn(), l.space.full)
		return nil, false, 0, l.space.full
	}
	b = l.pending
	if first = b.count == 0; !first && b.wait == nil {
		b.wait = make(chan struct{})
	}
	b.lines, l.last = l.last.append(b.lines, fields)
	b.count, b.letIn, b.end = b.count+1, b.letIn+e.lettingIn(), l.last
	if e.Kind.changesDirectory() {
		change := *e
		b.change = &change
	}
	return b, first, l.last.seq, nil
}

// append appends the line of e, which follows the line at end, to lines.
func (l *Log) append(lines []byte, end link, e Event) ([]byte, link) {
	e.Replica = l.replica
	return end.append(lines, e.appendFields(nil))
}

// write waits until the lines of b are in the file, or are refused. The writer of the first line writes all of them, unless
// rotation or recovery has finished the batch already.
func (l *Log) write(b *batch, first bool) error {
	if !first {
		<-b.wait
		return b.err
	}
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	if b.done {
		return b.err
	}
	runtime.Gosched() // lets other writers add their lines to this batch
	l.mu.Lock()
	l.pending = &batch{lines: l.buf[:0]}
	err := l.failure
	if err != nil {
		l.lose(b.count, b.letIn, err)
	}
	l.mu.Unlock()
	if err == nil {
		l.allocate(len(b.lines))
		_, err = l.file.Write(b.lines)
		err = l.finish(b, err)
	}
	l.buf, b.lines = b.lines, nil
	b.finish(err)
	return err
}

// finish records the result of writing b.
func (l *Log) finish(b *batch, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.lose(b.count, b.letIn, err)
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
func (l *Log) noteRevision(e *Event) {
	if e == nil {
		return
	}
	if l.unclaimed != nil && l.replica != "" && e.Kind.changesDirectory() && e.Revision > 0 {
		l.unclaimed[e.Revision] = true
	}
	if e.Kind.changesDirectory() || e.Kind == KindAudit {
		l.revision = max(l.revision, e.Revision)
	}
}

// Append writes the event, encoded as JSON, that was committed with the directory
// change at revision. It does nothing if revision is at or before [Log.LastRevision]:
// that event was written before. The record of a replica does not have all changes: see [Log.AppendChange].
func (l *Log) Append(event []byte, revision uint64) error {
	if l.replica == "" && revision <= l.LastRevision() {
		return nil
	}
	var e Event
	if err := json.Unmarshal(event, &e); err != nil {
		return fmt.Errorf("reading the event of revision %d: %w", revision, err)
	}
	e.Revision = revision
	return l.Write(e)
}

// AppendChange is [Log.Append] of a replica, which writes the changes that it committed, whatever the order of their
// revisions. It returns the number of the line.
func (l *Log) AppendChange(e Event) (number uint64, err error) {
	if l.observe != nil {
		l.observe(e)
	}
	return l.writeLine(e)
}

// Changes returns the revisions of the directory changes that were written after the mark with which the record was resumed,
// and begins to forget them. Only the record of a replica has them.
func (l *Log) Changes() map[uint64]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	changes := l.unclaimed
	l.unclaimed = nil
	return changes
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
				l.rotateIfDue()
				l.refill()
				l.expire()
				l.checkpointIfDue()
			}
			l.tellOfOutage()
		}
	}
}

// sync forces written lines to the disk. After a failure every event is refused.
func (l *Log) sync() {
	l.mu.Lock()
	written, synced, change, f := l.written, l.synced, l.revision, l.file
	l.mu.Unlock()
	if written == synced {
		return
	}
	err := f.Sync()
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err == nil:
		if l.file == f { // no new file was begun meanwhile
			l.synced, l.change = written, change
		}
	case !errors.Is(err, os.ErrClosed) && !errors.Is(l.failure, errAway):
		l.errors.Inc()
		l.failure = fmt.Errorf("%w: it cannot be forced to the disk: %w", ErrUnwritable, err)
	}
}

// Close waits for a write under way, forces the record to the disk, closes it and keeps its end.
func (l *Log) Close() error {
	l.tellOfUnrecorded()
	err := l.closeFile()
	l.keepEnd()
	return err
}

func (l *Log) closeFile() error {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	sound := l.failure == nil
	if sound {
		l.failure = os.ErrClosed
	}
	err := l.file.Sync()
	if sound && err == nil {
		l.synced, l.change = l.written, l.revision
	}
	return errors.Join(err, l.file.Close())
}

// Collectors returns the metrics of the log.
func (l *Log) Collectors() []prometheus.Collector {
	return []prometheus.Collector{l.events, l.errors, l.unrecorded}
}
