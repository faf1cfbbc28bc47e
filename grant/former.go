package grant

import (
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
// the user had then.
func (g *Grants) At(ctx context.Context, t time.Time) (func(user string, epoch uint64) *Holdings, error) {
	held := pastHoldings{until: map[Person]map[string]time.Time{}, revoked: map[string]map[string]bool{}}
	if g == nil {
		return held.of, nil
	}
	if err := g.store.View(ctx, func(r store.Reader) error { return held.addFormer(r, t) }); err != nil {
		return nil, fmt.Errorf("reading revocations that ended: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, grants := range g.memory.grants {
		for _, granted := range grants {
			held.addGrant(granted, t)
		}
	}
	for _, revocations := range g.memory.revocations {
		for _, r := range revocations {
			if r.Cleared.IsZero() || r.Cleared.After(t) {
				held.addRevocation(r, t)
			}
		}
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

func (p *pastHoldings) addGrant(granted *Grant, t time.Time) {
	if !granted.OpenAt(t) {
		return
	}
	person := Person{ID: granted.Person.ID, Epoch: granted.Person.Epoch}
	if p.until[person] == nil {
		p.until[person] = map[string]time.Time{}
	}
	if end := granted.End(); end.After(p.until[person][granted.Policy]) {
		p.until[person][granted.Policy] = end
	}
}

func (p *pastHoldings) addRevocation(r *Revocation, t time.Time) {
	if !r.Since.After(t) {
		revoked := under(p.revoked, r.User)
		revoked[r.Key], revoked[r.Group] = true, true
	}
}

// addFormer adds the revocations that have ended after t. It does not know which time a
// damaged record is about: the answer would be a guess.
func (p *pastHoldings) addFormer(r store.Reader, t time.Time) error {
	for e, err := range r.Scan([]byte(prefixFormer), nil) {
		if err != nil {
			return fmt.Errorf("%s: %w", e.Key, err)
		}
		f := &Former{}
		if err := decode(e.Key, e.Value, f); err != nil {
			return err
		}
		if f.Ended.After(t) {
			p.addRevocation(&f.Revocation, t)
		}
	}
	return nil
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
