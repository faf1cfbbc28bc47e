package directory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"

	"sallyport/store"
)

// load reads the whole store into fresh memory and then puts it in place.
func (d *Directory) load(ctx context.Context) error {
	l := &loading{users: newTable(), groups: map[string]*Group{}, tokens: map[[32]byte]Token{}}
	err := d.store.View(ctx, func(r store.Reader) error {
		l.revision = r.Revision()
		return errors.Join(l.loadGroups(r), l.loadUsers(r), l.loadMembers(r), l.loadTokens(r))
	})
	if err != nil {
		return fmt.Errorf("loading users and groups: %w", err)
	}
	keys := newKeys()
	for u := range l.users.all {
		keys.add(d.keyOf(u), u, l.users)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.index.Store(&index{l.users, keys})
	d.groups, d.tokens, d.applied = l.groups, l.tokens, l.revision
	return nil
}

// loading is memory in the making.
type loading struct {
	users    *table
	groups   map[string]*Group
	tokens   map[[32]byte]Token
	revision store.Revision
}

func (l *loading) loadGroups(r store.Reader) error {
	for e, err := range r.Scan([]byte(groupKeys), nil) {
		id, ok := idIn(e.Key, groupKeys, 0)
		if !ok {
			return fmt.Errorf("a group's key is damaged: %q: %w", e.Key, store.ErrDamaged)
		}
		g := &Group{}
		if err == nil {
			err = json.Unmarshal(e.Value, g)
		}
		if err != nil { // its members are as doubtful as the group
			g = &Group{ID: id, damaged: true}
		}
		g.Document = nil // memory needs none of it
		l.groups[id] = g
	}
	return nil
}

// loadUsers decodes on every processor: decoding is most of the time a start takes.
func (l *loading) loadUsers(r store.Reader) error {
	type raw struct {
		id    string
		value []byte
		err   error
	}
	work := make(chan []raw, 4)
	var all sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for batch := range work {
				for _, one := range batch {
					l.users.put(newUser(one.id, one.value, one.err))
				}
			}
		})
	}
	var batch []raw
	var fault error
	for e, err := range r.Scan([]byte(userKeys), nil) {
		id, ok := idIn(e.Key, userKeys, 0)
		if !ok {
			fault = fmt.Errorf("a user's key is damaged: %q: %w", e.Key, store.ErrDamaged)
			break
		}
		if batch = append(batch, raw{id, e.Value, err}); len(batch) == 512 {
			work <- batch
			batch = nil
		}
	}
	work <- batch
	close(work)
	all.Wait()
	return fault
}

// newUser decodes a user's record; one that cannot be read is a damaged user.
func newUser(id string, value []byte, err error) *User {
	u := &User{}
	if err == nil {
		err = json.Unmarshal(value, u)
	}
	if err != nil || u.ID != id {
		u = &User{ID: id, memory: memory{Damaged: true}}
	}
	u.attributes = &attributes{}
	return u
}

// loadMembers reads the mirror edges, which come sorted by user.
func (l *loading) loadMembers(r store.Reader) error {
	var member string
	var groups []*Group
	damaged := false
	flush := func() {
		if u, ok := l.users.find(member); ok {
			u.Damaged = u.Damaged || damaged
			u.join(groups)
		}
		groups, damaged = groups[:0], false
	}
	for e, err := range r.Scan([]byte(memberOfKeys), nil) {
		who, group, ok := edgeOf(e.Key)
		if !ok {
			return fmt.Errorf("a membership's key is damaged: %q: %w", e.Key, store.ErrDamaged)
		}
		if who != member {
			flush()
			member = who
		}
		g, known := l.groups[group]
		if err != nil || !known {
			damaged = true
			continue
		}
		groups = append(groups, g)
	}
	flush()
	return nil
}

func (l *loading) loadTokens(r store.Reader) error {
	for e, err := range r.Scan([]byte(tokenKeys), nil) {
		t := Token{}
		if err == nil {
			err = json.Unmarshal(e.Value, &t)
		}
		if err == nil { // a damaged token opens nothing
			l.tokens[t.Digest] = t
		}
	}
	return nil
}

// join makes groups the user's, with the parallel slices that decisions read.
// Only for a user nobody else has yet.
func (u *User) join(groups []*Group) {
	u.groups = append([]*Group(nil), groups...)
	sortGroups(u.groups)
	u.GroupIDs, u.GroupNames = make([]string, len(groups)), make([]string, len(groups))
	for i, g := range u.groups {
		u.GroupIDs[i], u.GroupNames[i] = g.ExternalID, g.DisplayName
		u.Damaged = u.Damaged || g.damaged
	}
}
