package backup

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"sallyport/store"
)

// The errors of copies.
var (
	ErrCopyOfAnother = errors.New("it is an unfinished copy of another store")
	ErrCopyDiffers   = errors.New("the copy is not what was copied")
)

// Copying copies every record of one store into another.
type Copying struct {
	from    store.Reader
	mark    store.Unfinished
	sum     Summary
	confirm func(context.Context) error
}

// Copied is what came of it.
type Copied struct {
	Summary
	Revision store.Revision // of the copy
}

// NewCopying reads every record of the store that from reads. It returns an error for one that is damaged.
func NewCopying(ctx context.Context, from store.Reader, mark store.Unfinished) (*Copying, error) {
	sum, err := Sum(copyable(ctx, from.Scan(nil, nil)))
	if err != nil {
		return nil, err
	}
	return &Copying{from, mark, sum, func(context.Context) error { return nil }}, nil
}

// Confirm has the copy stay unfinished unless f returns nil when it is whole.
func (c *Copying) Confirm(f func(context.Context) error) { c.confirm = f }

// Look reads the store that records are about to be copied into, and demands that it is empty, or the unfinished copy that the
// mark describes. It returns what came of the copy if that is finished already, and nobody has changed it since; else nil.
func (c *Copying) Look(ctx context.Context, to store.Store) (finished *Copied, err error) {
	err = to.View(ctx, func(r store.Reader) error { _, err := demandTarget(r, c.mark); return err })
	if !errors.Is(err, ErrNotEmpty) {
		return nil, err
	}
	got, revision, failed := sumOf(ctx, to)
	if failed != nil || got != c.sum || revision <= c.from.Revision() {
		return nil, err
	}
	return &Copied{got, revision}, nil
}

// Begin marks an empty store as the unfinished copy that the mark describes, or demands that it is that already.
func Begin(ctx context.Context, to store.Store, mark store.Unfinished) error {
	_, err := to.Update(ctx, Beginning(mark))
	return err
}

// Beginning returns the change that Begin makes.
func Beginning(mark store.Unfinished) func(store.Writer) error {
	return func(w store.Writer) error {
		begun, err := demandTarget(w, mark)
		if err != nil || begun {
			return err
		}
		mark.Begun = time.Now().UTC()
		text, err := json.Marshal(mark)
		if err != nil {
			return err
		}
		return w.Put([]byte(store.UnfinishedKey), text)
	}
}

// Copy copies every record, and compares what is in the copy with what was read. Revisions go on: that of the copy is greater
// than the one that is read; its engine must have been told so before.
//
// The copy has the mark at [store.UnfinishedKey] until it has been compared. A call that was interrupted is made up for by
// another, also if the store has changed meanwhile.
func (c *Copying) Copy(ctx context.Context, to store.Store) (done Copied, err error) {
	if err := Begin(ctx, to, c.mark); err != nil {
		return done, err
	}
	if err := replaceAll(ctx, copyable(ctx, c.from.Scan(nil, nil)), to); err != nil {
		return done, err
	}
	got, _, err := sumOf(ctx, to)
	if err != nil {
		return done, fmt.Errorf("reading the copy: %w", err)
	}
	if got != c.sum {
		return done, fmt.Errorf("%w: it has %d records with the SHA-256 %x, and should have %d with %x",
			ErrCopyDiffers, got.Records, got.SHA256, c.sum.Records, c.sum.SHA256)
	}
	if err := c.confirm(ctx); err != nil {
		return done, err
	}
	done.Summary = got
	done.Revision, err = to.Update(ctx, func(w store.Writer) error {
		if w.Revision() <= c.from.Revision() {
			return fmt.Errorf("the copy is at revision %d, and the store at %d: the copy's must be greater", w.Revision(), c.from.Revision())
		}
		return w.Delete([]byte(store.UnfinishedKey))
	})
	return done, err
}

