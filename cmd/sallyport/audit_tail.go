package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sallyport/audit"
)

// tailLines is how many lines are shown first, unless the flags say otherwise.
const tailLines = 20

func auditTailCommand() *cobra.Command {
	var filter recordFilter
	var follow bool
	lines := tailLines
	format := choice{"text", []string{"text", "jsonl"}}
	c := &cobra.Command{
		Use:   "tail [FILE]...",
		Short: "Print the newest events, and follow the record",
		Long: "Print the newest events that the flags select, of the record or of FILE. With -f, go on as the server writes, over the\n" +
			"beginning of a new file too, until interrupted. Several files, such as those of several replicas, are printed in the order\n" +
			"of their times; with -f, each is followed.",
		Example:     "  sallyport audit tail -f --kind decision --route payroll",
		Annotations: exits(exitDenied, "the record is not sound"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if lines < 0 {
				return errors.New("--lines is negative; write how many lines, such as 100")
			}
			if err := filter.prepare(cmd); err != nil {
				return err
			}
			if !filter.since.at.IsZero() && !cmd.Flags().Changed("lines") {
				lines = -1
			}
			tail := recordTail{filter: &filter, json: format.value == "jsonl", out: cmd.OutOrStdout(), notes: cmd.ErrOrStderr()}
			if len(args) > 1 {
				return tail.runAll(cmd.Context(), args, lines, follow)
			}
			files, path, err := tailFiles(cmd, args, follow)
			if err != nil {
				return err
			}
			err = tail.run(cmd.Context(), files, path, lines, follow)
			if errors.Is(err, audit.ErrBroken) {
				return fmt.Errorf("%w: %w", errDenied, err)
			}
			return err
		},
	}
	filter.addFlags(c)
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on with what is recorded from now on")
	c.Flags().IntVarP(&lines, "lines", "n", tailLines, "how many `LINES` to show first; all, if --since is given and this is not")
	_ = c.RegisterFlagCompletionFunc("lines", cobra.NoFileCompletions)
	format.addFlag(c)
	return c
}

// tailFiles returns the files to begin with, the oldest first, and the path at which the record goes on; "" if one file
// alone is meant.
func tailFiles(cmd *cobra.Command, args []string, follow bool) (files []string, path string, err error) {
	if len(args) == 1 {
		if follow {
			path = args[0]
		}
		return args, path, nil
	}
	path, err = findInstallation(configPath(cmd)).auditFile()
	if err != nil {
		return nil, "", err
	}
	record, err := audit.OpenRecord(path)
	if err != nil {
		return nil, "", err
	}
	return record.Paths(), path, record.Close()
}

// recordTail prints lines of the record as they come.
type recordTail struct {
	filter     *recordFilter
	json       bool
	out, notes io.Writer

	file *os.File
	rest []byte     // of the file: a line of which the end was not read
	end  int64      // of the lines that were read, when the file was closed
	last audit.Line // the line before; the zero value if it is not known
}

// run prints the last lines of files, or all since the time of the filter if lines is negative, and of the files that come
// after them in the record at path. With follow, it goes on with what is written there, until ctx ends. Without a path,
// the only file is read to its end.
func (t *recordTail) run(ctx context.Context, files []string, path string, lines int, follow bool) error {
	begin, offset, err := tailStart(files, t.filter, lines)
	if err != nil {
		return err
	}
	return t.runFrom(ctx, files[begin], offset, path, follow)
}

// runFrom prints what a file has from a place on, and goes on as run does.
func (t *recordTail) runFrom(ctx context.Context, name string, offset int64, path string, follow bool) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	t.file = f
	defer func() { t.close() }()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return err
	}
	for {
		if err := t.read(); err != nil || path == "" {
			return err
		}
		next, err := t.next(path)
		if err != nil {
			return err
		}
		if next != nil {
			err := t.read() // what was written before the other file began
			t.close()
			if t.file, t.rest = next, nil; err != nil {
				return err
			}
			continue
		}
		if !follow {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(followEvery):
		}
	}
}

