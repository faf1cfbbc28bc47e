package grant

import (
	"errors"

	"sallyport/store"
)

// DenyAsIn brings an older copy of a store up to the reviews of a later store: the memberships that they revoked, with the
// reviews and their rows, by which a revocation can be lifted, and the keys that exports were signed with. It returns how
// many revocations it put in force. Call [Clear] afterwards, which removes the private halves of the keys.
func DenyAsIn(later store.Reader, w store.Writer) (revoked int, err error) {
	for _, prefix := range []string{prefixReview, prefixRow, prefixKey} {
		if err := store.CopyAll(w, later, []byte(prefix)); err != nil {
			return 0, err
		}
	}
	for e, err := range later.Scan([]byte(prefixRevoked), nil) {
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return revoked, err
		}
		one := &Revocation{}
		if err != nil || decode(e.Key, e.Value, one) != nil || !one.Cleared.IsZero() {
			continue
		}
		if inForce(w, e.Key) {
			continue
		}
		if err := w.Put(e.Key, e.Value); err != nil {
			return revoked, err
		}
		revoked++
	}
	return revoked, nil
}

// RevokedRows returns the rows of reviews by which memberships are revoked in a store.
func RevokedRows(r store.Reader) (rows map[RowRef]bool, err error) {
	rows = map[RowRef]bool{}
	for e, err := range r.Scan([]byte(prefixRevoked), nil) {
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return nil, err
		}
		one := &Revocation{}
		if err != nil || decode(e.Key, e.Value, one) != nil {
			continue
		}
		for _, row := range one.Rows {
			rows[row] = true
		}
	}
	return rows, nil
}

// inForce reports whether the revocation at key is in force.
func inForce(r store.Reader, key []byte) bool {
	one := &Revocation{}
	value, err := r.Get(key)
	return err == nil && decode(key, value, one) == nil && one.Cleared.IsZero()
}

// ReadOpen returns the grants in a store that have not ended, and can be read.
func ReadOpen(r store.Reader) (open []Grant, err error) {
	for e, err := range r.Scan([]byte(prefixGrant), nil) {
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return nil, err
		}
		var g Grant
		if err == nil && decode(e.Key, e.Value, &g) == nil && g.Ended.IsZero() {
			open = append(open, g)
		}
	}
	return open, nil
}
