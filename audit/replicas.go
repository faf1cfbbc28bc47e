package audit

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"os"
	"slices"
	"time"
)

// A Record may be that of several replicas: then it has a part for each, which has a chain of its own, and its lines are
// read in the order of their times.

// Replica returns the name of the replica that wrote the record; "" if it wrote no name, or there are several.
func (r *Record) Replica() string { return r.replica }

// Parts returns the record of each replica; only the record itself if it is that of one.
func (r *Record) Parts() []*Record {
	if len(r.parts) > 0 {
		return r.parts
	}
	return []*Record{r}
}

// ends is what tells which files belong together: the writer that the first or the last line names, and what the chain has
// before the first and at the last line.
type ends struct {
	replica        string
	former, latest string // hashes
}

// endsOf reads the ends of a file. Of one that cannot be read from both ends, nothing is known.
func endsOf(f *os.File) (e ends) {
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return e
	}
	if first, err := firstLine(f); err == nil && first != nil {
		e.replica = replicaOf(first)
		if h, ok := parseHead(first); ok {
			e.former = string(h.prev)
		}
	}
	size, err := endOfLines(f, info.Size())
	if err != nil || size == 0 {
		return e
	}
	if last, _, err := lineAround(f, size-1, size); err == nil {
		e.replica = cmp.Or(e.replica, replicaOf(last)) // a record may go on that had been that of the only process
		if h, ok := parseHead(last); ok {
			e.latest = string(h.hash)
		}
	}
	return e
}

func replicaOf(line []byte) string {
	var e struct {
		Replica string `json:"replica"`
	}
	_ = json.Unmarshal(line, &e)
	return e.Replica
}

// split makes a part of the files of each replica.
func (r *Record) split() {
	all := make([]ends, len(r.files))
	for i, s := range r.files {
		all[i] = endsOf(s.file)
	}
	for i := len(all) - 1; i >= 0; i-- { // files from before there were several are those of the one whose file follows
		for _, next := range all {
			if all[i].replica == "" && all[i].latest != "" && next.former == all[i].latest {
				all[i].replica = next.replica
			}
		}
	}
	parts := map[string]*Record{}
	var names []string
	for i, s := range r.files {
		name := all[i].replica
		if parts[name] == nil {
			parts[name] = &Record{replica: name, whole: r.whole}
			names = append(names, name)
		}
		parts[name].files = append(parts[name].files, s)
	}
	if len(names) < 2 {
		r.replica = names[0]
		return
	}
	slices.Sort(names)
	for _, name := range names {
		r.parts = append(r.parts, parts[name])
	}
}

// Join returns the record of several replicas, which has what the files of all given records have. They are closed with it.
func Join(records ...*Record) *Record {
	all := new(Record)
	for _, r := range records {
		all.parts = append(all.parts, r.Parts()...)
		all.files = append(all.files, r.files...)
	}
	if len(all.parts) == 1 {
		return all.parts[0]
	}
	return all
}

// head is the next line of a part.
type partHead[T any] struct {
	value T
	next  func() (T, error, bool)
	stop  func()
}

// merge calls f with what parts yield, always the one with the earliest time.
func merge[T any](parts []iter.Seq2[T, error], timeOf func(T) time.Time, f func(T) error) error {
	var heads []*partHead[T]
	defer func() {
		for _, h := range heads {
			h.stop()
		}
	}()
	advance := func(h *partHead[T]) (more bool, err error) {
		value, err, ok := h.next()
		h.value = value
		return ok, err
	}
	for _, part := range parts {
		h := new(partHead[T])
		h.next, h.stop = iter.Pull2(part)
		more, err := advance(h)
		if err != nil {
			h.stop()
			return err
		}
		if more {
			heads = append(heads, h)
		}
	}
	for len(heads) > 0 {
		first := slices.MinFunc(heads, func(a, b *partHead[T]) int { return timeOf(a.value).Compare(timeOf(b.value)) })
		if err := f(first.value); err != nil {
			return err
		}
		more, err := advance(first)
		if err != nil {
			return err
		}
		if !more {
			first.stop()
			heads = slices.DeleteFunc(heads, func(h *partHead[T]) bool { return h == first })
		}
	}
	return nil
}

var errEnough = errors.New("no more lines are wanted")

// searchAll is Search over the parts.
func (r *Record) searchAll(ctx context.Context, s Search, f func(Found) error) error {
	var parts []iter.Seq2[Found, error]
	for _, part := range r.parts {
		parts = append(parts, func(yield func(Found, error) bool) {
			err := part.Search(ctx, s, func(l Found) error {
				if !yield(l, nil) {
					return errEnough
				}
				return nil
			})
			if err != nil && !errors.Is(err, errEnough) {
				yield(Found{}, err)
			}
		})
	}
	return merge(parts, func(l Found) time.Time { return l.Time }, f)
}

// readAll is ReadLines over the parts.
func (r *Record) readAll(since time.Time, f func(l Line, text []byte) error) (begins time.Time, err error) {
	var parts []iter.Seq2[Found, error]
	for _, part := range r.parts {
		first, err := part.begins()
		if err != nil {
			return begins, err
		}
		if begins.IsZero() || !first.IsZero() && first.Before(begins) {
			begins = first
		}
		parts = append(parts, func(yield func(Found, error) bool) {
			_, err := part.ReadLines(since, func(l Line, text []byte) error {
				if !yield(Found{Line: l, Text: slices.Clone(text)}, nil) {
					return errEnough
				}
				return nil
			})
			if err != nil && !errors.Is(err, errEnough) {
				yield(Found{}, err)
			}
		})
	}
	return begins, merge(parts, func(l Found) time.Time { return l.Time }, func(l Found) error { return f(l.Line, l.Text) })
}

// begins returns the time of the first line that can be read.
func (r *Record) begins() (begins time.Time, err error) {
	for _, s := range r.files {
		if begins, err = s.begins(); err != nil || !begins.IsZero() {
			return begins, err
		}
	}
	return begins, nil
}

// Spans returns the span of each part.
func (r *Record) Spans() (spans []Span, err error) {
	for _, part := range r.Parts() {
		span, err := part.Span()
		if err != nil {
			return nil, err
		}
		spans = append(spans, span)
	}
	return spans, nil
}

// LineOf returns the text of a line of a replica by its number, or [ErrNoLine].
func (r *Record) LineOf(replica string, number uint64) (text []byte, err error) {
	for _, part := range r.Parts() {
		if part.replica != replica && len(r.parts) > 0 {
			continue
		}
		if text, err = part.Line(number); !errors.Is(err, ErrNoLine) {
			return text, err
		}
	}
	return nil, ErrNoLine
}
