package rollup

import (
	"slices"
	"time"
)

// backup is an event of a backup: that one is made, or that one was not.
type backup struct {
	at     time.Time
	failed bool
}

const maxBackups = 100

// noteBackup keeps the event of a backup, if it is among the newest. mu is held.
func (r *Rollup) noteBackup(e *event) {
	r.backups = append(r.backups, backup{e.time.UTC(), e.failed != ""})
	slices.SortStableFunc(r.backups, func(a, b backup) int { return a.at.Compare(b.at) })
	r.backups = slices.Delete(r.backups, 0, max(0, len(r.backups)-maxBackups))
}

// NewestBackup returns when the newest backup was made that the record tells of; zero if there is none. A backup that failed
// has a second event, which cancels the newest before it, so that the age is never too small.
func (r *Rollup) NewestBackup() (newest time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var made []time.Time
	for _, b := range r.backups {
		if b.failed {
			made = made[:max(len(made)-1, 0)]
		} else {
			made = append(made, b.at)
		}
	}
	if len(made) > 0 {
		newest = made[len(made)-1]
	}
	return newest
}
