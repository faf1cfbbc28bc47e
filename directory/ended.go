package directory

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport/store"
)

// EndsRemembered is how long the end of a person is remembered. Whoever accepts bearer
// tokens must reject those that were issued longer ago: for them it is not known
// whether their user ended since. No provider that we know issues access tokens that
// are valid for longer: Entra and Okta allow a day, Auth0 thirty.
const EndsRemembered = 31 * 24 * time.Hour

// pruned is how many expired ends each new one deletes, so that they do not pile up.
const pruned = 4

// EndedAt returns when the user with this value of the join attribute was last
// deactivated, suspended or deleted, or lost that value; zero if that never happened,
// or longer than [EndsRemembered] ago. The user's record may be gone since, and another one
// may have the value. It reads memory only.
func (d *Directory) EndedAt(key string) time.Time {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.ended[key]
}

// end remembers that callers who are joined by key are no longer who they were before
// at. Ends are never replaced: there is one record for each, in the order of time.
func (tx *Tx) end(key string, at time.Time) error {
	if key == "" || at.IsZero() {
		return nil
	}
	if err := tx.pruneEnds(); err != nil {
		return err
	}
	return tx.w.Put(endedKey(at, key), []byte("{}"))
}

// endUser remembers the end of a user who was active until now, or until they were
// deactivated.
func (tx *Tx) endUser(u *User) error {
	at := u.DeactivatedAt
	if u.Active {
		at = tx.now
	}
	return tx.end(joinKey(tx.join, u), at)
}

// pruneEnds deletes a few of the ends that are older than EndsRemembered.
func (tx *Tx) pruneEnds() error {
	var old [][]byte
	for e := range tx.r.Scan([]byte(endedKeys), nil) { // also damaged ones
		at, _, ok := parseEnded(e.Key)
		if !ok || tx.now.Sub(at) < EndsRemembered || len(old) == pruned {
			break
		}
		old = append(old, slices.Clone(e.Key))
	}
	for _, key := range old {
		if err := tx.w.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

func endedKey(at time.Time, key string) []byte {
	return append(binary.BigEndian.AppendUint64([]byte(endedKeys), uint64(at.UnixNano())), key...)
}

// parseEnded is the inverse of endedKey.
func parseEnded(stored []byte) (at time.Time, key string, ok bool) {
	rest, ok := strings.CutPrefix(string(stored), endedKeys)
	if !ok || len(rest) <= 8 {
		return time.Time{}, "", false
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64([]byte(rest[:8])))).UTC(), rest[8:], true
}

// loadEnds brings the ends into memory. The key of a record says everything, so that
// a damaged record counts too.
func (l *loader) loadEnds(r store.Reader) error {
	for e, err := range r.Scan([]byte(endedKeys), nil) {
		if endsScan(err) {
			return err
		}
		at, key, ok := parseEnded(e.Key)
		if !ok {
			return fmt.Errorf("the key of a person's end is damaged: %q: %w", e.Key, store.ErrDamaged)
		}
		if at.After(l.ended[key]) {
			l.ended[key] = at
		}
	}
	return nil
}

// applyEnd brings one record into memory.
func (d *Directory) applyEnd(w store.Write) {
	at, key, ok := parseEnded(w.Key)
	if !ok {
		return
	}
	d.touching = append(d.touching, Touched{Names: [4]string{key}})
	d.mu.Lock()
	defer d.mu.Unlock()
	switch last := d.ended[key]; {
	case !w.Deleted && at.After(last):
		d.ended[key] = at
	case w.Deleted && at.Equal(last):
		delete(d.ended, key)
	}
}
