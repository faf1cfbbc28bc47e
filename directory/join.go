package directory

import (
	"container/heap"
	"hash/maphash"
	"sync"
	"time"
)

// joinIndex finds users by the value of the join attribute, as resolve says. While one user alone has a value, as it should
// be, find returns that user, and shared lacks the value.
type joinIndex struct {
	seed   maphash.Seed
	shards [shards]struct {
		mu    sync.RWMutex // guards users
		users map[string]*User
	}
	shared map[string]*holders // by value; only for the goroutine that changes the index
}

// newJoinIndex returns an index with room for n users.
func newJoinIndex(n int) *joinIndex {
	idx := &joinIndex{seed: maphash.MakeSeed(), shared: map[string]*holders{}}
	for i := range idx.shards {
		idx.shards[i].users = make(map[string]*User, n/shards)
	}
	return idx
}

func (idx *joinIndex) find(key string) (*User, bool) {
	s := &idx.shards[maphash.String(idx.seed, key)%shards]
	s.mu.RLock()
	u, ok := s.users[key]
	s.mu.RUnlock()
	return u, ok
}

// set makes find return u for key, or no user if u is nil.
func (idx *joinIndex) set(key string, u *User) {
	s := &idx.shards[maphash.String(idx.seed, key)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if u == nil {
		delete(s.users, key)
	} else {
		s.users[key] = u
	}
}

// claim makes find return u for key unless another user has key, and reports whether it does. It may be called concurrently,
// but with no other change of the index; the caller must put u later if it reports false.
func (idx *joinIndex) claim(key string, u *User) bool {
	if key == "" {
		return true
	}
	s := &idx.shards[maphash.String(idx.seed, key)%shards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.users[key]; taken {
		return false
	}
	s.users[key] = u
	return true
}

// put records that u, as it is now, has key.
func (idx *joinIndex) put(key string, u *User) {
	if key == "" {
		return
	}
	h := idx.shared[key]
	if h == nil {
		only, ok := idx.find(key)
		if !ok || only.ID == u.ID {
			idx.set(key, u)
			return
		}
		h = &holders{}
		h.put(only)
		idx.shared[key] = h
	}
	h.put(u)
	idx.set(key, h.resolve())
}

// remove records that the user with id no longer has key.
func (idx *joinIndex) remove(key, id string) {
	h := idx.shared[key]
	if h == nil {
		if only, ok := idx.find(key); ok && only.ID == id {
			idx.set(key, nil)
		}
		return
	}
	h.remove(id)
	idx.set(key, h.resolve())
	if h.count() == 0 {
		delete(idx.shared, key)
	}
}

// holders are the users with one value of the join attribute. There may be any number
// of them: an attribute that is not unique may be mapped. A change of one takes no time
// that grows with their number, or pushing them would take quadratic time.
type holders struct {
	suspended, active, inactive map[string]*User // by id

	deactivated deactivations // the latest first; of users as they were, too
}

// of returns the users in the same state as u.
func (h *holders) of(u *User) *map[string]*User {
	switch {
	case u.Suspended != nil:
		return &h.suspended
	case u.Active:
		return &h.active
	}
	return &h.inactive
}

func (h *holders) put(u *User) {
	if old := h.get(u.ID); old == nil || !old.DeactivatedAt.Equal(u.DeactivatedAt) {
		if !u.DeactivatedAt.IsZero() {
			heap.Push(&h.deactivated, deactivation{u.DeactivatedAt, u.ID})
		}
	}
	h.remove(u.ID)
	same := h.of(u)
	if *same == nil {
		*same = map[string]*User{}
	}
	(*same)[u.ID] = u
	if len(h.deactivated) > 2*h.count()+16 {
		h.forgetFormer()
	}
}

// forgetFormer drops the deactivations of users as they no longer are.
func (h *holders) forgetFormer() {
	h.deactivated = nil
	for _, users := range []map[string]*User{h.suspended, h.active, h.inactive} {
		for id, u := range users {
			if !u.DeactivatedAt.IsZero() {
				h.deactivated = append(h.deactivated, deactivation{u.DeactivatedAt, id})
			}
		}
	}
	heap.Init(&h.deactivated)
}

func (h *holders) remove(id string) {
	delete(h.suspended, id)
	delete(h.active, id)
	delete(h.inactive, id)
}

func (h *holders) count() int { return len(h.suspended) + len(h.active) + len(h.inactive) }

// get returns the user with id, or nil.
func (h *holders) get(id string) *User {
	for _, users := range []map[string]*User{h.suspended, h.active, h.inactive} {
		if u := users[id]; u != nil {
			return u
		}
	}
	return nil
}

// lastDeactivation returns when one of the users was last deactivated.
func (h *holders) lastDeactivation() time.Time {
	for len(h.deactivated) > 0 {
		latest := h.deactivated[0]
		if u := h.get(latest.user); u != nil && u.DeactivatedAt.Equal(latest.at) {
			return latest.at
		}
		heap.Pop(&h.deactivated) // the user is gone, or was deactivated again
	}
	return time.Time{}
}

// resolve returns the user that stands for the value, or nil.
//
// One who is suspended stands for all, so that no push lifts a suspension: not even
// one that deactivates the user and makes another with the same value. Otherwise the
// only active one stands for all: Okta's rename deactivates a user and makes another.
// Of several active users none is found, because who is meant would be a guess.
func (h *holders) resolve() *User {
	switch {
	case len(h.suspended) > 0:
		return anyOf(h.suspended)
	case len(h.active) == 1:
		return anyOf(h.active).deactivatedAt(h.lastDeactivation())
	case len(h.active) == 0 && len(h.inactive) == 1:
		return anyOf(h.inactive)
	}
	return nil
}

// anyOf returns one of users.
func anyOf(users map[string]*User) *User {
	for _, u := range users {
		return u
	}
	return nil
}

// deactivatedAt returns the user, or a copy whose last deactivation is at t if that
// is later: a token that was issued to the person before it must not be valid again,
// because the person is another user now.
func (u *User) deactivatedAt(t time.Time) *User {
	if !t.After(u.DeactivatedAt) {
		return u
	}
	next := *u
	next.DeactivatedAt = t
	return &next
}

// deactivation is when a user was deactivated.
type deactivation struct {
	at   time.Time
	user string // id
}

// deactivations is a heap, the latest first.
type deactivations []deactivation

func (d deactivations) Len() int           { return len(d) }
func (d deactivations) Less(i, j int) bool { return d[i].at.After(d[j].at) }
func (d deactivations) Swap(i, j int)      { d[i], d[j] = d[j], d[i] }

// Push implements [heap.Interface].
func (d *deactivations) Push(x any) { *d = append(*d, x.(deactivation)) }

// Pop implements [heap.Interface].
func (d *deactivations) Pop() any {
	last := len(*d) - 1
	x := (*d)[last]
	*d = (*d)[:last]
	return x
}