func (t *recordTail) close() {
	if t.file != nil {
		if offset, err := t.file.Seek(0, io.SeekCurrent); err == nil {
			t.end = offset - int64(len(t.rest))
		}
		_ = t.file.Close()
	}
}

// followEvery is how often the file is read again.
const followEvery = 200 * time.Millisecond

// next opens the file that comes after the one that was read, if it has a line; nil if there is none yet.
func (t *recordTail) next(path string) (*os.File, error) {
	here, err := t.file.Stat()
	if err != nil {
		return nil, err
	}
	there, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil // the server begins a new one in a moment
	case err != nil:
		return nil, err
	case os.SameFile(here, there):
		return t.again(path, there.Size())
	case there.Size() == 0:
		return nil, nil
	}
	const attempts = 5 // the files may be renamed meanwhile
	for range attempts {
		name, err := fileAfter(path, here)
		if err != nil {
			return nil, err
		}
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		opened, err := f.Stat()
		if still, failed := fileAfter(path, here); err == nil && failed == nil {
			if info, err := os.Stat(still); err == nil && os.SameFile(info, opened) {
				return f, nil
			}
		}
		_ = f.Close()
	}
	return nil, nil
}

// fileAfter returns the path of the file of the record at path that comes after another one. After one that somebody
// renamed, that is path itself.
func fileAfter(path string, file fs.FileInfo) (string, error) {
	record, err := audit.OpenRecord(path)
	if err != nil {
		return "", err
	}
	paths := record.Paths()
	if err := record.Close(); err != nil {
		return "", err
	}
	for i, name := range paths[:len(paths)-1] {
		if info, err := os.Stat(name); err == nil && os.SameFile(info, file) {
			return paths[i+1], nil
		}
	}
	return path, nil
}

// again opens the same file again, if it is shorter than what was read of it.
func (t *recordTail) again(path string, size int64) (*os.File, error) {
	offset, err := t.file.Seek(0, io.SeekCurrent)
	if err != nil || size >= offset {
		return nil, err
	}
	fmt.Fprintf(t.notes, "note: %s was cut off at its end; reading it again from its beginning\n", path)
	t.last = audit.Line{}
	return os.Open(path)
}

