package admin

import (
	"maps"
	"sync"
	"sync/atomic"

	"sallyport/audit"
)

// maxTailed bounds how many decisions wait for one who follows them.
const maxTailed = 100

// tails are those who follow the decisions of this process.
type tails struct {
	begin sync.Once
	count atomic.Int32

	mu   sync.Mutex // guards list
	list map[*Tail]bool
}

// Tail follows decisions as they are recorded. It holds a bounded number that were not taken yet, and counts those that it
// dropped.
type Tail struct {
	filter DecisionFilter
	tails  *tails

	mu      sync.Mutex // guards what follows
	waiting []Decided
	dropped int
}

// Follow returns the decisions of this process that a filter selects, from now on. Whoever calls it must close the tail.
func (a *Admin) Follow(_ Actor, f DecisionFilter) *Tail {
	a.tails.begin.Do(func() { a.audit.Written(a.tails.tell) })
	t := &Tail{filter: f, tails: &a.tails}
	a.tails.mu.Lock()
	defer a.tails.mu.Unlock()
	if a.tails.list == nil {
		a.tails.list = map[*Tail]bool{}
	}
	a.tails.list[t] = true
	a.tails.count.Add(1)
	return t
}

// tell gives an event that was written to those who follow. It must not wait.
func (s *tails) tell(e audit.Event, number uint64) {
	if e.Kind != audit.KindDecision || s.count.Load() == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for t := range s.list {
		if t.filter.Selects(&e) {
			t.add(e, number)
		}
	}
}

func (t *Tail) add(e audit.Event, number uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == maxTailed {
		t.dropped++
		return
	}
	e.Detail = maps.Clone(e.Detail) // an observer may keep no part of the event
	t.waiting = append(t.waiting, Decided{Line: audit.Line{Event: e, Seq: number}, Of: e.Replica})
}

// Take returns the decisions since the last call, the oldest first, and how many of them were dropped.
func (t *Tail) Take() (decisions []Decided, dropped int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	decisions, dropped = t.waiting, t.dropped
	t.waiting, t.dropped = nil, 0
	return decisions, dropped
}

// Close ends the tail.
func (t *Tail) Close() {
	t.tails.mu.Lock()
	defer t.tails.mu.Unlock()
	if t.tails.list[t] {
		delete(t.tails.list, t)
		t.tails.count.Add(-1)
	}
}
