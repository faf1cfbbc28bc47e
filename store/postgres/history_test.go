package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"golang.org/x/sys/unix"

	"sallyport/store"
)

// monotonic returns the time by a clock that every process of the machine has in common.
func monotonic() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(commonClock, &t); err != nil {
		panic(err)
	}
	return t.Nano()
}

// swap is an update that replaces the value of a key.
type swap struct{ key, value string }

// swapped is what an update found. It is not known to have happened if its outcome is unknown.
type swapped struct {
	former  string
	unknown bool
}

// register is one key: each swap finds what the last one left.
var register = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		keys := map[string][]porcupine.Operation{}
		for _, o := range history {
			key := o.Input.(swap).key
			keys[key] = append(keys[key], o)
		}
		var parts [][]porcupine.Operation
		for _, part := range keys {
			parts = append(parts, part)
		}
		return parts
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		out := output.(swapped)
		return out.unknown || out.former == state.(string), input.(swap).value
	},
}

// record is what happened to a fleet, by one clock.
type record struct {
	begun int64

	mu        sync.Mutex // guards the fields below
	swaps     []porcupine.Operation
	uncertain int
	committed map[store.Revision]int64 // when the update was acknowledged
	enforced  map[store.Revision]int64 // when it was said to be enforced
	fenced    int                      // changes that were enforced although a replica was not reached
}

// keys is how many keys are changed.
const keys = 3

// key returns a key that has no value when the record begins.
func (h *record) key(n int) string { return fmt.Sprintf("%d/%d", h.begun, n%keys) }

func newRecord() *record {
	return &record{begun: monotonic(), committed: map[store.Revision]int64{}, enforced: map[store.Revision]int64{}}
}

// swap has r make a change, and waits for it to be enforced.
func (h *record) swap(ctx context.Context, r *replica, client int, s swap) {
	var former string
	begin := monotonic()
	revision, err := r.Update(ctx, func(w store.Writer) error {
		value, err := w.Get([]byte(s.key))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		former = string(value)
		return w.Put([]byte(s.key), []byte(s.value))
	})
	end := monotonic()
	h.mu.Lock()
	switch {
	case err == nil:
		h.swaps = append(h.swaps, porcupine.Operation{ClientId: client, Input: s, Output: swapped{former: former}, Call: begin, Return: end})
		h.committed[revision] = end
	case errors.Is(err, store.ErrUncertain):
		h.swaps = append(h.swaps, porcupine.Operation{ClientId: client, Input: s, Output: swapped{unknown: true}, Call: begin, Return: math.MaxInt64})
		h.uncertain++
	}
	h.mu.Unlock()
	if err != nil {
		return
	}
	e, err := r.Enforced(ctx, revision)
	end = monotonic()
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.enforced[revision] = end
		h.fenced += min(1, len(e.Fenced))
	}
}

// decisions are when a replica decided last from memory that had a revision, and not a later one.
type decisions map[store.Revision]int64

// decide notes one decision of the replica, if it decides.
func (d decisions) decide(r *replica) {
	now := monotonic() // the request came before memory was asked
	if r.mirror.Err() != nil {
		return
	}
	d[r.mirror.Revision()] = now
}

// check demands what must hold of what happened.
func (h *record) check(lease time.Duration, replicas map[string]decisions) (faults []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if result := porcupine.CheckOperationsTimeout(register, h.swaps, time.Minute); result != porcupine.Ok {
		fault("the %d changes, of which %d are uncertain, are not linearizable: %s", len(h.swaps), h.uncertain, result)
	}
	for name, decided := range replicas {
		for revision, last := range decided {
			for later, at := range h.enforced {
				if later > revision && last > at {
					fault("%s decided with revision %d %s after %d was enforced", name, revision, time.Duration(last-at), later)
				}
			}
			for later, at := range h.committed {
				if late := time.Duration(last-at) - lease; later > revision && late > 0 {
					fault("%s decided with revision %d %s after the lease beyond the commit of %d", name, revision, late, later)
				}
			}
		}
	}
	return faults[:min(len(faults), 10)]
}

// TestRecord_FindsFaults shows that the check finds histories that must not be.
func TestRecord_FindsFaults(t *testing.T) {
	t.Parallel()
	operation := func(key, value, former string, call, end int64) porcupine.Operation {
		return porcupine.Operation{Input: swap{key, value}, Output: swapped{former: former}, Call: call, Return: end}
	}
	good := []porcupine.Operation{operation("k", "1", "", 1, 2), operation("k", "2", "1", 3, 5), operation("l", "1", "", 3, 4)}
	for name, test := range map[string]struct {
		swaps    []porcupine.Operation
		decided  decisions
		enforced map[store.Revision]int64
		faults   int
	}{
		"good":                   {good, decisions{1: 9, 2: 20}, map[store.Revision]int64{2: 10}, 0},
		"lost":                   {append(good[:2:2], operation("k", "3", "1", 6, 7)), nil, nil, 1},
		"never happened":         {append(good[:2:2], operation("k", "3", "x", 6, 7)), nil, nil, 1},
		"decided after enforced": {good, decisions{1: 11}, map[store.Revision]int64{2: 10}, 1},
		"decided after lease":    {good, decisions{1: 5 + int64(shortLease) + 1}, nil, 1},
	} {
		h := newRecord()
		h.swaps, h.enforced, h.committed[2] = test.swaps, test.enforced, 5
		if faults := h.check(shortLease, map[string]decisions{"a": test.decided}); len(faults) != test.faults {
			t.Errorf("%s: %v, want %d faults", name, faults, test.faults)
		}
	}
	uncertain := porcupine.Operation{Input: swap{"k", "u"}, Output: swapped{unknown: true}, Call: 6, Return: math.MaxInt64}
	for _, former := range []string{"2", "u"} { // it may have happened
		h := newRecord()
		h.swaps = append(good[:2:2], uncertain, operation("k", "3", former, 8, 9))
		if faults := h.check(shortLease, nil); len(faults) > 0 {
			t.Errorf("after an uncertain change and %s: %v", former, faults)
		}
	}
}
