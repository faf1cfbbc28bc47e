package directory_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/directory"
)

// state is the directory as text: all that decisions read, and what operators see.
type state []string

// people is the directory, now or as it was.
type people interface {
	Users() []*directory.User
	ByID(id string) (*directory.User, bool)
	Groups() []directory.Group
	Manager(id string) (userName, externalID string, ok bool)
}

func stateOf(p people, members func(group string) []directory.Member) (s state) {
	for _, u := range p.Users() {
		record, _ := json.Marshal(u)
		suspended, _ := json.Marshal(u.Suspended)
		manager, _, _ := p.Manager(u.ID)
		again, _ := p.ByID(u.ID)
		s = append(s, fmt.Sprintf("user %s %+v suspended %s damaged %v in %q %q manager %s %v", record, u.Derived, suspended, u.Damaged, u.GroupIDs, u.GroupNames, manager, again == u))
	}
	for _, g := range p.Groups() {
		record, _ := json.Marshal(g)
		list := members(g.ID)
		slices.SortFunc(list, func(a, b directory.Member) int { return strings.Compare(a.ID, b.ID) })
		s = append(s, fmt.Sprintf("group %s members %v", record, list))
	}
	slices.Sort(s)
	return s
}

// present returns the directory as it is.
func (h *testDirectory) present(t fataler) state {
	return stateOf(h, func(group string) (list []directory.Member) {
		err := h.View(context.Background(), func(tx *directory.Tx) error {
			for m, err := range tx.Members(group, "") {
				if err != nil {
					return err
				}
				list = append(list, m)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return list
	})
}

type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func pastState(p *directory.Past) state { return stateOf(p, p.Members) }

// version is what the directory was after a change.
type version struct {
	at       time.Time
	revision uint64
	state    state
	members  map[[2]string]bool // by the ids of group and member
}

// timeline makes random changes of a directory, and remembers what it was after each.
type timeline struct {
	t        *rapid.T
	h        *testDirectory
	path     string
	clock    time.Time
	keep     time.Duration
	versions []version
}

func newTimeline(t *rapid.T, dir string, keep time.Duration) *timeline {
	l := &timeline{t: t, path: filepath.Join(dir, "store.db"), clock: time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC), keep: keep}
	l.open()
	return l
}

func (l *timeline) open() {
	l.h = open(l.t, l.path)
	l.h.SetClock(func() time.Time { return l.clock })
	l.h.KeepHistory(directory.Retention(l.keep))
}

func (l *timeline) reopen() {
	l.h.stop()
	l.open()
}

// update makes a change, which may turn out to be none.
func (l *timeline) update(fn func(*directory.Tx) error) {
	l.t.Helper()
	before := l.h.Revision()
	err := l.h.Update(context.Background(), func(tx *directory.Tx) error {
		tx.By(directory.Cause{Kind: "token", Name: "entra", ID: "t1"})
		return fn(tx)
	})
	var conflict *directory.ConflictError
	if err != nil && !errors.As(err, &conflict) && !errors.Is(err, directory.ErrNotFound) && !errors.Is(err, errUndone) {
		l.t.Fatal(err)
	}
	if after := l.h.Revision(); after != before {
		now := l.h.present(l.t)
		if n := len(l.versions); n > 0 && slices.Equal(l.versions[n-1].state, now) {
			return // nothing of the directory changed
		}
		l.versions = append(l.versions, version{l.clock, after, now, l.members()})
	}
}

var errUndone = errors.New("undone")

// members returns every direct membership.
func (l *timeline) members() map[[2]string]bool {
	all := map[[2]string]bool{}
	err := l.h.View(context.Background(), func(tx *directory.Tx) error {
		for _, group := range l.groups() {
			for m, err := range tx.Members(group, "") {
				if err != nil {
					return err
				}
				all[[2]string{group, m.ID}] = true
			}
		}
		return nil
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return all
}

func (l *timeline) users() (ids []string) {
	for _, u := range l.h.Users() {
		ids = append(ids, u.ID)
	}
	return ids
}

func (l *timeline) groups() (ids []string) {
	for _, g := range l.h.Groups() {
		ids = append(ids, g.ID)
	}
	slices.Sort(ids)
	return ids
}

func (l *timeline) pick(ids []string, label string) string {
	if len(ids) == 0 {
		return strings.Repeat("0", 32)
	}
	return rapid.SampledFrom(ids).Draw(l.t, label)
}

func (l *timeline) name() string {
	return rapid.SampledFrom([]string{"ada", "bob", "eve", "Zoë"}).Draw(l.t, "name")
}

// change returns one random change.
func (l *timeline) change() func(*directory.Tx) error {
	user, group := l.pick(l.users(), "user"), l.pick(l.groups(), "group")
	any := append(l.users(), l.groups()...)
	some := []string{l.pick(any, "member"), l.pick(any, "member")}
	name := l.name()
	document := func() json.RawMessage {
		return fmt.Appendf(nil, `{"userName":%q,"displayName":%q,"emails":[{"value":"%s@example.com","primary":true}],"roles":[{"value":%q}],"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"manager":{"value":%q},"department":%q}}`,
			name, l.name(), name, l.name(), l.pick(l.users(), "manager"), rapid.StringMatching(`[a-zé ]{0,60}`).Draw(l.t, "department"))
	}
	active := rapid.Bool().Draw(l.t, "active")
	switch rapid.IntRange(0, 11).Draw(l.t, "kind") {
	case 0, 1:
		doc := document()
		return func(tx *directory.Tx) error {
			return tx.PutUser(&directory.User{UserName: name, ExternalID: "x-" + name, Active: active, Document: doc})
		}
	case 2, 3:
		doc := document()
		return func(tx *directory.Tx) error {
			u, err := tx.User(user)
			if err != nil {
				return err
			}
			u.UserName, u.Active, u.Document = name, active, doc
			return tx.PutUser(&u)
		}
	case 4:
		return func(tx *directory.Tx) error { return tx.DeleteUser(user) }
	case 5:
		return func(tx *directory.Tx) error { return tx.Suspend(user, name) }
	case 6:
		return func(tx *directory.Tx) error { return tx.Unsuspend(user) }
	case 7:
		return func(tx *directory.Tx) error {
			return tx.PutGroup(&directory.Group{DisplayName: name, ExternalID: "g-" + name})
		}
	case 8:
		return func(tx *directory.Tx) error {
			g, err := tx.Group(group)
			if err != nil {
				return err
			}
			g.DisplayName = name
			return tx.PutGroup(&g)
		}
	case 9:
		return func(tx *directory.Tx) error { _, err := tx.AddMembers(group, some); return err }
	case 10:
		return func(tx *directory.Tx) error { _, _, err := tx.SetMembers(group, some); return err }
	}
	return func(tx *directory.Tx) error {
		if active {
			return tx.DeleteGroup(group)
		}
		_, err := tx.RemoveMembers(group, some)
		return err
	}
}

// step makes one random change, or several in one update, one of which may fail.
func (l *timeline) step() {
	changes := make([]func(*directory.Tx) error, rapid.IntRange(1, 3).Draw(l.t, "changes"))
	for i := range changes {
		changes[i] = l.change()
	}
	fails := rapid.IntRange(0, 9).Draw(l.t, "fails") == 0
	l.update(func(tx *directory.Tx) error {
		for _, change := range changes {
			if err := change(tx); err != nil {
				return err
			}
		}
		if fails {
			return errUndone
		}
		return nil
	})
}

// wanted returns what the directory was at a time; ok is false before the first change.
func (l *timeline) wanted(at time.Time) (m version, ok bool) {
	for _, m := range slices.Backward(l.versions) {
		if !m.at.After(at) {
			return m, true
		}
	}
	return version{}, false
}

// check compares the directory at a time with what it was. It reports whether the history
// knows it.
func (l *timeline) check(at time.Time) (known bool) {
	l.t.Helper()
	p, err := l.h.At(context.Background(), at)
	want, ok := l.wanted(at)
	switch {
	case errors.Is(err, directory.ErrNoHistory):
		return false
	case err != nil:
		l.t.Fatal(err)
	case !ok:
		l.t.Fatalf("the directory at %s, before the first change, is %q", at, pastState(p))
	case !slices.Equal(pastState(p), want.state):
		l.t.Fatalf("the directory at %s is\n%s\nand was\n%s", at, strings.Join(pastState(p), "\n"), strings.Join(want.state, "\n"))
	case p.Revision != want.revision:
		l.t.Fatalf("at %s the revision is %d, and was %d", at, p.Revision, want.revision)
	}
	return true
}

// TestMemberships_BeganWhenTheyDid makes random changes, and asks since when each membership was one.
func TestMemberships_BeganWhenTheyDid(t *testing.T) {
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		l := newTimeline(t, outer.TempDir(), time.Duration(directory.DefaultRetention))
		defer func() { l.h.stop() }()
		for range rapid.IntRange(5, 40).Draw(t, "steps") {
			l.clock = l.clock.Add(time.Minute)
			l.step()
		}
		for n, v := range l.versions {
			p, err := l.h.At(context.Background(), v.at)
			if err != nil {
				t.Fatal(err)
			}
			told := 0
			for _, g := range p.Groups() {
				list, err := l.h.Memberships(context.Background(), p, g.ID)
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range list {
					told++
					first := n
					for first > 0 && l.versions[first-1].members[[2]string{g.ID, m.ID}] {
						first--
					}
					if want := l.versions[first]; !v.members[[2]string{g.ID, m.ID}] || m.Revision != want.revision || !m.Since.Equal(want.at) || m.By.Name != "entra" {
						t.Fatalf("at %s, revision %d, the membership %+v is told, which began at %s, revision %d", v.at, v.revision, m, want.at, want.revision)
					}
				}
			}
			if told != len(v.members) {
				t.Fatalf("at %s, %d memberships are told of %d", v.at, told, len(v.members))
			}
		}
	})
}

// TestAt_EqualsTheDirectoryThatWas makes random changes, with the store opened again and
// the clock set back between some of them.
func TestAt_EqualsTheDirectoryThatWas(t *testing.T) {
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		l := newTimeline(t, outer.TempDir(), time.Duration(directory.DefaultRetention))
		defer func() { l.h.stop() }()
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			l.clock = l.clock.Add(time.Duration(rapid.IntRange(-2, 5).Draw(t, "minutes")) * time.Minute)
			l.step()
			if rapid.IntRange(0, 9).Draw(t, "reopen") == 0 {
				l.reopen()
			}
		}
		l.clock = l.clock.Add(24 * time.Hour)
		for _, m := range l.versions {
			for _, at := range []time.Time{m.at.Add(-1), m.at, m.at.Add(1)} {
				if _, ok := l.wanted(at); l.check(at) != ok {
					t.Fatalf("at %s, known is %v", at, !ok)
				}
			}
		}
		l.check(l.clock)
	})
}

