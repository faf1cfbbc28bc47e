package audit

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"time"
)

// Record is the files of a record, open for reading. The newest may be growing.
type Record struct {
	files   []source
	whole   bool      // these are all files there are
	replica string    // see [Record.Replica]
	parts   []*Record // see [Record.Parts]; none if the record is that of one replica
}

// source is a file of a record. The newest is open, since its name may become that of another.
type source struct {
	File
	file *os.File // nil: open it when it is read
}

// FileError says in which file of a record something is wrong.
type FileError struct {
	Path  string
	Lines int // the sound lines before it
	Err   error
}

func (e *FileError) Error() string {
	return fmt.Sprintf("%s is not sound after %d sound lines: %v", e.Path, e.Lines, e.Err)
}

func (e *FileError) Unwrap() error { return e.Err }

// OpenRecord opens the files of the record at path. If there is none, the error is [fs.ErrNotExist].
func OpenRecord(path string) (*Record, error) {
	f, err := os.Open(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	newest := source{File{Path: path}, f}
	if err == nil {
		if newest.First, err = firstOf(f); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	rotated, failed := rotatedFiles(path) // after the newest was opened: whatever it is called now, it is read once
	switch {
	case failed != nil && f == nil, len(rotated) == 0 && f == nil:
		return nil, err
	case failed != nil:
		return nil, errors.Join(failed, f.Close())
	}
	r := &Record{whole: true}
	for _, file := range rotated {
		if newest.First == 0 || file.First < newest.First {
			r.files = append(r.files, source{File: file})
		}
	}
	if f != nil {
		r.files = append(r.files, newest)
		r.replica = endsOf(f).replica
	}
	return r, nil
}

// OpenFiles opens some files of a record, in any order, or of the records of several replicas.
func OpenFiles(paths []string) (*Record, error) {
	r := new(Record)
	for _, path := range paths {
		f, err := os.Open(path)
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		first, err := firstOf(f)
		r.files = append(r.files, source{File{Path: path, First: first}, f})
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
	}
	slices.SortStableFunc(r.files, func(a, b source) int { return cmp.Compare(a.First, b.First) })
	if len(r.files) > 0 {
		r.split()
	}
	return r, nil
}

// firstOf returns the number of the first line of a file: 0 if it has none that is whole, 1 if it cannot be read.
func firstOf(f *os.File) (uint64, error) {
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return 1, err
	}
	line, err := firstLine(f)
	if errors.Is(err, ErrBroken) {
		return 1, nil // whoever reads the file says what is wrong with it
	}
	if err != nil || line == nil {
		return 0, err
	}
	if h, ok := parseHead(line); ok {
		return h.seq, nil
	}
	return 1, nil
}

// Paths returns where the files are, in the order of their lines.
func (r *Record) Paths() (paths []string) {
	for _, s := range r.files {
		paths = append(paths, s.Path)
	}
	return paths
}

// Close closes the files.
func (r *Record) Close() error {
	var errs []error
	for _, s := range r.files {
		if s.file != nil {
			errs = append(errs, s.file.Close())
		}
	}
	return errors.Join(errs...)
}

// during calls f with the text of a file, up to the end of a line.
func (s source) during(f func(io.Reader) error) error {
	return s.opened(func(file *os.File, size int64) error {
		if size == math.MaxInt64 {
			return f(file)
		}
		return f(io.NewSectionReader(file, 0, size))
	})
}

// opened calls f with a file, and its size as [WholeSize] returns it.
func (s source) opened(f func(file *os.File, size int64) error) error {
	file := s.file
	if file == nil {
		var err error
		if file, err = os.Open(s.Path); err != nil {
			return fmt.Errorf("%w; files that are older than audit.rotate.keep are deleted: try again", err)
		}
		defer file.Close()
	}
	size, err := WholeSize(file)
	if err != nil {
		return err
	}
	return f(file, size)
}

// Read checks the record and calls f with every event, in their order, or only with those in files that have events since
// a time. It returns when the record begins.
func (r *Record) Read(since time.Time, f func(Event) error) (begins time.Time, err error) {
	return r.ReadLines(since, func(l Line, _ []byte) error { return f(l.Event) })
}

// ReadLines is Read that calls f with each line and its text, which is valid until f returns.
func (r *Record) ReadLines(since time.Time, f func(l Line, text []byte) error) (begins time.Time, err error) {
	if len(r.parts) > 0 {
		return r.readAll(since, f)
	}
	var end link
	first := r.firstSince(since, time.Second) // the name has whole seconds
	for i, s := range r.files {
		if begins.IsZero() {
			if begins, err = s.begins(); err != nil {
				return begins, err
			}
		}
		if i < first {
			continue
		}
		if err := s.readAfter(&end, f); err != nil {
			return begins, err
		}
	}
	return begins, nil
}

// firstSince returns which file is the first that may have lines since a time, if clocks differ by so much. What was written
// after such a file is later, whatever the clock said then.
func (r *Record) firstSince(since time.Time, slack time.Duration) int {
	for i, s := range r.files {
		if s.Closed.IsZero() || !s.Closed.Add(slack).Before(since) {
			return i
		}
	}
	return max(len(r.files)-1, 0)
}

// begins returns the time of the first line, or the zero time if there is none that can be read.
func (s source) begins() (begins time.Time, err error) {
	enough := errors.New("the first line was read")
	err = s.during(func(text io.Reader) error {
		_, err := Read(text, func(e Event) error { begins = e.Time; return enough })
		if errors.Is(err, enough) || errors.Is(err, ErrBroken) {
			return nil
		}
		return err
	})
	return begins, err
}

// readAfter reads a file that continues the line at end, which becomes its last. With the zero link any line may be first.
func (s source) readAfter(end *link, f func(l Line, text []byte) error) error {
	return s.during(func(text io.Reader) error {
		n, err := end.readLines(text, f)
		if errors.Is(err, ErrBroken) {
			return &FileError{s.Path, n, err}
		}
		return err
	})
}

const (
	lineTimeout  = time.Second // for the rest of a line that is being written
	lineInterval = 5 * time.Millisecond
)

// WholeSize returns the size of a file that may be growing, up to the end of a line. If the end of the last line does
// not come, it is the size of the file.
func WholeSize(f *os.File) (int64, error) {
	for deadline := time.Now().Add(lineTimeout); ; time.Sleep(lineInterval) {
		info, err := f.Stat()
		switch {
		case err != nil:
			return 0, err
		case !info.Mode().IsRegular():
			return math.MaxInt64, nil
		case info.Size() == 0:
			return 0, nil
		}
		var last [1]byte
		if _, err := f.ReadAt(last[:], info.Size()-1); err != nil {
			return 0, err
		}
		if last[0] == '\n' || time.Now().After(deadline) {
			return info.Size(), nil
		}
	}
}
