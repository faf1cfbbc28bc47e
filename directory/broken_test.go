package directory_test

import (
	"context"
	"errors"
	"iter"
	"path/filepath"
	"testing"

	"sallyport/directory"
	"sallyport/store"
)

var errLost = errors.New("the connection is lost")

// brokenStore is a store of which every scan of one prefix ends with an error and without a key, as one of PostgreSQL does
// when the connection is lost.
type brokenStore struct {
	store.Store
	prefix string
}

func (s brokenStore) View(ctx context.Context, f func(store.Reader) error) error {
	return s.Store.View(ctx, func(r store.Reader) error { return f(brokenReader{r, s.prefix}) })
}

type brokenReader struct {
	store.Reader
	prefix string
}

func (r brokenReader) Scan(prefix, from []byte) iter.Seq2[store.Entry, error] {
	if string(prefix) != r.prefix {
		return r.Reader.Scan(prefix, from)
	}
	return func(yield func(store.Entry, error) bool) { yield(store.Entry{}, errLost) }
}

// TestOpen_FailsIfScanEnds: a scan that ends with an error of the store is an error of Open, whatever was scanned.
func TestOpen_FailsIfScanEnds(t *testing.T) {
	h := open(t, filepath.Join(t.TempDir(), "store.db"))
	defer h.stop()
	alice, group := h.addUser(t, "alice"), h.addGroup(t, "sre")
	h.update(t, func(tx *directory.Tx) error { _, err := tx.AddMembers(group, []string{alice}); return err })
	for _, prefix := range []string{"user/", "group/", "member/", "memberof/", "suspended/", "ended/", "name/", "count/", "record/"} {
		if _, err := directory.Open(t.Context(), brokenStore{h.store, prefix}, "externalId"); !errors.Is(err, errLost) || errors.Is(err, store.ErrDamaged) {
			t.Errorf("%s: %v", prefix, err)
		}
	}
}
