package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"sallyport/disk"
)

// ErrUnwritable means that an event was refused because of a failed write, which may end: see [Log.Writable].
var ErrUnwritable = errors.New("the audit record cannot be written, so nothing is done that belongs in it")

// errOtherFile means that the file is not the record that was written.
var errOtherFile = errors.New("the file no longer ends with the lines that were written: keep it for an investigation, move it elsewhere, and restart the server, which begins a new record")

// Err returns why the log refuses events, or only decisions and logins, or nil if it
// accepts them all.
func (l *Log) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case errors.Is(l.failure, errAway):
		return nil
	case l.failure != nil:
		return l.failure
	}
	return l.space.full
}

// failed reports whether every event is refused.
func (l *Log) failed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failure != nil
}

// Writable returns nil once the log accepts events other than decisions and logins. It returns the context's error if
// ctx ends first, and [os.ErrClosed] if the log is closed.
func (l *Log) Writable(ctx context.Context) error {
	for {
		l.mu.Lock()
		failure, recovered := l.failure, l.recovered
		l.mu.Unlock()
		if failure == nil || errors.Is(failure, os.ErrClosed) {
			return failure
		}
		select {
		case <-recovered:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// reopen opens the record again, repairs its end, and accepts events if that succeeds.
// Otherwise the failure stays, and the next attempt is made in a second.
func (l *Log) reopen() {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	l.mu.Lock()
	closed, told := errors.Is(l.failure, os.ErrClosed) || errors.Is(l.failure, errAway), l.lost
	l.mu.Unlock()
	if closed {
		return
	}
	f, end, err := l.repair(told.event(reasonRecovered))
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case errors.Is(err, errOtherFile):
		l.failure = fmt.Errorf("%w: %s: %w", ErrUnwritable, l.path, err)
	case err == nil:
		l.resumeAt(f, end)
		l.recordLost(told)
		l.events.WithLabelValues(string(KindAudit)).Inc()
	}
}

// repair opens the file, checks it against what was acknowledged, removes what a
// failed write left behind, and appends gap. Then all of it is on the disk. writeMu is
// held and events are refused, so the positions do not change.
func (l *Log) repair(gap Event) (f *os.File, end position, err error) {
	if f, err = os.OpenFile(l.path, os.O_RDWR, 0); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			err = errOtherFile
		}
		return nil, end, err
	}
	opened := f // a return with an error sets f to nil
	defer func() {
		if err != nil {
			_ = opened.Close()
		}
	}()
	lines, err := l.unsyncedLines(f)
	if err != nil {
		return nil, end, err
	}
	if err := disk.Forget(f); err != nil {
		return nil, end, err
	}
	lines, end.link = l.append(lines, l.written.link, gap)
	end.offset = l.synced.offset + int64(len(lines))
	info, err := f.Stat()
	if err != nil {
		return nil, end, err
	}
	if info.Size() > l.written.offset { // otherwise the blocks that are allocated behind the end stay
		if err := f.Truncate(l.written.offset); err != nil {
			return nil, end, err
		}
	}
	// After a failed fsync the kernel may have dropped what it could not write, so the lines are written again.
	if _, err := f.WriteAt(lines, l.synced.offset); err != nil {
		return nil, end, err
	}
	if err := f.Sync(); err != nil {
		return nil, end, err
	}
	_, err = f.Seek(end.offset, io.SeekStart)
	return f, end, err
}

// unsyncedLines reads the acknowledged lines that may not be on the disk yet. They
// must continue the chain from the last synced line to the last acknowledged one. They
// are kept until the log has recovered: an attempt that fails may leave them nowhere else.
func (l *Log) unsyncedLines(f *os.File) ([]byte, error) {
	if err := endsWith(f, l.synced); err != nil {
		return nil, err
	}
	if l.unsynced != nil {
		return l.unsynced, nil
	}
	lines := make([]byte, l.written.offset-l.synced.offset)
	if _, err := f.ReadAt(lines, l.synced.offset); errors.Is(err, io.EOF) {
		return nil, errOtherFile
	} else if err != nil {
		return nil, err
	}
	end := l.synced.link
	err := eachLine(bytes.NewReader(lines), func(line []byte, _ bool) (err error) {
		end, _, err = end.follow(line)
		return err
	})
	if err != nil || end != l.written.link {
		return nil, errOtherFile
	}
	l.unsynced = slices.Clip(lines)
	return l.unsynced, nil
}

// endsWith demands that the line that ends at p is the one of the chain.
func endsWith(f io.ReaderAt, p position) error {
	if p.offset == 0 {
		return nil
	}
	want := hashMark + p.link.hash + "\"}\n"
	got := make([]byte, len(want))
	_, err := f.ReadAt(got, p.offset-int64(len(want)))
	switch {
	case errors.Is(err, io.EOF), err == nil && string(got) != want:
		return errOtherFile
	}
	return err
}

// resumeAt accepts events again, after the line at end. Lines that wait to be written
// belong to the time of the failure and are refused. mu is held.
func (l *Log) resumeAt(f *os.File, end position) {
	l.lose(l.pending.count, l.pending.letIn, l.failure)
	l.pending.finish(l.failure)
	l.pending = &batch{}
	_ = l.file.Close()
	l.unsynced = nil
	l.file, l.last, l.written, l.synced, l.change = f, end.link, end, end, l.revision
	l.failure, l.space.allocated = nil, 0
	close(l.recovered)
	l.recovered = make(chan struct{})
}
