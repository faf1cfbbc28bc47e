package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// fileReceiver appends lines to a file.
type fileReceiver struct {
	path string
	file *os.File
	end  int64 // of what was accepted
}

func (f *fileReceiver) close() {
	if f.file != nil {
		_ = f.file.Close()
		f.file = nil
	}
}

// send appends the items and forces them to the disk. After a failure, what was written of them is removed.
func (f *fileReceiver) send(_ context.Context, items []item, _ pace) (accepted int, err error) {
	if err := f.open(items); err != nil {
		f.close()
		return 0, err
	}
	body := joinLines(items)
	if _, err = f.file.Write(body); err == nil {
		err = f.file.Sync()
	}
	if err != nil {
		_ = f.file.Truncate(f.end)
		f.close()
		return 0, err
	}
	f.end += int64(len(body))
	return len(items), nil
}

// open opens the file if it is not open, or is not at its path any more.
func (f *fileReceiver) open(items []item) error {
	if f.file != nil && f.isAtPath() {
		return nil
	}
	f.close()
	if err := os.MkdirAll(filepath.Dir(f.path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(f.path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	f.file = file
	if folder, err := os.Open(filepath.Dir(f.path)); err == nil { // so that a crash does not take a new file away
		_, _ = folder.Sync(), folder.Close()
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not an ordinary file", f.path)
	}
	f.end = info.Size()
	return f.endLine(items)
}

func (f *fileReceiver) isAtPath() bool {
	here, errHere := f.file.Stat()
	there, errThere := os.Stat(f.path)
	return errHere == nil && errThere == nil && os.SameFile(here, there) && here.Size() == f.end
}

// maxTorn bounds the end of a file that is looked at, in bytes. It is longer than a line.
const maxTorn = 4 << 20

// endLine makes the file end with a whole line. What a crash left of an item that is sent now is removed; after anything
// else, a newline is written.
func (f *fileReceiver) endLine(items []item) error {
	tail := make([]byte, min(f.end, maxTorn))
	if _, err := f.file.ReadAt(tail, f.end-int64(len(tail))); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	tail = tail[bytes.LastIndexByte(tail, '\n')+1:]
	if len(tail) == 0 {
		return nil
	}
	for _, i := range items {
		if bytes.HasPrefix(i.text, tail) {
			f.end -= int64(len(tail))
			return f.file.Truncate(f.end)
		}
	}
	if _, err := f.file.WriteString("\n"); err != nil {
		return err
	}
	f.end++
	return nil
}
