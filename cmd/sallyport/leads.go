package main

import (
	"context"
	"sync/atomic"
	"time"

	"sallyport/store"
)

// leadership is what is known of whether this replica leads, for those who ask often.
type leadership struct {
	store store.Store
	last  atomic.Pointer[lookAtLeader]
}

type lookAtLeader struct {
	at    time.Time
	leads bool
}

// How long a look at the store holds, and how long it may take.
const (
	leadsFor     = time.Second
	leadsTimeout = 500 * time.Millisecond
)

// holds reports whether this replica leads. If that cannot be found out, it does: what is done twice is better than what
// nobody does.
func (l *leadership) holds() bool {
	if last := l.last.Load(); last != nil && time.Since(last.at) < leadsFor {
		return last.leads
	}
	ctx, cancel := context.WithTimeout(context.Background(), leadsTimeout)
	defer cancel()
	leads, err := store.Leads(ctx, l.store)
	l.last.Store(&lookAtLeader{time.Now(), leads || err != nil})
	return leads || err != nil
}
