package directory

import (
	"hash/maphash"
	"slices"
	"sync"
	"time"
)

const shards = 256

// userIndex finds users by id. It is sharded so that a reader waits at most for
// the replacement of one user, never for a large change.
type userIndex struct {
	seed   maphash.Seed
	shards [shards]struct {
		mu    sync.RWMutex // guards users
		users map[string]*User
	}
}

func newUserIndex() *userIndex {
	idx := &userIndex{seed: maphash.MakeSeed()}
	for i := range idx.shards {
		idx.shards[i].users = map[string]*User{}
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

func (idx *userIndex) put(u *User) {
	s := &idx.shards[maphash.String(idx.seed, u.ID)%shards]
	s.mu.Lock()
	s.users[u.ID] = u
	s.mu.Unlock()
}

func (idx *userIndex) remove(id string) {
	s := &idx.shards[maphash.String(idx.seed, id)%shards]
	s.mu.Lock()
	delete(s.users, id)
	s.mu.Unlock()
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

// joinIndex finds users by the value of the join attribute, as resolve says.
type joinIndex struct {
	seed   maphash.Seed
	shards [shards]struct {
		mu    sync.RWMutex // guards users
		users map[string]*User
	}
	holders map[string][]string // ids of the users with each value; only for the goroutine that changes the index
}

func newJoinIndex() *joinIndex {
	idx := &joinIndex{seed: maphash.MakeSeed(), holders: map[string][]string{}}
	for i := range idx.shards {
		idx.shards[i].users = map[string]*User{}
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

// add records that u has key.
func (idx *joinIndex) add(key string, u *User, users *userIndex) {
	if key == "" {
		return
	}
	if !slices.Contains(idx.holders[key], u.ID) {
		idx.holders[key] = append(idx.holders[key], u.ID)
	}
	idx.resolve(key, users)
}

// remove records that the user with id no longer has key.
func (idx *joinIndex) remove(key, id string, users *userIndex) {
	rest := slices.DeleteFunc(idx.holders[key], func(other string) bool { return other == id })
	if idx.holders[key] = rest; len(rest) == 0 {
		delete(idx.holders, key)
	}
	idx.resolve(key, users)
}

// resolve makes key find the user that stands for a value, or no user.
//
// One who is suspended stands for all, so that no push lifts a suspension: not even
// one that deactivates the user and makes another with the same value. Otherwise the
// only active one stands for all: Okta's rename deactivates a user and makes another.
// Of several active users none is found, because who is meant would be a guess.
func (idx *joinIndex) resolve(key string, users *userIndex) {
	var active, inactive []*User
	var suspended *User
	var deactivated time.Time // the last deactivation of any of them
	for _, id := range idx.holders[key] {
		u, ok := users.find(id)
		switch {
		case !ok:
			continue
		case u.Suspended != nil:
			suspended = u
		case u.Active:
			active = append(active, u)
		default:
			inactive = append(inactive, u)
		}
		if u.DeactivatedAt.After(deactivated) {
			deactivated = u.DeactivatedAt
		}
	}
	switch {
	case suspended != nil:
		idx.set(key, suspended)
	case len(active) == 1:
		idx.set(key, active[0].deactivatedAt(deactivated))
	case len(active) == 0 && len(inactive) == 1:
		idx.set(key, inactive[0])
	default:
		idx.set(key, nil)
	}
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