// TestAt_KnowsRetainedTimes makes random changes over days, of which the history has three.
func TestAt_KnowsRetainedTimes(t *testing.T) {
	const keep = 72 * time.Hour
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		l := newTimeline(t, outer.TempDir(), keep)
		defer func() { l.h.stop() }()
		for range rapid.IntRange(5, 40).Draw(t, "steps") {
			l.clock = l.clock.Add(time.Duration(rapid.IntRange(0, 12).Draw(t, "hours"))*time.Hour + 1)
			l.step()
		}
		if len(l.versions) == 0 {
			return
		}
		last := l.versions[len(l.versions)-1].at
		l.clock = l.clock.Add(time.Hour)
		for _, m := range l.versions {
			known := l.check(m.at)
			if !known && last.Sub(m.at) <= keep {
				t.Fatalf("the directory %s before the last change is not known", last.Sub(m.at))
			}
		}
	})
}

// TestAt_WhileChangesAreMade: the past does not change under whoever reads it.
func TestAt_WhileChangesAreMade(t *testing.T) {
	h := newTestDirectory(t)
	h.addUser(t, "first")
	var mu sync.Mutex // guards made
	made := []time.Time{time.Now()}
	var working sync.WaitGroup
	working.Go(func() {
		for i := range 150 {
			var at time.Time
			h.update(t, func(tx *directory.Tx) error {
				at = tx.Now()
				return tx.PutUser(&directory.User{UserName: fmt.Sprint("user", i), ExternalID: fmt.Sprint(i)})
			})
			mu.Lock()
			made = append(made, at)
			mu.Unlock()
		}
	})
	working.Go(func() { // which makes those that share a commit run again
		for range 150 {
			err := h.Update(context.Background(), func(tx *directory.Tx) error {
				return errors.Join(tx.PutUser(&directory.User{UserName: "nobody"}), errUndone)
			})
			if !errors.Is(err, errUndone) {
				t.Error(err)
			}
		}
	})
	for range 3 {
		working.Go(func() {
			for range 40 {
				mu.Lock()
				n := rand.IntN(len(made))
				at := made[n]
				mu.Unlock()
				p, err := h.At(context.Background(), at)
				if err != nil {
					t.Error(err)
					return
				}
				if got := len(p.Users()); got != n+1 {
					t.Errorf("after change %d there were %d users", n, got)
				}
			}
		})
	}
	working.Wait()
}
