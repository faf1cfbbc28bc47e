package admin

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	recentAge  = 4 * time.Second // for which what replicas said is told again to others who ask
	recentMost = 64              // questions whose results are remembered
)

// errNotAsked means that whoever was to ask for others did not.
var errNotAsked = errors.New("it could not be found out; ask again in a moment")

// recent has those who ask the same at about the same time share one question to the replicas.
type recent[K comparable, V any] struct {
	underWay bool // only what is being asked is shared, however long that lasts: results depend on more than the key

	mu   sync.Mutex // guards the field below
	list map[K]*recentResult[V]
}

// recentResult is the result of one question.
type recentResult[V any] struct {
	asked time.Time
	done  chan struct{} // closed when the fields below are set
	value V
	err   error
}

// get returns a result that is not older than [recentAge], by ask unless somebody else has asked.
func (r *recent[K, V]) get(ctx context.Context, key K, ask func(context.Context) (V, error)) (V, error) {
	one, mine := r.begin(key)
	if mine {
		one.err = errNotAsked
		defer close(one.done)                                // even if it panics: others wait for it
		one.value, one.err = ask(context.WithoutCancel(ctx)) // which others wait for too
		return one.value, one.err
	}
	select {
	case <-one.done:
		return one.value, one.err
	case <-ctx.Done():
		var none V
		return none, ctx.Err()
	}
}

// begin returns the result for a key. mine means that the caller has to find it out.
func (r *recent[K, V]) begin(key K) (one *recentResult[V], mine bool) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if one, ok := r.list[key]; ok && r.holds(one, now) {
		return one, false
	}
	for other, old := range r.list {
		if !r.holds(old, now) || len(r.list) >= recentMost {
			delete(r.list, other)
		}
	}
	if r.list == nil {
		r.list = map[K]*recentResult[V]{}
	}
	one = &recentResult[V]{asked: now, done: make(chan struct{})}
	r.list[key] = one
	return one, true
}

// holds reports whether a result is told again.
func (r *recent[K, V]) holds(one *recentResult[V], now time.Time) bool {
	if !r.underWay {
		return now.Sub(one.asked) < recentAge
	}
	select {
	case <-one.done:
		return false
	default:
		return true
	}
}
