package audit

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// File is a file of a record.
type File struct {
	Path   string
	First  uint64    // the number of its first line
	Closed time.Time // when it was rotated; zero for the file that is written to
}

// closedForm is how the time is written in the name of a file that was rotated, and firstDigits how long the number is.
const (
	closedForm  = "20060102T150405Z"
	firstDigits = 20
)

// rotatedPath returns the path that the record's file gets once it is closed.
func rotatedPath(path string, first uint64, closed time.Time) string {
	ext := filepath.Ext(path)
	return fmt.Sprintf("%s-%0*d-%s%s", strings.TrimSuffix(path, ext), firstDigits, first, closed.UTC().Format(closedForm), ext)
}

// rotatedFiles returns the closed files of the record at path, in the order of their lines.
func rotatedFiles(path string) (files []File, err error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if f, ok := parseRotated(path, filepath.Join(filepath.Dir(path), e.Name())); ok && e.Type().IsRegular() {
			files = append(files, f)
		}
	}
	slices.SortFunc(files, func(a, b File) int {
		return cmp.Or(cmp.Compare(a.First, b.First), a.Closed.Compare(b.Closed))
	})
	return files, nil
}

// parseRotated reads the number and the time from the name of a closed file of the record at path.
func parseRotated(path, name string) (f File, ok bool) {
	ext := filepath.Ext(path)
	rest, ok := strings.CutPrefix(filepath.Base(name), strings.TrimSuffix(filepath.Base(path), ext)+"-")
	if !ok {
		return f, false
	}
	if rest, ok = strings.CutSuffix(rest, ext); !ok {
		return f, false
	}
	number, written, ok := strings.Cut(rest, "-")
	if !ok || len(number) != firstDigits {
		return f, false
	}
	first, err1 := strconv.ParseUint(number, 10, 64)
	closed, err2 := time.Parse(closedForm, written)
	return File{name, first, closed}, errors.Join(err1, err2) == nil && first > 0
}

// firstLine returns the first line of a file, or nil if it has none that is whole.
func firstLine(f io.ReaderAt) (first []byte, err error) {
	enough := errors.New("the first line was read")
	err = eachLine(io.NewSectionReader(f, 0, math.MaxInt64), func(line []byte, whole bool) error {
		if whole {
			first = bytes.Clone(line)
		}
		return enough
	})
	if errors.Is(err, enough) {
		err = nil
	}
	return first, err
}

// lastLine returns the last line of a file.
func lastLine(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size := min(info.Size(), MaxLine+1)
	tail := make([]byte, size)
	if _, err := f.ReadAt(tail, info.Size()-size); err != nil {
		return nil, err
	}
	tail, ok := bytes.CutSuffix(tail, []byte("\n"))
	if !ok {
		return nil, fmt.Errorf("%w: the last line does not end in a newline", ErrBroken)
	}
	return tail[bytes.LastIndexByte(tail, '\n')+1:], nil
}
