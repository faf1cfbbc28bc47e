package directory

import (
	"encoding/binary"
	"errors"
	"iter"
	"time"
)

// Held is a deactivation that was asked for and waits for a human.
type Held struct {
	ID       string    `json:"id"` // the user's
	UserName string    `json:"userName"`
	Since    time.Time `json:"since"`             // when it was first asked for
	Rejected time.Time `json:"rejected,omitzero"` // when a human said no; zero: nobody decided yet
}

// Waiting says that no human decided yet.
func (h Held) Waiting() bool { return h.Rejected.IsZero() }

// PutHeld keeps h until it is decided.
func (tx *Tx) PutHeld(h Held) error { return tx.write(heldKeys, h.ID, h) }

// Held is what waits for a decision about a user, or ErrNotFound.
func (tx *Tx) Held(user string) (Held, error) {
	h := Held{}
	return h, tx.read(heldKeys, user, &h)
}

// DeleteHeld forgets what is held of a user; nothing held is no error.
func (tx *Tx) DeleteHeld(user string) error {
	if _, err := tx.Held(user); errors.Is(err, ErrNotFound) {
		return nil
	}
	return tx.remove(heldKeys, user)
}

// AllHeld yields everything held, in the order of users' ids.
func (tx *Tx) AllHeld() iter.Seq2[Held, error] { return scan[Held](tx, heldKeys, "") }

// departureKey is when a user was deactivated.
func departureKey(at time.Time, id string) []byte {
	return append(binary.BigEndian.AppendUint64([]byte(departureKeys), uint64(at.UnixNano())), id...)
}

// Departures counts the deactivations noted at or after since, up to limit, and
// says when the first of them was.
func (tx *Tx) Departures(since time.Time, limit int) (n int, first time.Time, err error) {
	for e, err := range tx.r.Scan([]byte(departureKeys), departureKey(since, "")) {
		if err != nil {
			return n, first, err
		}
		if n == 0 {
			first = time.Unix(0, int64(binary.BigEndian.Uint64(e.Key[len(departureKeys):]))).UTC()
		}
		if n++; n >= limit {
			break
		}
	}
	return n, first, nil
}

// NoteDeparture notes that a user is deactivated now, and forgets a few notes
// from before since.
func (tx *Tx) NoteDeparture(id string, since time.Time) error {
	var old [][]byte
	for e := range tx.r.Scan([]byte(departureKeys), nil) {
		if len(old) == 4 || string(e.Key) >= string(departureKey(since, "")) {
			break
		}
		old = append(old, e.Key)
	}
	for _, key := range old {
		if err := tx.w.Delete(key); err != nil {
			return err
		}
	}
	return tx.w.Put(departureKey(tx.now, id), nil)
}
