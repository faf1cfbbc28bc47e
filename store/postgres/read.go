package postgres

import (
	"bytes"
	"context"
	"errors"
	"iter"

	"github.com/jackc/pgx/v5"

	"sallyport/store"
	"sallyport/store/internal/checksum"
)

// Entries are read in pages: of firstPage at first, and of twice as many each time, up to maxPage.
const (
	firstPage = 32
	maxPage   = 4096
)

// View runs fn on the newest revision. It waits while too many others read.
func (s *Store) View(ctx context.Context, fn func(store.Reader) error) error {
	select {
	case s.views <- struct{}{}:
		defer func() { <-s.views }()
	case <-s.closing.Done():
		return store.ErrClosed
	case <-ctx.Done():
		s.metrics.count("view", "failed")
		return ctx.Err()
	}
	r := &reader{ctx: ctx}
	err := pgx.BeginTxFunc(ctx, s.reads, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		r.tx = tx
		newest, err := readMeta(ctx, tx)
		if r.fail(err) != nil {
			return err
		}
		s.history.view(newest)
		r.revision = newest.revision
		return fn(r)
	})
	if r.tx == nil || r.err != nil {
		s.metrics.count("view", "failed")
		return s.failed(ctx, errors.Join(r.err, err))
	}
	s.metrics.count("view", "done")
	return err
}

// readMeta returns the newest change.
func readMeta(ctx context.Context, from interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}) (newest mark, err error) {
	var id []byte
	var found int
	if err := from.QueryRow(ctx, "SELECT revision, id, format FROM sallyport_meta").Scan(&newest.revision, &id, &found); err != nil {
		return mark{}, err
	}
	newest.id = string(id)
	return newest, demandFormat(found)
}

// reader reads one transaction.
type reader struct {
	ctx      context.Context
	tx       pgx.Tx
	revision store.Revision
	err      error // of the database, after which nothing can be read
}

func (r *reader) Revision() store.Revision { return r.revision }

// fail keeps the first error of the database.
func (r *reader) fail(err error) error {
	if err != nil && r.err == nil {
		r.err = err
	}
	return err
}

func (r *reader) Get(key []byte) ([]byte, error) {
	var record []byte
	err := r.tx.QueryRow(r.ctx, "SELECT value FROM sallyport_items WHERE key = $1", notNil(key)).Scan(&record)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, store.ErrNotFound
	case err != nil:
		return nil, r.fail(err)
	}
	return checksum.Verify(key, record)
}

// notNil returns an empty key in place of NULL, which equals nothing.
func notNil(key []byte) []byte {
	if key == nil {
		return []byte{}
	}
	return key
}

func (r *reader) Scan(prefix, from []byte) iter.Seq2[store.Entry, error] {
	return func(yield func(store.Entry, error) bool) {
		if bytes.Compare(from, prefix) < 0 {
			from = prefix
		}
		end := keyAfter(prefix)
		for size := firstPage; ; size = min(2*size, maxPage) {
			page, err := r.page(notNil(from), end, size)
			if err != nil {
				yield(store.Entry{}, r.fail(err))
				return
			}
			for _, e := range page {
				value, err := checksum.Verify(e.Key, e.Value)
				if !yield(store.Entry{Key: e.Key, Value: value}, err) {
					return
				}
			}
			if len(page) < size {
				return
			}
			from = append(bytes.Clone(page[len(page)-1].Key), 0) // the next key that is possible
		}
	}
}

// page reads up to size records from the key from to before the key end; nil: to the last.
func (r *reader) page(from, end []byte, size int) ([]store.Entry, error) {
	var rows pgx.Rows
	var err error
	if end == nil {
		rows, err = r.tx.Query(r.ctx, "SELECT key, value FROM sallyport_items WHERE key >= $1 ORDER BY key LIMIT $2", from, size)
	} else {
		rows, err = r.tx.Query(r.ctx, "SELECT key, value FROM sallyport_items WHERE key >= $1 AND key < $3 ORDER BY key LIMIT $2", from, size, end)
	}
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[store.Entry])
}

// keyAfter returns the first key after all those that begin with prefix, or nil if there is none.
func keyAfter(prefix []byte) []byte {
	end := bytes.TrimRight(prefix, "\xff")
	if len(end) == 0 {
		return nil
	}
	end = bytes.Clone(end)
	end[len(end)-1]++
	return end
}
