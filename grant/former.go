package grant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"sallyport/store"
)

// Former is a revocation that is not in force any more. It is kept for questions about the
// time when it was.
type Former struct {
	Revocation
	Ended time.Time `json:"ended"` // when the identity provider removed the membership, or the row was kept after all
}

func (f *Former) key() []byte {
	return fmt.Appendf(nil, "%s%s/%s/%019d", prefixFormer, f.User, f.Group, f.Since.UnixNano())
}

// end deletes a revocation and remembers it.
func (r *Revocation) end(w store.Writer, at time.Time) error {
	if err := w.Delete(r.key()); err != nil {
		return err
	}
	return put(w, &Former{*r, at})
}

// At returns what [Grants.Of] would have returned at a time t, for a user of the epoch that
// the user had then. It reads one revision of the store, not memory: what ends meanwhile is
// in force there or has ended, and never neither. A damaged revocation is an error, since
// the answer would be a guess; a damaged grant gave nobody access.
func (g *Grants) At(ctx context.Context, t time.Time) (func(user string, epoch uint64) *Holdings, error) {
	held := pastHoldings{until: map[Person]map[string]time.Time{}, revoked: map[string]map[string]bool{}}
	if g == nil {
		return held.of, nil
	}
	err := g.store.View(ctx, func(r store.Reader) error {
		return errors.Join(held.addGrants(r, t), held.addRevocations(r, t), held.addFormer(r, t))
	})
	if errors.Is(err, store.ErrDamaged) {
		return nil, fmt.Errorf("it is not known which grants and revocations were in force: %w; `sallyport store check` tells of every damaged record", err)
	}
	if err != nil {
		return nil, fmt.Errorf("reading which grants and revocations were in force: %w", err)
	}
	return held.of, nil
}

// pastHoldings are the holdings of all users at one time.
type pastHoldings struct {
	until   map[Person]map[string]time.Time // by id and epoch alone
	revoked map[string]map[string]bool      // by user
}

func (p *pastHoldings) of(user string, epoch uint64) *Holdings {
	h := &Holdings{epoch: epoch, until: p.until[Person{ID: user, Epoch: epoch}], revoked: p.revoked[user]}
	if h.until == nil && h.revoked == nil {
		return nil
	}
	return h
}

// addGrants adds the grants that were open at t.
func (p *pastHoldings) addGrants(r store.Reader, t time.Time) error {
	for e, err := range r.Scan([]byte(prefixGrant), nil) {
		granted := &Grant{}
		switch {
		case err != nil && !errors.Is(err, store.ErrDamaged):
			return err
		case err != nil || decode(e.Key, e.Value, granted) != nil || !granted.wasOpenAt(t):
			continue
		}
		person := Person{ID: granted.Person.ID, Epoch: granted.Person.Epoch}
		if p.until[person] == nil {
			p.until[person] = map[string]time.Time{}
		}
		if end := granted.End(); end.After(p.until[person][granted.Policy]) {
			p.until[person][granted.Policy] = end
		}
	}
	return nil
}

// addRevocations adds the revocations that were in force at t and have not ended, or have
// been cleared since.
func (p *pastHoldings) addRevocations(r store.Reader, t time.Time) error {
	for e, err := range r.Scan([]byte(prefixRevoked), nil) {
		one := &Revocation{}
		if err := cmp.Or(err, decode(e.Key, e.Value, one)); err != nil {
			return fmt.Errorf("%s: %w", e.Key, err)
		}
		if one.Cleared.IsZero() || one.Cleared.After(t) {
			p.addRevocation(one, t)
		}
	}
	return nil
}

// addFormer adds the revocations that were in force at t and have ended.
func (p *pastHoldings) addFormer(r store.Reader, t time.Time) error {
	for e, err := range r.Scan([]byte(prefixFormer), nil) {
		f := &Former{}
		if err := cmp.Or(err, decode(e.Key, e.Value, f)); err != nil {
			return fmt.Errorf("%s: %w", e.Key, err)
		}
		if f.Ended.After(t) {
			p.addRevocation(&f.Revocation, t)
		}
	}
	return nil
}

func (p *pastHoldings) addRevocation(r *Revocation, t time.Time) {
	if !r.Since.After(t) {
		revoked := under(p.revoked, r.User)
		revoked[r.Key], revoked[r.Group] = true, true
	}
}

// pruneFormer deletes revocations that ended longer ago than [Keep], a batch of them.
func pruneFormer(w store.Writer, now time.Time) error {
	var old [][]byte
	for e, err := range w.Scan([]byte(prefixFormer), nil) {
		f := &Former{}
		if err != nil && !errors.Is(err, store.ErrDamaged) {
			return err
		}
		if err == nil && decode(e.Key, e.Value, f) == nil && now.Sub(f.Ended) > Keep && len(old) < sweepBatch {
			old = append(old, []byte(strings.Clone(string(e.Key))))
		}
	}
	for _, key := range old {
		if err := w.Delete(key); err != nil {
			return err
		}
	}
	return nil
}
