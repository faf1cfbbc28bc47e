package directory

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

const shards = 256

// userIndex finds users by id. It is sharded so that a reader waits at most for
// the replacement of one user, never for a large change.
type userIndex struct {
	seed   maphash.Seed
	shards [shards]struct {
		mu      sync.RWMutex // guards users
		users   map[string]*User
		version atomic.Uint64 // counts the changes of users
		search  atomic.Pointer[searchShard]
	}
	names nameIndex

	changing sync.RWMutex // held while a change of the store is applied to the index
}

// newUserIndex returns an index with room for n users.
func newUserIndex(n int) *userIndex {
	idx := &userIndex{seed: maphash.MakeSeed()}
	for i := range idx.shards {
		idx.shards[i].users = make(map[string]*User, n/shards)
	}
	return idx
}

func (idx *userIndex) find(id string) (*User, bool) {
	s := &idx.shards[maphash.String(idx.seed, id)%shards]
	s.mu.RLock()
	u, ok := s.users[id]
	s.mu.RUnlock()
	return u, ok
}

// put replaces the user that has the id of u, and returns it; nil if there was none.
func (idx *userIndex) put(u *User) (old *User) {
	s := &idx.shards[maphash.String(idx.seed, u.ID)%shards]
	s.mu.Lock()
	old = s.users[u.ID]
	s.users[u.ID] = u
	s.version.Add(1)
	s.mu.Unlock()
	idx.names.replace(old, u)
	return old
}

func (idx *userIndex) remove(id string) {
	s := &idx.shards[maphash.String(idx.seed, id)%shards]
	s.mu.Lock()
	old := s.users[id]
	delete(s.users, id)
	s.version.Add(1)
	s.mu.Unlock()
	idx.names.replace(old, nil)
}

// snapshot returns every user.
func (idx *userIndex) snapshot() []*User {
	n := 0
	for i := range idx.shards {
		s := &idx.shards[i]
		s.mu.RLock()
		n += len(s.users)
		s.mu.RUnlock()
	}
	users := make([]*User, 0, n+n/64)
	for i := range idx.shards {
		s := &idx.shards[i]
		s.mu.RLock()
		for _, u := range s.users {
			users = append(users, u)
		}
		s.mu.RUnlock()
	}
	return users
}

// all yields every user. Only the goroutine that changes the index may call it.
func (idx *userIndex) all(yield func(*User) bool) {
	for i := range idx.shards {
		for _, u := range idx.shards[i].users {
			if !yield(u) {
				return
			}
		}
	}
}
