package audit

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"
)

// expire deletes closed files that are older than the log keeps them. Each deletion is recorded before.
func (l *Log) expire() {
	l.mu.Lock()
	r, now := l.rotation, time.Now()
	due := r.Keep > 0 && now.Sub(r.expired) >= expireEvery
	if due {
		l.rotation.expired = now
	}
	l.mu.Unlock()
	if !due {
		return
	}
	files, err := rotatedFiles(l.path)
	for _, f := range files {
		if now.Sub(f.Closed) <= time.Duration(r.Keep) {
			break
		}
		if err = l.expireFile(f, now.Add(-time.Duration(r.Keep))); err != nil {
			break // later ones stay too, so that no file is missing between others
		}
	}
	if err != nil {
		r.tell(fmt.Errorf("deleting old files of the audit record: %w", err))
	}
}

// expireFile deletes a file once the event that tells of it is on the disk. The last line must be older than before: the
// time in the name may be that of somebody who wants the file to be deleted.
func (l *Log) expireFile(file File, before time.Time) error {
	f, err := os.Open(file.Path)
	if err != nil {
		return err
	}
	line, err := lastLine(f)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	h, problem := checkLine(line)
	if problem != "" {
		return fmt.Errorf("%w: the last line of %s %s", ErrBroken, file.Path, problem)
	}
	var last Event
	if err := json.Unmarshal(line, &last); err != nil || last.Time.After(before) {
		return fmt.Errorf("the last line of %s is not as old as its name says", file.Path)
	}
	if err := l.Write(expiredEvent(file, h)); err != nil {
		return err
	}
	l.sync()
	if l.failed() {
		return ErrUnwritable
	}
	return os.Remove(file.Path)
}

// expiredEvent tells of a file whose last line is last.
func expiredEvent(file File, last head) Event {
	return Event{Time: time.Now().UTC(), Kind: KindAudit, Reason: reasonExpired, Detail: map[string]string{
		"file": filepath.Base(file.Path), "first": strconv.FormatUint(file.First, 10),
		"last": strconv.FormatUint(last.seq, 10), "last_hash": string(last.hash)}}
}
