// Package claimed remembers what the newest token of each user said of groups. It decides nothing; what it remembers is
// compared with what was pushed, and is gone when the process ends.
package claimed

import (
	"container/list"
	"iter"
	"slices"
	"sync"
	"time"
	"unique"
)

const (
	maxUsers = 10_000
	maxText  = 64 << 20 // bytes of names. Each name is in memory once, however many users are in the group.
)

// Claim is what the newest token of a user said.
type Claim struct {
	User       string    // the value by which the directory finds the user
	At         time.Time // when the token was issued
	Stated     bool      // the token said something of groups
	Incomplete bool      // the user is in more groups than the token named

	groups []unique.Handle[string]
	size   int
}

// Groups returns the groups that the token named: their ids or names.
func (c *Claim) Groups() iter.Seq[unique.Handle[string]] { return slices.Values(c.groups) }

// Memory remembers the claims of the users whose tokens came last. Its methods may be called concurrently.
type Memory struct {
	mu     sync.Mutex
	byUser map[string]*list.Element
	claims list.List // of Claim; the one that came last is in front
	size   int       // bytes of names of all
}

// New returns an empty Memory.
func New() *Memory { return &Memory{byUser: map[string]*list.Element{}} }

// Note remembers what a token said, unless it was issued before the one that is remembered of the user. A token that does
// not say when it was issued counts as issued now. Where there is no more space, the users are forgotten whose tokens came
// first.
func (m *Memory) Note(c Claim, groups []string) {
	if c.At.IsZero() {
		c.At = time.Now().UTC()
	}
	c.size = len(c.User)
	for _, name := range groups {
		c.groups = append(c.groups, unique.Make(name))
		c.size += len(name)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if former, ok := m.byUser[c.User]; ok {
		if c.At.Before(claimIn(former).At) {
			return
		}
		m.forget(former)
	}
	m.byUser[c.User] = m.claims.PushFront(c)
	m.size += c.size
	for m.claims.Len() > maxUsers || m.size > maxText {
		m.forget(m.claims.Back())
	}
}

// forget requires mu to be held.
func (m *Memory) forget(e *list.Element) {
	c := claimIn(e)
	m.claims.Remove(e)
	delete(m.byUser, c.User)
	m.size -= c.size
}

func claimIn(e *list.Element) Claim { return e.Value.(Claim) } //nolint:forcetypeassert,errcheck // the list has nothing else

// All returns what is remembered, in the order in which it came, the last first.
func (m *Memory) All() []Claim {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Claim, 0, m.claims.Len())
	for e := m.claims.Front(); e != nil; e = e.Next() {
		all = append(all, claimIn(e))
	}
	return all
}
