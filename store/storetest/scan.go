package storetest

import (
	"context"
	"iter"

	"sallyport/store"
)

// ScanYields is a store of which every scan of one prefix yields one entry and one error, and nothing else.
type ScanYields struct {
	store.Store
	Prefix string
	Entry  store.Entry
	Err    error
}

// View implements [store.Store].
func (s ScanYields) View(ctx context.Context, fn func(store.Reader) error) error {
	return s.Store.View(ctx, func(r store.Reader) error { return fn(scanYields{r, s}) })
}

type scanYields struct {
	store.Reader
	of ScanYields
}

func (r scanYields) Scan(prefix, from []byte) iter.Seq2[store.Entry, error] {
	if string(prefix) != r.of.Prefix {
		return r.Reader.Scan(prefix, from)
	}
	return func(yield func(store.Entry, error) bool) { yield(r.of.Entry, r.of.Err) }
}
