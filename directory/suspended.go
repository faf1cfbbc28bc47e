package directory

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sallyport/store"
)

// Suspension is an operator's decision to deny a user everything, whatever the
// identity provider pushes. Deleting the user ends it: a user who is created again
// has another id and is not suspended.
type Suspension struct {
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

// Suspend denies a user everything until Unsuspend. Sessions that began before are
// never valid again. Suspending a suspended user changes the reason.
func (tx *Tx) Suspend(id, reason string) error {
	u, err := tx.User(id)
	if err != nil {
		return err
	}
	u.Epoch, u.DeactivatedAt = u.Epoch+1, tx.now
	if err := tx.end(joinKey(tx.join, &u), tx.now); err != nil {
		return err
	}
	return errors.Join(tx.write(userKeys, id, &u), tx.write(suspendedKeys, id, Suspension{tx.now, reason}))
}

// Unsuspend ends a suspension, or returns ErrNotFound.
func (tx *Tx) Unsuspend(id string) error {
	if _, err := tx.Suspension(id); err != nil {
		return err
	}
	return tx.remove(suspendedKeys, id)
}

// Suspension returns the suspension of a user, or ErrNotFound.
func (tx *Tx) Suspension(id string) (Suspension, error) {
	s := Suspension{}
	return s, tx.read(suspendedKeys, id, &s)
}

// loadSuspensions brings suspensions into memory. A record that cannot be read still
// suspends its user.
func (l *loader) loadSuspensions(r store.Reader) error {
	for e, err := range r.Scan([]byte(suspendedKeys), nil) {
		id, ok := idIn(e.Key, suspendedKeys, 0)
		if !ok {
			return fmt.Errorf("the key of a suspension is damaged: %q: %w", e.Key, store.ErrDamaged)
		}
		if u, ok := l.users.find(id); ok {
			u.Suspended = readSuspension(e.Value, err)
		}
	}
	return nil
}

func readSuspension(value []byte, err error) *Suspension {
	s := &Suspension{}
	if err != nil || json.Unmarshal(value, s) != nil {
		return &Suspension{Reason: "the record of the suspension is damaged"}
	}
	return s
}

// applySuspension brings a change of a suspension into memory.
func (d *Directory) applySuspension(w store.Write) {
	idx := d.index.Load()
	id, _ := idIn(w.Key, suspendedKeys, 0)
	old, ok := idx.users.find(id)
	if !ok {
		return // the same change deletes the user
	}
	next := *old
	next.Suspended = nil
	if !w.Deleted {
		next.Suspended = readSuspension(w.Value, nil)
	}
	d.replace(idx, &next)
}
