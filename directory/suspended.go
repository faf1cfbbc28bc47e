package directory

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sallyport/store"
)

// Suspension is an operator's word that a user may not come in, whatever the
// identity provider says of them. It goes with the user: who is deleted and made
// again has another id.
type Suspension struct {
	Since  time.Time `json:"since"`
	Reason string    `json:"reason"`
}

// Suspend shuts a user out until Unsuspend. Sessions begun before are dead for
// ever. Suspending again changes the reason.
func (tx *Tx) Suspend(id, reason string) error {
	u, err := tx.User(id)
	if err != nil {
		return err
	}
	u.Epoch, u.Ended = u.Epoch+1, tx.now
	return errors.Join(tx.write(userKeys, id, &u), tx.write(suspendedKeys, id, Suspension{tx.now, reason}))
}

// Unsuspend takes the word back, or gives ErrNotFound.
func (tx *Tx) Unsuspend(id string) error {
	if _, err := tx.Suspension(id); err != nil {
		return err
	}
	return tx.remove(suspendedKeys, id)
}

// Suspension is the word about a user, or ErrNotFound.
func (tx *Tx) Suspension(id string) (Suspension, error) {
	s := Suspension{}
	return s, tx.read(suspendedKeys, id, &s)
}

// loadSuspended puts the words about users into memory. One that cannot be read
// still shuts its user out.
func (l *loading) loadSuspended(r store.Reader) error {
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

// applySuspension replaces the user with one who is suspended, or no more.
func (d *Directory) applySuspension(w store.Write) {
	at := d.index.Load()
	id, _ := idIn(w.Key, suspendedKeys, 0)
	old, ok := at.users.find(id)
	if !ok {
		return // deleted in the same change
	}
	next := *old
	next.Suspended = nil
	if !w.Deleted {
		next.Suspended = readSuspension(w.Value, nil)
	}
	d.place(at, &next)
}
