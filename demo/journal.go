package demo

import (
	"sync"
	"time"
)

// journal lists the changes in the tenant and their results, newest first, and wakes
// the pages that watch it.
type journal struct {
	mu      sync.Mutex // guards the fields below
	pushes  []*push
	last    int           // ID of the newest push
	changed chan struct{} // closed and replaced at each change
}

const journalLength = 40 // pushes

// push is one change in the tenant: its SCIM requests and, if it ended a person's
// access, when their clocks stopped. Durations are in milliseconds.
type push struct {
	ID        int        `json:"id"`
	At        time.Time  `json:"at"`
	What      string     `json:"what"`
	Exchanges []exchange `json:"exchanges"`
	Responded float64    `json:"answered"` // from the first request to the response to the last change
	Clocks    int        `json:"clocks"`   // that ticked for the person when the push began
	Stopped   *float64   `json:"stopped"`  // from the first request to the stop of the last clock; null if one still ticks, or not known yet
	Waiting   bool       `json:"waiting"`  // still watching the clocks
	Problem   string     `json:"problem"`  // why the push failed
}

// exchange is a SCIM request and its result.
type exchange struct {
	Method  string  `json:"method"`
	Path    string  `json:"path"`
	Body    string  `json:"body"`
	Status  int     `json:"status"`
	Took    float64 `json:"took"`    // milliseconds
	Problem string  `json:"problem"` // with the response
}

func newJournal() *journal { return &journal{changed: make(chan struct{})} }

// watch returns a channel that is closed at the next change. Call it before reading
// the state, or a change in between is missed.
func (j *journal) watch() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.changed
}

func (j *journal) touch() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.notify()
}

func (j *journal) notify() {
	close(j.changed)
	j.changed = make(chan struct{})
}

func (j *journal) add(p *push) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last++
	p.ID = j.last
	j.pushes = append([]*push{p}, j.pushes...)
	j.pushes = j.pushes[:min(len(j.pushes), journalLength)]
	j.notify()
}

// amend changes p under the lock, since pages may be reading it.
func (j *journal) amend(p *push, change func(*push)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change(p)
	j.notify()
}

func (j *journal) all() []push {
	j.mu.Lock()
	defer j.mu.Unlock()
	all := make([]push, len(j.pushes))
	for i, p := range j.pushes {
		all[i] = *p
	}
	return all
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
