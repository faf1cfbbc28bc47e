package directory

import (
	"hash/maphash"
	"slices"
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
		mu    sync.RWMutex // guards users
		users map[string]*User
	}
	holders map[string][]string // who has each value, by id; for the one who changes it
}

func newKeys() *keys {
	k := &keys{seed: maphash.MakeSeed(), holders: map[string][]string{}}
	for i := range k.shards {
		k.shards[i].users = map[string]*User{}
	}
	return k
}

func (k *keys) find(key string) (*User, bool) {
	s := &k.shards[maphash.String(k.seed, key)%shards]
	s.mu.RLock()
	u, ok := s.users[key]
	s.mu.RUnlock()
	return u, ok
}

// set makes u the user that key finds; nil: it finds nobody.
func (k *keys) set(key string, u *User) {
	s := &k.shards[maphash.String(k.seed, key)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if u == nil {
		delete(s.users, key)
	} else {
		s.users[key] = u
	}
}

// add notes that u has key.
func (k *keys) add(key string, u *User, users *table) {
	if key == "" {
		return
	}
	if !slices.Contains(k.holders[key], u.ID) {
		k.holders[key] = append(k.holders[key], u.ID)
	}
	k.settle(key, users)
}

// remove notes that the user with id has key no more.
func (k *keys) remove(key, id string, users *table) {
	rest := slices.DeleteFunc(k.holders[key], func(other string) bool { return other == id })
	if k.holders[key] = rest; len(rest) == 0 {
		delete(k.holders, key)
	}
	k.settle(key, users)
}

// settle lets key find its one holder, or nobody.
func (k *keys) settle(key string, users *table) {
	var only *User
	if ids := k.holders[key]; len(ids) == 1 {
		only, _ = users.find(ids[0])
	}
	k.set(key, only)
}
