package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"sallyport/disk"
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
		err = l.beginAtPath()
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

// beginAtPath begins a new file at the path of one that somebody else renamed. If that fails, the former goes on, and the
// next attempt is made in a second. Both locks are held.
func (l *Log) beginAtPath() error {
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil
	}
	begun, err := l.beginFile(f, "")
	if err != nil || begun.offset == 0 {
		_, _ = f.Truncate(0), f.Close()
		return err
	}
	syncFolder(l.path)
	l.goOnIn(f, begun)
	return nil
}

// beginFile signs and closes what was written so far, and writes the first line of the next file, which names the last
// one of the former and, if it is known, where the former is. An error means that the former cannot be written; the
// position is zero if the next one cannot be. Both locks are held.
func (l *Log) beginFile(f *os.File, former string) (begun position, err error) {
	if err := errors.Join(l.flush(), l.writeCheckpoint(), l.file.Sync()); err != nil {
		return position{}, err
	}
	l.synced, l.change = l.written, l.revision
	line, end := l.append(nil, l.last, rotatedEvent(l.last, l.revision, former))
	_, err = f.Write(line)
	if err = errors.Join(err, f.Sync()); err != nil {
		l.rotation.problem = err
		return position{}, nil
	}
	return position{int64(len(line)), end}, nil
}

// rotatedEvent is the first line of a file that continues another.
func rotatedEvent(former link, revision uint64, file string) Event {
	e := Event{Time: time.Now().UTC(), Kind: KindAudit, Reason: reasonRotated, Revision: revision, Detail: formerLine(former)}
	if file != "" {
		e.Detail["former_file"] = file
	}
	return e
}

func formerLine(former link) map[string]string {
	return map[string]string{"former_lines": strconv.FormatUint(former.seq, 10), "former_hash": former.hash}
}

// goOnIn goes on in f, which has its first line. Both locks are held.
func (l *Log) goOnIn(f *os.File, begun position) {
	_ = l.file.Close()
	l.file, l.last, l.written, l.synced, l.change = f, begun.link, begun, begun, l.revision
	l.begin = beginning{begun.link.seq, time.Now().UTC()}
	l.space.allocated = 0
	l.events.WithLabelValues(string(KindAudit)).Inc()
}

// rotation says when the log begins a new file, and how long it keeps the former ones.
type rotation struct {
	Rotation
	tell    func(error) // of a file that cannot be closed or deleted
	problem error       // why a rotation failed
	retry   time.Time   // no attempt is made before; after one that failed
	expired time.Time   // when files were last looked at
}

// The log waits for so long after a rotation that failed, and looks so often for files to delete.
const (
	rotateAgain = time.Minute
	expireEvery = time.Hour
)

// ageParts is into how many files the time is cut, at least, for which files are kept.
const ageParts = 10

// Rotate sets when [Log.Run] begins a new file, and which it deletes. If that fails, it calls tell and tries again later.
// Files that are older than a shorter time are deleted soon.
func (l *Log) Rotate(r Rotation, tell func(error)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r.Keep != l.rotation.Keep {
		l.rotation.expired = time.Time{}
	}
	l.rotation.Rotation, l.rotation.tell = r, tell
}

// due reports whether the file is too large or too old; mu is held.
func (l *Log) due(now time.Time) bool {
	r := l.rotation
	if l.failure != nil || l.space.full != nil || l.written.offset == 0 || now.Before(r.retry) {
		return false
	}
	return r.Size > 0 && l.written.offset > int64(r.Size) ||
		r.Keep > 0 && now.Sub(l.begin.time) > time.Duration(r.Keep)/ageParts
}

// rotateIfDue closes the file under another name and begins a new one, if it is too large or too old.
func (l *Log) rotateIfDue() {
	l.mu.Lock()
	due := l.due(time.Now())
	l.mu.Unlock()
	if !due {
		return
	}
	l.writeMu.Lock()
	l.mu.Lock()
	rotated, err := false, error(nil)
	if l.failure == nil {
		rotated, err = l.rotate()
	}
	if err != nil {
		l.failure = fmt.Errorf("%w: %s: %w", ErrUnwritable, l.path, err)
	}
	r := l.rotation
	if !rotated {
		l.rotation.retry, l.rotation.problem = time.Now().Add(rotateAgain), nil
	}
	l.mu.Unlock()
	l.writeMu.Unlock()
	switch {
	case rotated:
		l.keepEnd()
	case r.problem != nil:
		r.tell(fmt.Errorf("beginning a new file of the audit record: %w; %s goes on", r.problem, l.path))
	}
}

// newSuffix is what the path of the next file ends in until it is complete.
const newSuffix = ".new"

// rotate prepares the next file, with its reserve and its first line, and only then renames the one that is written: a full
// disk or a crash leaves the one or the other in place. Both locks are held.
func (l *Log) rotate() (rotated bool, err error) {
	next, former := l.path+newSuffix, rotatedPath(l.path, l.begin.line, time.Now())
	if _, err := os.Lstat(former); !errors.Is(err, fs.ErrNotExist) {
		l.rotation.problem = fmt.Errorf("there is a file %s already", former)
		return false, nil
	}
	f, err := os.OpenFile(next, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		l.rotation.problem = err
		return false, nil
	}
	l.ownAlike(f)
	begun, err := l.prepare(f, filepath.Base(former))
	if err == nil && begun.offset > 0 {
		if l.rotation.problem = swap(l.path, former, next); l.rotation.problem == nil {
			_ = l.file.Truncate(l.written.offset) // gives back the blocks that are allocated behind the end
			l.goOnIn(f, begun)
			if l.space.reserve > 0 {
				l.space.allocated = l.space.reserve + growth
			}
			return true, nil
		}
	}
	_, _ = f.Close(), os.Remove(next)
	return false, err
}

// ownAlike lets the same users read and write f who may with the file that is written to, as far as this one may decide that.
func (l *Log) ownAlike(f *os.File) {
	_ = disk.OwnAs(f.Name(), l.path)
	if info, err := l.file.Stat(); err == nil {
		_ = f.Chmod(info.Mode().Perm())
	}
}

// prepare gives the next file its reserve and its first line. The position is zero if it cannot.
func (l *Log) prepare(f *os.File, former string) (position, error) {
	if l.space.reserve > 0 {
		if err := disk.Keep(f, 0, l.space.reserve+growth); disk.IsFull(err) {
			l.rotation.problem = err
			return position{}, nil
		}
	}
	return l.beginFile(f, former)
}

// swap renames the file at path to former, and the one at next to path. If it fails, path is as it was.
func swap(path, former, next string) error {
	if err := os.Rename(path, former); err != nil {
		return err
	}
	if err := os.Rename(next, path); err != nil {
		return errors.Join(err, os.Rename(former, path))
	}
	syncFolder(path)
	return nil
}

// syncFolder forces the names of files to the disk, where the file system can.
func syncFolder(path string) {
	if d, err := os.Open(filepath.Dir(path)); err == nil {
		_, _ = d.Sync(), d.Close()
	}
}

// flush writes the lines that wait. Both locks are held.
func (l *Log) flush() error {
	b := l.pending
	l.pending = &batch{}
	if b.count == 0 {
		return nil
	}
	_, err := l.file.Write(b.lines)
	if err != nil {
		l.lose(b.count, b.letIn, err)
	} else {
		l.written = position{l.written.offset + int64(len(b.lines)), b.end}
		l.noteRevision(b.change)
	}
	b.finish(err)
	return err
}