// copyable yields the records of a store, and an error for a mark among them, or once ctx has ended.
func copyable(ctx context.Context, records iter.Seq2[store.Entry, error]) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		for e, err := range records {
			if err == nil {
				err = ctx.Err()
			}
			if err == nil && string(e.Key) == store.UnfinishedKey {
				err = store.ErrUnfinished
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// demandTarget demands that a store is empty or the unfinished copy that the mark describes. It reports whether it is the latter.
func demandTarget(r store.Reader, mark store.Unfinished) (begun bool, err error) {
	text, err := r.Get([]byte(store.UnfinishedKey))
	switch {
	case err == nil:
		return true, demandSame(text, mark)
	case !errors.Is(err, store.ErrNotFound):
		return false, fmt.Errorf("reading what it is a copy of: %w", err)
	}
	return false, demandNoRecords(r)
}

func demandSame(text []byte, mark store.Unfinished) error {
	var found store.Unfinished
	if err := json.Unmarshal(text, &found); err != nil {
		return fmt.Errorf("reading what it is a copy of: %w", err)
	}
	if found.From != mark.From {
		return fmt.Errorf("%w, %s", ErrCopyOfAnother, found.From)
	}
	return nil
}

// sumOf returns the summary of the records of a store, without the mark, and the revision that it is of.
func sumOf(ctx context.Context, st store.Store) (sum Summary, revision store.Revision, err error) {
	err = st.View(ctx, func(r store.Reader) error {
		revision = r.Revision()
		sum, err = Sum(func(yield func(store.Entry, error) bool) {
			for e, err := range r.Scan(nil, nil) {
				if string(e.Key) == store.UnfinishedKey {
					continue
				}
				if err == nil {
					err = ctx.Err()
				}
				if !yield(e, err) {
					return
				}
			}
		})
		return err
	})
	return sum, revision, err
}

// replaceAll makes the records of a store those that it is given, in many transactions.
func replaceAll(ctx context.Context, records iter.Seq2[store.Entry, error], to store.Store) error {
	p := part{from: []byte{}}
	size := 0
	for e, err := range records {
		if err != nil {
			return fmt.Errorf("reading the record at %q: %w", e.Key, err)
		}
		p.records = append(p.records, e)
		if size += len(e.Key) + len(e.Value); len(p.records) < batchRecords && size < batchBytes {
			continue
		}
		p.to = append(bytes.Clone(e.Key), 0)
		if err := p.replace(ctx, to); err != nil {
			return err
		}
		p, size = part{from: p.to, records: p.records[:0]}, 0
	}
	return p.replace(ctx, to)
}

// part is all records of a store from a key on, up to another.
type part struct {
	from, to []byte // to is no longer part of it; nil: there is no end
	records  []store.Entry
}

// replace makes the records of a store within the part those of the part.
func (p part) replace(ctx context.Context, to store.Store) error {
	for more := true; more; {
		_, err := to.Update(ctx, func(w store.Writer) (err error) {
			more, err = p.write(w)
			return err
		})
		if err != nil {
			return fmt.Errorf("writing the copy: %w", err)
		}
	}
	return nil
}

// write writes what is missing, and deletes what must not be there: with more, only some of it.
func (p part) write(w store.Writer) (more bool, err error) {
	left := p.records
	var put []store.Entry
	var remove [][]byte
	for e, err := range w.Scan(nil, p.from) {
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return false, err
		}
		if p.to != nil && bytes.Compare(e.Key, p.to) >= 0 {
			break
		}
		if string(e.Key) == store.UnfinishedKey {
			continue
		}
		for len(left) > 0 && bytes.Compare(left[0].Key, e.Key) < 0 {
			put, left = append(put, left[0]), left[1:]
		}
		if len(left) == 0 || !bytes.Equal(left[0].Key, e.Key) {
			if remove = append(remove, bytes.Clone(e.Key)); len(remove) == batchRecords {
				more = true
				break
			}
			continue
		}
		if err != nil || !bytes.Equal(left[0].Value, e.Value) {
			put = append(put, left[0])
		}
		left = left[1:]
	}
	if !more {
		put = append(put, left...)
	}
	for _, key := range remove {
		if err := w.Delete(key); err != nil {
			return false, err
		}
	}
	for _, e := range put {
		if err := w.Put(e.Key, e.Value); err != nil {
			return false, err
		}
	}
	return more, nil
}
