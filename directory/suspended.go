package directory

import (
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"sallyport/store"
)

// Suspension is an operator's decision to deny a user everything, whatever the
// identity provider pushes. It is of the person, not of the record: when the user is
// deleted and somebody with the same externalId or userName is created, they are
// suspended too.
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
	store.Urgent(tx.w)
	u.Epoch, u.DeactivatedAt = u.Epoch+1, tx.now
	if err := tx.end(joinKey(tx.join, &u), tx.now); err != nil {
		return err
	}
	return errors.Join(tx.write(userKeys, id, &u), tx.write(suspendedKeys, id, Suspension{tx.now, reason}))
}

// Unsuspend ends the suspension of a user, or of one who is deleted, or returns
// ErrNotFound.
func (tx *Tx) Unsuspend(id string) error {
	u, err := tx.User(id)
	if errors.Is(err, ErrNotFound) {
		if err := tx.read(absentKeys, id, &Absent{}); err != nil {
			return err
		}
		return tx.remove(absentKeys, id)
	}
	if err != nil {
		return err
	}
	if _, err := tx.Suspension(id); err != nil {
		return err
	}
	return errors.Join(tx.remove(suspendedKeys, id), tx.forgetAbsent(func(a *Absent) bool { return a.Is(&u) }))
}

// Absent is the suspension of a user who is deleted.
type Absent struct {
	ID         string `json:"id"`
	UserName   string `json:"userName"`
	ExternalID string `json:"externalId,omitempty"`
	Suspension
}

// Is reports whether u may be the same person. One name that is the same is enough:
// whoever is suspended gets in again by an operator's word alone.
func (a *Absent) Is(u *User) bool {
	return a.ExternalID != "" && a.ExternalID == u.ExternalID || Fold(a.UserName) == Fold(u.UserName)
}

// Absent yields the suspensions of users who are deleted.
func (tx *Tx) Absent() iter.Seq2[Absent, error] {
	return scan(tx, absentKeys, "", func(record []byte, a *Absent) error { return json.Unmarshal(record, a) })
}

// keepSuspension keeps the suspension of a user who is deleted, if there is one.
func (tx *Tx) keepSuspension(u *User) error {
	value, err := tx.get(suspendedKeys, u.ID)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil && !errors.Is(err, store.ErrDamaged):
		return err
	}
	s := *readSuspension(value, err)
	same := func(a *Absent) bool { return a.ExternalID == u.ExternalID && Fold(a.UserName) == Fold(u.UserName) }
	return errors.Join(tx.forgetAbsent(same), tx.remove(suspendedKeys, u.ID), tx.write(absentKeys, u.ID, Absent{u.ID, u.UserName, u.ExternalID, s}))
}

// forgetAbsent ends the suspensions of deleted users for whom is reports true.
func (tx *Tx) forgetAbsent(is func(*Absent) bool) error {
	var ids []string
	for a, err := range tx.Absent() {
		if err != nil {
			return err
		}
		if is(&a) {
			ids = append(ids, a.ID)
		}
	}
	for _, id := range ids {
		if err := tx.remove(absentKeys, id); err != nil {
			return err
		}
	}
	return nil
}

// suspendAgain suspends u, who is about to be written, if a suspended person who was
// deleted had one of the names that u gets.
func (tx *Tx) suspendAgain(old, u *User) error {
	if old.ID != "" && old.ExternalID == u.ExternalID && Fold(old.UserName) == Fold(u.UserName) {
		return nil
	}
	absent, err := tx.absentAs(u)
	if absent == nil {
		return err
	}
	if _, err := tx.Suspension(u.ID); !errors.Is(err, ErrNotFound) {
		return err
	}
	u.Epoch, u.DeactivatedAt = u.Epoch+1, tx.now
	return errors.Join(tx.end(joinKey(tx.join, u), tx.now), tx.write(suspendedKeys, u.ID, absent.Suspension))
}

// absentAs returns the suspension of a deleted user who may be the same person as u; nil
// if there is none.
func (tx *Tx) absentAs(u *User) (*Absent, error) {
	for a, err := range tx.Absent() {
		if err != nil {
			return nil, err
		}
		if a.Is(u) {
			return &a, nil
		}
	}
	return nil, nil
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
		if endsScan(err) {
			return err
		}
		id, ok := idIn(e.Key, suspendedKeys, 0)
		if !ok {
			return fmt.Errorf("the key of a suspension is damaged: %q: %w", e.Key, store.ErrDamaged)
		}
		l.sum(scanned{e, err})
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
