package rollup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"sallyport/audit"
)

// How the record is read at the start.
const (
	blockSize     = 1 << 20
	linesAtOnce   = 256                  // that are counted before a decision may wait no longer
	longestRead   = 3 * time.Minute      // after which older lines are left out
	oldestCounted = 400 * 24 * time.Hour // what figures reach back
)

// Run samples metrics, and counts what the record at path had before the process began to count, until ctx ends.
func (r *Rollup) Run(ctx context.Context, path string, metrics Metrics, log *slog.Logger) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := r.Rebuild(ctx, path); err != nil && ctx.Err() == nil {
			log.Warn("figures lack what the audit record says of the time before the start", "begins", r.Begins(), "err", err)
		}
	}()
	defer func() { <-done }()
	tick := time.NewTicker(SampleEvery)
	defer tick.Stop()
	for {
		if err := r.Sample(metrics); err != nil {
			log.Debug("metrics cannot be sampled for figures", "err", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Begins returns since when the figures are whole.
func (r *Rollup) Begins() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.begins
}

// Rebuild counts the lines that the record at path had before the process began to count, the newest first. It reads with half
// of the time of one processor, and for three minutes at most.
func (r *Rollup) Rebuild(ctx context.Context, path string) error {
	r.setCounting(true)
	defer r.setCounting(false)
	record, err := audit.OpenRecord(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	paths := record.Paths()
	if err := record.Close(); err != nil {
		return err
	}
	deadline := r.now().Add(longestRead)
	for _, file := range slices.Backward(paths) {
		if err := r.readFile(ctx, file, deadline); err != nil {
			if errors.Is(err, errEnough) {
				return nil
			}
			return err
		}
	}
	return nil
}

func (r *Rollup) setCounting(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rebuilds = on
}

// Why reading the record ends early.
var (
	errEnough  = errors.New("the rest is too old")
	errTooLong = fmt.Errorf("the record is too long to be read within %s", longestRead)
)

// readFile counts the lines of a file from its end.
func (r *Rollup) readFile(ctx context.Context, path string, deadline time.Time) error {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) { // it became too old to be kept
		return errEnough
	}
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is no regular file", path)
	}
	tail := "" // of the line that begins before the block that was read last
	for end := info.Size(); end > 0; {
		started := time.Now()
		at := max(end-blockSize, 0)
		block := make([]byte, end-at)
		if _, err := file.ReadAt(block, at); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		text := string(block) + tail
		first := 0
		if at > 0 {
			if first = strings.IndexByte(text, '\n') + 1; first == 0 {
				first = len(text)
			}
		}
		if tail, text = text[:first], text[first:]; len(tail) > audit.MaxLine {
			return fmt.Errorf("%s has a line that is longer than %d bytes", path, audit.MaxLine)
		}
		if err := r.addLines(text); err != nil {
			return err
		}
		if end = at; r.now().After(deadline) {
			return errTooLong
		}
		if err := rest(ctx, time.Since(started)); err != nil {
			return err
		}
	}
	return nil
}

// rest waits, so that whoever handles requests has the processor too.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// addLines counts lines from the last to the first. Lines that cannot be read are left out.
func (r *Rollup) addLines(text string) error {
	oldest := r.now().Add(-oldestCounted)
	for text != "" {
		r.mu.Lock()
		for range linesAtOnce {
			text = strings.TrimSuffix(text, "\n")
			if text == "" {
				break
			}
			begin := strings.LastIndexByte(text, '\n') + 1
			seq, e, ok := parseLine(text[begin:])
			text = text[:begin]
			if !ok || seq > r.after {
				continue
			}
			if e.time.Before(oldest) {
				r.mu.Unlock()
				return errEnough
			}
			r.add(&e)
			if e.time.Before(r.begins) {
				r.begins = e.time.UTC()
			}
		}
		r.mu.Unlock()
	}
	return nil
}
