package demo

import (
	"sync"
	"time"
)

// journal is what was done in the tenant and what came of it, newest first,
// and the news that something changed for the pages that watch.
type journal struct {
	mu      sync.Mutex // guards what follows
	pushes  []*push
	last    int           // the newest push's ID
	changed chan struct{} // closed and replaced at each change
}

const journalLength = 40 // pushes kept

// push is one deed in the tenant: the SCIM requests it took and, where a
// person's access ended, when their clocks stopped. Times are milliseconds.
type push struct {
	ID        int        `json:"id"`
	At        time.Time  `json:"at"`
	What      string     `json:"what"`
	Exchanges []exchange `json:"exchanges"`
	Answered  float64    `json:"answered"` // from the first request leaving to the answer to the last change
	Clocks    int        `json:"clocks"`   // that ticked for the person when the push left
	Stopped   *float64   `json:"stopped"`  // from the first request leaving to the last clock's stop; null: they tick on, or not known yet
	Waiting   bool       `json:"waiting"`  // still watching the clocks
	Problem   string     `json:"problem"`  // why the push failed
}

// exchange is one SCIM request and what came of it.
type exchange struct {
	Method  string  `json:"method"`
	Path    string  `json:"path"`
	Body    string  `json:"body"`
	Status  int     `json:"status"`
	Took    float64 `json:"took"`    // milliseconds
	Problem string  `json:"problem"` // what was wrong with the answer
}

func newJournal() *journal { return &journal{changed: make(chan struct{})} }

// watch returns a channel closed at the next change; take it before looking.
func (j *journal) watch() <-chan struct{} {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.changed
}

func (j *journal) touch() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.tell()
}

func (j *journal) tell() {
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
	j.tell()
}

// amend changes p, which pages may be reading.
func (j *journal) amend(p *push, change func(*push)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change(p)
	j.tell()
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
