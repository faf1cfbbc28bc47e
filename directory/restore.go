package directory

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"sallyport/store"
)

// DenyAsIn brings an older copy of a store up to what takes access away in a later store, of which later reads the
// directory: suspensions, also of users who are deleted, and when people ended. It returns how many users it suspended. What
// an operator lifted since stays as it is in the copy.
func (tx *Tx) DenyAsIn(later *Tx) (suspended int, err error) {
	for e, err := range later.r.Scan([]byte(suspendedKeys), nil) {
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return suspended, err
		}
		id, _ := idIn(e.Key, suspendedKeys, 0)
		changed, err := tx.suspendAs(later, id, readSuspension(e.Value, err))
		if err != nil {
			return suspended, fmt.Errorf("suspending the user %s: %w", id, err)
		}
		if changed {
			suspended++
		}
	}
	for a, err := range later.Absent() {
		if err != nil {
			return suspended, fmt.Errorf("reading the suspensions of deleted users: %w", err)
		}
		n, err := tx.suspendAbsent(&a)
		if suspended += n; err != nil {
			return suspended, err
		}
	}
	return suspended, tx.endAsIn(later)
}

// suspendAs suspends a user with a suspension of a later store. A user whom this one lacks is suspended for the day that
// they are created again.
func (tx *Tx) suspendAs(later *Tx, id string, s *Suspension) (changed bool, err error) {
	_, err = tx.User(id)
	if errors.Is(err, ErrNotFound) {
		u, err := later.User(id)
		if err != nil { // nothing is known of them by which they could be found again
			return false, nil
		}
		a := Absent{u.ID, u.UserName, u.ExternalID, *s}
		n, err := tx.suspendAbsent(&a)
		return n > 0, err
	}
	if err != nil {
		return false, err
	}
	if _, err := tx.get(suspendedKeys, id); !errors.Is(err, ErrNotFound) {
		return false, nil // also one whose record is damaged counts
	}
	return true, errors.Join(tx.Suspend(id, s.Reason), tx.write(suspendedKeys, id, s))
}

// suspendAbsent keeps the suspension of a user who is deleted in a later store, and suspends those who may be the same
// person in this one. It returns how many.
func (tx *Tx) suspendAbsent(a *Absent) (n int, err error) {
	found, err := tx.UsersByExternalID(a.ExternalID)
	if err != nil || a.ExternalID == "" {
		found = nil
	}
	named, nameErr := tx.UserByName(a.UserName)
	switch {
	case nameErr == nil:
		found = append(found, named)
	case errors.Is(nameErr, ErrNotFound):
		nameErr = nil
	}
	if err := errors.Join(err, nameErr); err != nil {
		return 0, err
	}
	var ids []string
	for _, u := range found {
		if a.Is(&u) && !slices.Contains(ids, u.ID) {
			ids = append(ids, u.ID)
		}
	}
	for _, id := range ids {
		if _, err := tx.get(suspendedKeys, id); !errors.Is(err, ErrNotFound) {
			continue
		}
		if err := errors.Join(tx.Suspend(id, a.Reason), tx.write(suspendedKeys, id, a.Suspension)); err != nil {
			return n, err
		}
		n++
	}
	if _, err := tx.User(a.ID); err == nil { // who is suspended themselves
		return n, nil
	}
	return n, tx.write(absentKeys, a.ID, a)
}

// endAsIn remembers the ends of people that a later store remembers. The key of an end says everything.
func (tx *Tx) endAsIn(later *Tx) error {
	for e, err := range later.r.Scan([]byte(endedKeys), nil) {
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return err
		}
		if _, _, ok := parseEnded(e.Key); !ok {
			continue
		}
		if err := tx.w.Put(e.Key, []byte("{}")); err != nil {
			return err
		}
	}
	return nil
}

// EndAt remembers that a user ended at a time after an older copy of the store was made, whatever has become of them since:
// what was issued to them before that time is not valid again.
func (tx *Tx) EndAt(id string, at time.Time) error {
	u, err := tx.User(id)
	if err != nil {
		return err
	}
	return tx.end(joinKey(tx.join, &u), at)
}

// Deactivate makes a user inactive who is active, as a push that says so does. It reports whether the user was active.
func (tx *Tx) Deactivate(id string) (bool, error) {
	u, err := tx.User(id)
	if err != nil || !u.Active {
		return false, err
	}
	document := map[string]json.RawMessage{}
	if len(u.Document) > 0 {
		if err := json.Unmarshal(u.Document, &document); err != nil {
			return false, fmt.Errorf("reading the document of %s: %w", u.UserName, err)
		}
	}
	document["active"] = json.RawMessage("false")
	if u.Document, err = json.Marshal(document); err != nil {
		return false, fmt.Errorf("encoding the document of %s: %w", u.UserName, err)
	}
	u.Active = false
	return true, tx.PutUser(&u)
}
