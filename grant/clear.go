package grant

import (
	"time"

	"sallyport/store"
)

// Clear ends every open request and grant of a copy of the store. Call it before serving
// from the copy: otherwise what was revoked since the copy was made would be open again.
// Revocations stay, since they only take access away, and reviews do. Nothing can be signed
// with the keys of a copy.
func Clear(w store.Writer, now time.Time) error {
	const by = "the store is a copy of an earlier one"
	open := newMemory()
	for _, prefix := range []string{prefixRequest, prefixGrant} {
		for e := range w.Scan([]byte(prefix), nil) {
			open.apply(store.Write{Key: e.Key, Value: e.Value}) // without damaged ones, which give nobody access
		}
	}
	for _, r := range open.requests {
		if r.State != StateOpen {
			continue
		}
		r.State, r.Decided, r.By = StateExpired, now, by
		if err := put(w, r); err != nil {
			return err
		}
	}
	for _, grants := range open.grants {
		for _, g := range grants {
			if !g.Ended.IsZero() {
				continue
			}
			g.Ended, g.EndedBy = now, by // also if its time is over by this clock, which may be set back
			if now.After(g.Until) {
				g.Ended, g.EndedBy = g.Until, ""
			}
			if err := put(w, g); err != nil {
				return err
			}
		}
	}
	if err := store.DeleteAll(w, []byte(prefixArmed)); err != nil {
		return err
	}
	return clearKeys(w)
}
