package grant

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"sallyport/store"
)

// prefixes are those of all keys of this package that memory has the records of.
var prefixes = []string{prefixRequest, prefixGrant, prefixRevoked, prefixReview, prefixArmed}

// memory is every record of this package. Records are replaced, never altered.
type memory struct {
	requests    map[string]*Request
	undecided   map[string]*Request               // those whose state is open, by id
	made        map[string]map[string]*Request    // by user and id
	grants      map[string]map[string]*Grant      // by user and id
	revocations map[string]map[string]*Revocation // by user and group
	reviews     map[string]*Review                // without their rows
	codes       map[string]*armedCode             // break-glass codes, by user
}

func newMemory() memory {
	return memory{requests: map[string]*Request{}, undecided: map[string]*Request{}, made: map[string]map[string]*Request{}, grants: map[string]map[string]*Grant{},
		revocations: map[string]map[string]*Revocation{}, reviews: map[string]*Review{}, codes: map[string]*armedCode{}}
}

// load reads every record and replaces memory. Damaged requests and grants give nobody
// access. A damaged revocation counts for every membership of its user.
func (g *Grants) load(ctx context.Context) (revision store.Revision, err error) {
	loaded, users := newMemory(), map[string]bool{}
	err = g.store.View(ctx, func(r store.Reader) (err error) {
		revision = r.Revision()
		users, err = loaded.read(r)
		return err
	})
	if err != nil {
		return 0, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.memory = loaded
	holdings := map[string]*Holdings{}
	g.holdings.Store(&holdings)
	g.renew(users)
	return revision, nil
}

// within calls fn with every record as the transaction of w has them: with memory, if that has what other replicas wrote
// before, or else with what it reads anew. fn may count there.
func (g *Grants) within(w store.Writer, fn func(*memory) error) error {
	if _, shared := g.store.(store.Leaser); !shared || g.mirror.Revision()+1 >= w.Revision() {
		g.mu.Lock()
		defer g.mu.Unlock()
		return fn(&g.memory)
	}
	current := newMemory()
	if _, err := current.read(w); err != nil {
		return err
	}
	return fn(&current)
}

// read reads every record. It returns the users whose holdings there are.
func (m *memory) read(r store.Reader) (users map[string]bool, err error) {
	users = map[string]bool{}
	for _, prefix := range prefixes {
		for e, err := range r.Scan([]byte(prefix), nil) {
			if err != nil && !errors.Is(err, store.ErrDamaged) {
				return nil, err
			}
			if user := m.apply(store.Write{Key: e.Key, Value: e.Value}); user != "" { // the value of a damaged record is none
				users[user] = true
			}
		}
	}
	return users, nil
}

// apply brings one change of the store into memory and reports whether decisions may
// depend on it.
func (g *Grants) apply(change store.Change) (changed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	users := map[string]bool{}
	for _, w := range change.Writes {
		if user := g.memory.apply(w); user != "" {
			users[user] = true
		}
	}
	g.renew(users)
	g.touched.Add(slices.Collect(maps.Keys(users))...)
	return len(users) > 0
}

// apply brings one write into memory. It returns the user whose holdings the write changes,
// or "".
func (m *memory) apply(w store.Write) (user string) {
	key := string(w.Key)
	switch {
	case strings.HasPrefix(key, prefixRequest):
		m.applyRequest(strings.TrimPrefix(key, prefixRequest), w)
	case strings.HasPrefix(key, prefixGrant):
		user, id, _ := strings.Cut(strings.TrimPrefix(key, prefixGrant), "/")
		applyTo(under(m.grants, user), id, w, &Grant{})
		return user
	case strings.HasPrefix(key, prefixRevoked):
		user, group, _ := strings.Cut(strings.TrimPrefix(key, prefixRevoked), "/")
		if !applyTo(under(m.revocations, user), group, w, &Revocation{}) && !w.Deleted {
			m.revocations[user][group] = &Revocation{User: user, Group: group} // without a key: it counts for every group
		}
		return user
	case strings.HasPrefix(key, prefixArmed):
		applyTo(m.codes, strings.TrimPrefix(key, prefixArmed), w, &armedCode{})
	case strings.HasPrefix(key, prefixReview):
		applyTo(m.reviews, strings.TrimPrefix(key, prefixReview), w, &Review{})
	}
	return ""
}

func (m *memory) applyRequest(id string, w store.Write) {
	if old := m.requests[id]; old != nil {
		delete(m.undecided, id)
		if delete(m.made[old.Person.ID], id); len(m.made[old.Person.ID]) == 0 {
			delete(m.made, old.Person.ID)
		}
	}
	if !applyTo(m.requests, id, w, &Request{}) {
		return
	}
	r := m.requests[id]
	under(m.made, r.Person.ID)[id] = r
	if r.State == StateOpen {
		m.undecided[id] = r
	}
}

// applyTo replaces or deletes the record id. It deletes a record that cannot be read, and
// reports whether there is one then.
func applyTo[T any, P interface {
	*T
	keyed
}](records map[string]P, id string, w store.Write, record P) bool {
	delete(records, id)
	if w.Deleted || decode(w.Key, w.Value, record) != nil {
		return false
	}
	records[id] = record
	return true
}

// under returns the map of a user in all, which it makes if there is none.
func under[T any](all map[string]map[string]T, user string) map[string]T {
	if all[user] == nil {
		all[user] = map[string]T{}
	}
	return all[user]
}

// renew replaces what decisions read of users.
func (g *Grants) renew(users map[string]bool) {
	if len(users) == 0 {
		return
	}
	all := maps.Clone(*g.holdings.Load())
	for user := range users {
		if h := g.memory.holdingsOf(user); h != nil {
			all[user] = h
		} else {
			delete(all, user)
		}
	}
	g.holdings.Store(&all)
}

// holdingsOf returns what decisions read of a user: the grants of the user's newest epoch.
// An older one is never valid again.
func (m *memory) holdingsOf(user string) *Holdings {
	h := &Holdings{until: map[string]time.Time{}, revoked: map[string]bool{}}
	for _, grant := range m.grants[user] {
		h.epoch = max(h.epoch, grant.Person.Epoch)
	}
	for _, grant := range m.grants[user] {
		if grant.Person.Epoch == h.epoch && grant.Ended.IsZero() && grant.Until.After(h.until[grant.Policy]) {
			h.until[grant.Policy] = grant.Until
		}
	}
	for _, revocation := range m.revocations[user] {
		if revocation.Cleared.IsZero() {
			h.revoked[revocation.Key], h.revoked[revocation.Group] = true, true
		}
	}
	if len(h.revoked) > 0 {
		h.former = &Holdings{revoked: h.revoked}
	}
	if len(h.until) == 0 && len(h.revoked) == 0 {
		return nil
	}
	return h
}
