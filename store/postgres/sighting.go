package postgres

import (
	"slices"
	"sync"
	"time"
)

// sightings are when this process saw the rows of processes change last, by its own clock. The clock of the database says
// nothing of how long ago a renewal was: it may be set, and another server that is promoted has another one.
type sightings struct {
	mu    sync.Mutex // guards the fields below
	rows  map[string]sighting
	ended map[string]bool // processes that have ended for certain; a row of theirs may come late
}

type sighting struct {
	renewed string
	first   time.Duration // after the renewal
}

// end says that a process has ended.
func (s *sightings) end(process string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil {
		s.ended = map[string]bool{}
	}
	s.ended[process] = true
}

// fence finds out whose lease has run out: those who have not renewed it while this process saw it run out, and whose
// process has ended. The table was read before now.
func (t *table) fence(s *sightings, now time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.processes = slices.DeleteFunc(t.processes, func(p process) bool {
		if s.ended[p.id] {
			t.ended = append(t.ended, p.id)
		}
		return s.ended[p.id]
	})
	seen := make(map[string]sighting, len(t.processes))
	for i, p := range t.processes {
		sight, ok := s.rows[p.id]
		if !ok || sight.renewed != p.renewed {
			sight = sighting{p.renewed, now}
		}
		seen[p.id] = sight
		t.processes[i].fenced = now >= sight.first+p.lease
	}
	s.rows = seen
}
