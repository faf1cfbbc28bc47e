package directory

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sallyport/store"
)

// Suspension is an operator's decision to deny a user everything, whatever the
// identity provider pushes. It ends when the user is deleted: a user who is made
// again has another id.
type Suspension struct {
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

// Suspend denies a user everything until Unsuspend. Sessions begun before are
// never valid again. Suspending again changes the reason.
func (tx *Tx) Suspend(id, reason string) error {
	u, err := tx.User(id)
	if err != nil {
		return err
	}
	u.Epoch, u.DeactivatedAt = u.Epoch+1, tx.now
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

// loadSuspensions brings suspensions into memory. One that cannot be read still
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

// applySuspension replaces the user by one who is, or is no longer, suspended.
func (d *Directory) applySuspension(w store.Write) {
	idx := d.index.Load()
	id, _ := idIn(w.Key, suspendedKeys, 0)
	old, ok := idx.users.find(id)
	if !ok {
		return // deleted in the same change
	}
	next := *old
	next.Suspended = nil
	if !w.Deleted {
		next.Suspended = readSuspension(w.Value, nil)
	}
	d.replace(idx, &next)
}
