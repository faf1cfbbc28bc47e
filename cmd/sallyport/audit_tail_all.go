package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"sallyport/audit"
)

// runAll prints the last lines of several files, in the order of their times; with follow, it goes on with each.
func (t *recordTail) runAll(ctx context.Context, files []string, lines int, follow bool) error {
	var last []tailedLine
	ends := map[string]int64{}
	for _, path := range files {
		var text bytes.Buffer
		one := recordTail{filter: t.filter, json: true, out: &text, notes: t.notes}
		if err := one.run(ctx, []string{path}, "", lines, false); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		ends[path] = one.end
		for line := range bytes.Lines(text.Bytes()) {
			l, err := audit.ParseLine(bytes.TrimSuffix(line, []byte("\n")))
			if err != nil {
				return err
			}
			last = append(last, tailedLine{l, line})
		}
	}
	slices.SortStableFunc(last, func(a, b tailedLine) int { return a.line.Time.Compare(b.line.Time) })
	if lines >= 0 {
		last = last[max(0, len(last)-lines):]
	}
	for _, l := range last {
		if err := t.printLine(&l.line, l.text); err != nil {
			return err
		}
	}
	if !follow {
		return nil
	}
	out := &lockedWriter{to: t.out}
	g, ctx := errgroup.WithContext(ctx)
	for _, path := range files {
		g.Go(func() error {
			one := recordTail{filter: t.filter, json: t.json, out: out, notes: t.notes}
			return one.runFrom(ctx, path, ends[path], path, true)
		})
	}
	return g.Wait()
}

// tailedLine is a line of one of several files.
type tailedLine struct {
	line audit.Line
	text []byte
}

// lockedWriter is a writer for several goroutines.
type lockedWriter struct {
	mu sync.Mutex // held while something is written
	to io.Writer
}

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}
