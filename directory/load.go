package directory

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"

	"sallyport/store"
)

// load reads the whole store into fresh memory and then puts it in place.
func (d *Directory) load(ctx context.Context) error {
	l := &loading{users: newTable(), groups: map[string]*Group{}, ranks: map[[idSize]byte]rank{}}
	rest := make(chan verdict, 1)
	go func() { rest <- d.verify(ctx) }()
	err := d.store.View(ctx, func(r store.Reader) error {
		l.revision = r.Revision()
		return errors.Join(l.loadGroups(r), l.loadUsers(r), l.loadMembers(r), l.loadSuspended(r))
	})
	verified := <-rest
	if err := errors.Join(err, verified.err); err != nil {
		return fmt.Errorf("loading users and groups: %w; restore a backup", err)
	}
	l.distrust(verified.members)
	keys := newKeys()
	for u := range l.users.all {
		keys.add(d.keyOf(u), u, l.users)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.index.Store(&index{l.users, keys})
	d.groups, d.applied = l.groups, l.revision
	return nil
}

// verdict is what verify found: the users whose edges are damaged, and anything worse.
type verdict struct {
	members []string
	err     error
}

// verify reads what memory does not need, so that damage is known before anything
// is decided or changed by it. An edge that cannot be read could not be removed.
func (d *Directory) verify(ctx context.Context) (v verdict) {
	v.err = d.store.View(ctx, func(r store.Reader) error {
		for _, prefix := range []string{nameKeys, externalKeys, mailKeys, displayKeys, groupNames, groupExts, countKeys, recordKeys} {
			for e, err := range r.Scan([]byte(prefix), nil) {
				if err != nil {
					return fmt.Errorf("the record at %q: %w", e.Key, err)
				}
			}
		}
		for e, err := range r.Scan([]byte(memberKeys), nil) {
			if err == nil {
				continue
			}
			id, ok := idIn(e.Key, memberKeys, 1)
			if !ok {
				return fmt.Errorf("a membership's key is damaged: %q: %w", e.Key, err)
			}
			v.members = append(v.members, id)
		}
		return nil
	})
	return v
}

// distrust marks users of whom a record is damaged.
func (l *loading) distrust(ids []string) {
	for _, id := range ids {
		if u, ok := l.users.find(id); ok {
			u.Damaged = true
		}
	}
}

// loading is memory in the making.
type loading struct {
	users    *table
	groups   map[string]*Group
	ranks    map[[idSize]byte]rank // by the bytes of the id, as they stand in edges
	revision store.Revision
}

// rank is a group with its place in the order of a user's groups: two million
// edges are sorted by number, not by text.
type rank struct {
	group *Group
	place int
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
	l.rank()
	return nil
}

// rank gives every group its place.
func (l *loading) rank() {
	all := slices.Collect(maps.Values(l.groups))
	sortGroups(all)
	for place, g := range all {
		var id [idSize]byte
		if _, err := hex.Decode(id[:], []byte(g.ID)); err == nil {
			l.ranks[id] = rank{g, place}
		}
	}
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
	var member [idSize]byte
	var groups []rank
	damaged := false
	for e, err := range r.Scan([]byte(memberOfKeys), nil) {
		edge := e.Key[len(memberOfKeys):]
		if len(edge) != 2*idSize {
			return fmt.Errorf("a membership's key is damaged: %q: %w", e.Key, store.ErrDamaged)
		}
		if [idSize]byte(edge) != member {
			l.enrol(member, groups, damaged)
			member, groups, damaged = [idSize]byte(edge), groups[:0], false
		}
		g, known := l.ranks[[idSize]byte(edge[idSize:])]
		if err != nil || !known {
			damaged = true
			continue
		}
		groups = append(groups, g)
	}
	l.enrol(member, groups, damaged)
	return nil
}

// enrol makes groups those of a user; edges of nested groups are nobody's.
func (l *loading) enrol(member [idSize]byte, groups []rank, damaged bool) {
	u, ok := l.users.find(hex.EncodeToString(member[:]))
	if !ok {
		return
	}
	slices.SortFunc(groups, func(a, b rank) int { return a.place - b.place })
	sorted := make([]*Group, len(groups))
	for i, g := range groups {
		sorted[i] = g.group
	}
	u.Damaged = u.Damaged || damaged
	u.join(sorted)
}

// join makes sorted groups the user's, with the parallel slices that decisions
// read. Only for a user nobody else has yet.
func (u *User) join(groups []*Group) {
	u.groups = groups
	u.GroupIDs, u.GroupNames = make([]string, len(groups)), make([]string, len(groups))
	for i, g := range groups {
		u.GroupIDs[i], u.GroupNames[i] = g.ExternalID, g.DisplayName
		u.Damaged = u.Damaged || g.damaged
	}
}
