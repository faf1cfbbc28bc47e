package postgres

import (
	"sync"
	"time"
)

// sightings are when this process saw the rows of processes change last, by its own clock. The clock of the database says
// nothing of how long ago a renewal was: it may be set, and another server that is promoted has another one.
type sightings struct {
	mu   sync.Mutex // guards the field below
	rows map[string]sighting
}

type sighting struct {
	renewed string
	first   time.Duration // after the renewal
}

// fence finds out whose lease has run out: those who have not renewed it while this process saw it run out. The table was
// read before now.
func (t *table) fence(s *sightings, now time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
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
