package directory

import (
	"hash/maphash"
	"sync"
)

const shards = 256

// table finds users by id. It is split so that a reader waits at most for the
// one user being replaced, never for a large change.
type table struct {
	seed   maphash.Seed
	shards [shards]struct {
		mu    sync.RWMutex // guards users
		users map[string]*User
	}
}

func newTable() *table {
	t := &table{seed: maphash.MakeSeed()}
	for i := range t.shards {
		t.shards[i].users = map[string]*User{}
	}
	return t
}

func (t *table) find(id string) (*User, bool) {
	s := &t.shards[maphash.String(t.seed, id)%shards]
	s.mu.RLock()
	u, ok := s.users[id]
	s.mu.RUnlock()
	return u, ok
}

func (t *table) put(u *User) {
	s := &t.shards[maphash.String(t.seed, u.ID)%shards]
	s.mu.Lock()
	s.users[u.ID] = u
	s.mu.Unlock()
}

func (t *table) remove(id string) {
	s := &t.shards[maphash.String(t.seed, id)%shards]
	s.mu.Lock()
	delete(s.users, id)
	s.mu.Unlock()
}

// all yields every user; the caller is the only one who changes the table.
func (t *table) all(yield func(*User) bool) {
	for i := range t.shards {
		for _, u := range t.shards[i].users {
			if !yield(u) {
				return
			}
		}
	}
}

// keys finds users by the value of the join attribute. Several users may have
// the same; then it finds nobody.
type keys struct {
	seed   maphash.Seed
	shards [shards]struct {
		mu  sync.RWMutex // guards ids
		ids map[string][]string
	}
	users *table
}

func newKeys(users *table) *keys {
	k := &keys{seed: maphash.MakeSeed(), users: users}
	for i := range k.shards {
		k.shards[i].ids = map[string][]string{}
	}
	return k
}

func (k *keys) find(key string) (*User, bool) {
	s := &k.shards[maphash.String(k.seed, key)%shards]
	s.mu.RLock()
	ids := s.ids[key]
	s.mu.RUnlock()
	if len(ids) != 1 {
		return nil, false
	}
	return k.users.find(ids[0])
}

func (k *keys) add(key, id string) {
	if key == "" {
		return
	}
	s := &k.shards[maphash.String(k.seed, key)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids[key] = append(without(s.ids[key], id), id)
}

func (k *keys) remove(key, id string) {
	s := &k.shards[maphash.String(k.seed, key)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if rest := without(s.ids[key], id); len(rest) > 0 {
		s.ids[key] = rest
	} else {
		delete(s.ids, key)
	}
}

// without is a new list: readers may hold the old one.
func without(ids []string, id string) []string {
	var rest []string
	for _, other := range ids {
		if other != id {
			rest = append(rest, other)
		}
	}
	return rest
}
