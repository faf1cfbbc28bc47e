package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"
	"time"
)

// follow demands that the lines that were written can still be found. If the file was
// renamed, as logrotate does, a new record begins at its path. If it was removed, cut off
// or replaced by another, every event is refused: whoever looks for the lines would not
// find them.
func (l *Log) follow() {
	l.writeMu.Lock()
	defer l.writeMu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failure != nil {
		return
	}
	moved, err := l.moved()
	if moved {
		err = l.rotate()
	}
	if err != nil {
		l.failure = fmt.Errorf("%w: %s: %w", ErrUnwritable, l.path, err)
	}
}

// moved reports whether the record has another name, and nothing is at its path. If lines
// are lost or another file is there, the error is errOtherFile. mu is held.
func (l *Log) moved() (bool, error) {
	here, err := l.file.Stat()
	if err != nil || !here.Mode().IsRegular() {
		return false, nil // the next write tells
	}
	if here.Size() < l.written.offset || links(here) == 0 {
		return false, errOtherFile
	}
	there, err := os.Stat(l.path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return true, nil
	case err != nil, os.SameFile(here, there): // a folder that cannot be read just now does not matter
		return false, nil
	case there.Size() > 0:
		return false, errOtherFile
	}
	return true, nil
}

// links returns how many names a file has; 1 if that cannot be told.
func links(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Nlink) //nolint:unconvert // its type depends on the system
	}
	return 1
}

// rotate begins a new record at the path, whose first line names the last of the former.
// If that fails, the former goes on, and the next attempt is made in a second. Both locks
// are held.
func (l *Log) rotate() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil
	}
	if err := l.flush(); err != nil {
		return errors.Join(err, f.Close())
	}
	line, end := link{}.append(nil, Event{Time: time.Now().UTC(), Kind: KindAudit, Reason: "rotated", Revision: l.revision,
		Detail: map[string]string{"former_lines": strconv.FormatUint(l.last.seq, 10), "former_hash": l.last.hash}})
	_, err = f.Write(line)
	if err = errors.Join(err, f.Sync()); err != nil {
		_, _ = f.Truncate(0), f.Close()
		return nil
	}
	_ = l.file.Close()
	l.file, l.last = f, end
	l.written = position{int64(len(line)), end}
	l.synced, l.space.allocated = l.written, 0
	l.events.WithLabelValues(string(KindAudit)).Inc()
	return nil
}

// flush writes the lines that wait, and forces the file to the disk. Both locks are held.
func (l *Log) flush() error {
	b := l.pending
	l.pending = &batch{}
	b.done = true
	if _, b.err = l.file.Write(b.lines); b.err != nil {
		l.refuse(b.count)
		return b.err
	}
	if b.count > 0 {
		l.written = position{l.written.offset + int64(len(b.lines)), b.end}
		l.noteRevision(b.change)
	}
	return l.file.Sync()
}
