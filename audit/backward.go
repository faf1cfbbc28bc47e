package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"time"
)

// Reached says how far a search from the newest line back came.
type Reached struct {
	Line uint64    `json:"line"` // every line with this number or a higher one was looked at
	Time time.Time `json:"time"` // of that line
	Done bool      `json:"done"` // there is no older one, or none since Search.Since
}

// The windows of a search from the newest line back: the first is small, since what is looked for is often there.
const (
	firstWindow   = 64 << 10
	largestWindow = 4 << 20
)

// untilSlack is how much later than a time lines may be in whose place older ones are still looked for. It is less than
// [ClockSlack], since every line in between has to be read before the first is found; after a clock was set back by more,
// lines may be missed that a search without an end finds.
const untilSlack = 5 * time.Minute

// SearchBack calls f with the lines that s looks for, the newest first, until f returns false: those before a line by its number,
// or all (0), and those until a time, or all (the zero time). If s looks for nothing, it finds every line. When ctx ends before
// the search does, that is no error: Reached says how far it came. The record must be that of one replica.
func (r *Record) SearchBack(ctx context.Context, s Search, before uint64, until time.Time, f func(Found) bool) (reached Reached, err error) {
	if len(s.Texts)+len(s.Kinds) == 0 {
		for _, d := range Catalogue() {
			s.Kinds = append(s.Kinds, d.Kind)
		}
	}
	m, err := newMatcher(s)
	if err != nil {
		return reached, err
	}
	back := backward{ctx: ctx, matcher: m, before: before, until: until, since: s.Since, f: func(l Found) bool { l.Of = r.replica; return f(l) }}
	for _, file := range slices.Backward(r.files) {
		if before > 0 && file.First >= before {
			continue
		}
		err := file.at(back.file)
		if errors.Is(err, ErrBroken) {
			err = &FileError{Path: file.Path, Err: err}
		}
		if err != nil || back.ended {
			return back.reached, err
		}
	}
	back.reached.Done = true
	return back.reached, nil
}

// backward is a search from the newest line back.
type backward struct {
	ctx          context.Context //nolint:containedctx // it lives as long as one call
	matcher      *matcher
	before       uint64
	until, since time.Time
	f            func(Found) bool
	reached      Reached
	ended        bool
}

// file searches one file.
func (b *backward) file(text io.ReaderAt, size int64) error {
	end, err := endOfLines(text, size)
	if err == nil {
		end, err = b.begin(text, end)
	}
	if err != nil {
		return err
	}
	read := partReader(text, size)
	for window := int64(firstWindow); end > 0; window = min(2*window, largestWindow) {
		begin := max(0, end-window)
		if begin, err = lineStart(text, begin, end); err != nil {
			return err
		}
		found, err := b.matcher.searchParts(read, begin, end)
		if err != nil {
			return err
		}
		for _, l := range slices.Backward(slices.Concat(found...)) {
			if b.before > 0 && l.Seq >= b.before || !b.until.IsZero() && l.Time.After(b.until) || l.Time.Before(b.since) {
				continue
			}
			if !b.f(l) {
				b.reached, b.ended = Reached{Line: l.Seq, Time: l.Time}, true
				return nil
			}
		}
		if err := b.reach(text, begin, size); err != nil || b.ended {
			return err
		}
		end = begin
	}
	return nil
}

// reach notes that everything from a place on was looked at, and whether the search ends there.
func (b *backward) reach(text io.ReaderAt, begin, size int64) error {
	line, _, err := lineAround(text, begin, size)
	if err != nil {
		return err
	}
	first, err := CheckLine(line)
	if err != nil {
		return err
	}
	b.reached = Reached{Line: first.Seq, Time: first.Time}
	b.reached.Done = first.Time.Add(ClockSlack).Before(b.since)
	b.ended = b.reached.Done || b.ctx.Err() != nil
	return nil
}

// begin returns where in a file the search begins, whose lines end at a place: after the last line that may be looked for.
func (b *backward) begin(text io.ReaderAt, end int64) (int64, error) {
	if b.before > 0 {
		at, err := placeOf(text, end, func(l Line) bool { return l.Seq >= b.before })
		if err != nil {
			return 0, err
		}
		end = at
	}
	if b.until.IsZero() {
		return end, nil
	}
	return placeOf(text, end, func(l Line) bool { return l.Time.After(b.until.Add(untilSlack)) })
}

// placeOf returns where the first line begins that is beyond something, or end. Lines are in an order by that.
func placeOf(text io.ReaderAt, end int64, beyond func(Line) bool) (int64, error) {
	const block = 4 << 10
	var failed error
	lineAt := func(at int64) (Line, int64, int64) {
		line, begin, err := lineAround(text, at, end)
		if err == nil {
			var l Line
			if l, err = CheckLine(line); err == nil {
				return l, begin, begin + int64(len(line)) + 1
			}
		}
		if failed == nil {
			failed = err
		}
		return Line{}, at, end
	}
	blocks := int((end + block - 1) / block)
	i := sort.Search(blocks, func(i int) bool {
		l, _, _ := lineAt(min(int64(i)*block, end-1))
		return failed != nil || beyond(l)
	})
	at := max(0, int64(i-1)*block) // a line that holds this byte is not beyond, unless it is the first
	for at < end && failed == nil {
		l, begin, next := lineAt(at)
		if failed == nil && beyond(l) {
			return begin, nil
		}
		at = next
	}
	if failed != nil {
		return 0, fmt.Errorf("finding a place in the record: %w", failed)
	}
	return end, nil
}

// lineStart returns where the line begins that has the byte at a place.
func lineStart(text io.ReaderAt, at, end int64) (int64, error) {
	if at == 0 {
		return 0, nil
	}
	_, begin, err := lineAround(text, at, end)
	return begin, err
}