// read prints the lines up to the end of the file.
func (t *recordTail) read() error {
	buf := make([]byte, 64<<10)
	for {
		n, err := t.file.Read(buf)
		t.rest = append(t.rest, buf[:n]...)
		for {
			line, rest, ok := bytes.Cut(t.rest, []byte("\n"))
			if !ok {
				break
			}
			t.rest = rest
			if err := t.print(line); err != nil {
				return err
			}
		}
		if len(t.rest) > audit.MaxLine {
			return fmt.Errorf("%w: %s has a line longer than %d bytes", errDenied, t.file.Name(), audit.MaxLine)
		}
		t.rest = slices.Clone(t.rest) // so that what was printed can be freed
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// print prints one line, if the filter selects it. What is no line of the record is told of.
func (t *recordTail) print(text []byte) error {
	l, err := audit.ParseLine(text)
	if err != nil {
		fmt.Fprintf(t.notes, "note: %s has a line that is no event: %s\n", t.file.Name(), printable(firstBytes(text, 200)))
		t.last = audit.Line{}
		return nil
	}
	if t.last.Hash != "" && l.Prev != t.last.Hash && l.Detail["former_hash"] != t.last.Hash {
		fmt.Fprintf(t.notes, "note: line %d of %s does not follow line %d, which is before it: see `sallyport audit verify`\n", l.Seq, t.file.Name(), t.last.Seq)
	}
	t.last = l
	if !t.filter.matches(&l.Event) {
		return nil
	}
	return t.printLine(&l, text)
}

func (t *recordTail) printLine(l *audit.Line, text []byte) (err error) {
	if t.json {
		_, err = fmt.Fprintf(t.out, "%s\n", escapeJSON(bytes.TrimSuffix(text, []byte("\n"))))
	} else {
		_, err = fmt.Fprintln(t.out, eventText(&l.Event))
	}
	return err
}

func firstBytes(text []byte, n int) string { return string(text[:min(n, len(text))]) }

// eventText returns an event as one line for people: when, what, why and who, then the rest as key=value.
func eventText(e *audit.Event) string {
	words := []string{e.Time.UTC().Format("2006-01-02T15:04:05.000Z"), plainWord(string(e.Kind))}
	for _, word := range []string{e.Decision, e.Reason, e.UserName} {
		if word != "" {
			words = append(words, plainWord(word))
		}
	}
	if e.Host != "" {
		words = append(words, plainWord(e.Method)+" "+plainWord(e.Host+e.Path))
	}
	add := func(name, value string) {
		if value != "" {
			words = append(words, plainWord(name)+"="+plainWord(value))
		}
	}
	add("by", strings.TrimSpace(string(e.Actor.Kind)+" "+e.Actor.Name))
	add("from", e.Actor.Address)
	add("by_session", e.Actor.Session)
	add("route", e.Route)
	add("rule", e.Rule)
	add("address", e.Address)
	if e.Code != 0 {
		add("code", strconv.Itoa(e.Code))
	}
	add("user", e.User)
	add("group", e.Group)
	add("session", e.Session)
	add("request", e.Request)
	if e.Revision != 0 {
		add("rev", strconv.FormatUint(e.Revision, 10))
	}
	add("replica", e.Replica)
	for _, name := range slices.Sorted(maps.Keys(e.Detail)) {
		add("detail."+name, e.Detail[name])
	}
	return strings.Join(words, " ")
}

// plainWord returns text that cannot drive a terminal, and that is quoted if it could be taken for more than one word.
func plainWord(text string) string {
	text = printable(text)
	if text == "" || strings.ContainsAny(text, " \"=\u00a0\u2028\u2029") {
		return strconv.Quote(text)
	}
	return text
}

// tailStart returns in which of files, and where in it, the last lines begin that filter selects: so many, or (negative)
// all since the time of the filter.
func tailStart(files []string, filter *recordFilter, lines int) (begin int, offset int64, err error) {
	found, done := 0, lines == 0
	for i, path := range slices.Backward(files) {
		f, err := os.Open(path)
		if err != nil {
			return 0, 0, err
		}
		size, err := audit.WholeSize(f)
		if i == len(files)-1 {
			begin, offset = i, size
		}
		if err == nil && !done {
			err = eachLineBackward(f, size, func(at int64, text []byte) bool {
				l, err := audit.ParseLine(text)
				if err != nil {
					return true
				}
				if filter.matches(&l.Event) {
					found++
					begin, offset = i, at
				}
				done = lines > 0 && found == lines || !filter.since.at.IsZero() && l.Time.Before(filter.since.at.Add(-audit.ClockSlack))
				return !done
			})
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return 0, 0, err
		}
	}
	return begin, offset, nil
}

const backwardChunk = 256 << 10

// eachLineBackward calls f with the lines of the first size bytes, the last one first, and where each begins, until f
// returns false.
func eachLineBackward(r io.ReaderAt, size int64, f func(offset int64, text []byte) bool) error {
	var tail []byte // the end of a line whose beginning was not read
	for end := size; end > 0; {
		begin := max(0, end-backwardChunk)
		text := make([]byte, end-begin)
		if _, err := r.ReadAt(text, begin); err != nil {
			return err
		}
		text, end = append(text, tail...), begin
		for {
			text = bytes.TrimSuffix(text, []byte("\n"))
			i := bytes.LastIndexByte(text, '\n')
			if i < 0 && begin > 0 {
				tail = text
				break
			}
			if !f(begin+int64(i)+1, text[i+1:]) || i < 0 {
				return nil
			}
			text = text[:i+1]
		}
		if len(tail) > audit.MaxLine {
			return fmt.Errorf("%w: a line is longer than %d bytes", audit.ErrBroken, audit.MaxLine)
		}
	}
	return nil
}
