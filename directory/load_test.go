package directory_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"
	"pgregory.net/rapid"

	"sallyport/directory"
)

// TestOpen_LoadsWhatWasWritten writes a directory, damages some of its records, and compares what is loaded with what was
// written.
func TestOpen_LoadsWhatWasWritten(t *testing.T) {
	outer := t
	rapid.Check(t, func(t *rapid.T) {
		path := filepath.Join(outer.TempDir(), "store.db")
		h := open(t, path)
		w := writeDirectory(t, outer, h)
		h.stop()
		if rapid.Bool().Draw(t, "damage") {
			w.damage(t, path)
		}
		h = open(t, path)
		defer h.stop()
		w.compareUsers(t, h)
		w.compareGroups(t, h)
		if len(w.damaged) == 0 {
			w.comparePast(t, h)
		}
	})
}

// written is a directory as it was written.
type written struct {
	users   map[string]directory.User // by id
	groups  map[string]directory.Group
	edges   map[directory.Edge]bool
	damaged map[string]bool // keys of records
}

// writeDirectory writes a directory that may be larger than a batch of what is loaded at once. Some users share an
// externalId, and some groups have none.
func writeDirectory(t *rapid.T, outer testing.TB, h *testDirectory) (w written) {
	users := rapid.OneOf(rapid.IntRange(0, 20), rapid.IntRange(500, 1100)).Draw(t, "users")
	groups := rapid.IntRange(0, 40).Draw(t, "groups")
	edges := rapid.IntRange(0, 2000).Draw(t, "memberships")
	random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)) //nolint:gosec // the test draws its seed
	h.update(outer, func(tx *directory.Tx) error {
		w = written{map[string]directory.User{}, map[string]directory.Group{}, map[directory.Edge]bool{}, map[string]bool{}}
		for i := range users {
			u := directory.User{UserName: fmt.Sprint("user", i), ExternalID: fmt.Sprint(random.IntN(users)), Active: random.IntN(3) > 0}
			if err := tx.PutUser(&u); err != nil {
				return err
			}
			if random.IntN(20) == 0 {
				if err := tx.Suspend(u.ID, "a reason"); err != nil {
					return err
				}
				u.Suspended = &directory.Suspension{Reason: "a reason"}
			}
			w.users[u.ID] = u
		}
		for i := range groups {
			g := directory.Group{DisplayName: fmt.Sprintf("group %d \"é\"", i)}
			if random.IntN(4) > 0 {
				g.ExternalID = fmt.Sprint(random.IntN(groups), "-", i)
			}
			if err := tx.PutGroup(&g); err != nil {
				return err
			}
			w.groups[g.ID] = g
		}
		return w.writeMembers(tx, random, edges)
	})
	return w
}

// writeMembers makes users and groups at random members of groups.
func (w *written) writeMembers(tx *directory.Tx, random *rand.Rand, n int) error {
	groups := slices.Sorted(maps.Keys(w.groups))
	ids := slices.Concat(slices.Sorted(maps.Keys(w.users)), groups)
	if len(groups) == 0 {
		return nil
	}
	members := map[string][]string{}
	for range n {
		e := directory.Edge{Group: groups[random.IntN(len(groups))], Member: ids[random.IntN(len(ids))]}
		if e.Group != e.Member {
			members[e.Group] = append(members[e.Group], e.Member)
			w.edges[e] = true
		}
	}
	for group, ids := range members {
		if _, err := tx.AddMembers(group, ids); err != nil {
			return err
		}
	}
	return nil
}

// keyOf returns the key of a record in the store.
func keyOf(prefix string, ids ...string) string {
	key := []byte(prefix)
	for _, id := range ids {
		key, _ = hex.AppendDecode(key, []byte(id))
	}
	return string(key)
}

// damage flips a bit in some records.
func (w *written) damage(t *rapid.T, path string) {
	var keys []string
	for id, u := range w.users {
		keys = append(keys, keyOf("user/", id))
		if u.Suspended != nil {
			keys = append(keys, keyOf("suspended/", id))
		}
	}
	for id := range w.groups {
		keys = append(keys, keyOf("group/", id))
	}
	for e := range w.edges {
		keys = append(keys, keyOf("member/", e.Group, e.Member), keyOf("memberof/", e.Member, e.Group))
	}
	if len(keys) == 0 {
		return
	}
	slices.Sort(keys)
	for _, key := range rapid.SliceOfN(rapid.SampledFrom(keys), 1, 10).Draw(t, "damaged") {
		w.damaged[key] = true
	}
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		data := tx.Bucket([]byte("data"))
		for key := range w.damaged {
			record := bytes.Clone(data.Get([]byte(key)))
			record[len(record)-1] ^= 1
			if err := data.Put([]byte(key), record); err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// loaded returns the users as they must be loaded.
func (w *written) loaded() map[string]*directory.User {
	groups := map[string][]directory.Group{} // by member
	loaded := map[string]*directory.User{}
	for id, u := range w.users {
		if w.damaged[keyOf("user/", id)] {
			u = directory.User{ID: id}
			u.Damaged, u.Suspended = true, w.users[id].Suspended
		}
		if w.damaged[keyOf("suspended/", id)] {
			u.Suspended = &directory.Suspension{Reason: "the record of the suspension is damaged"}
		}
		loaded[id] = &u
	}
	for e := range w.edges {
		u, ok := loaded[e.Member]
		if !ok {
			continue
		}
		g := w.groups[e.Group]
		if w.damaged[keyOf("group/", g.ID)] {
			g = directory.Group{ID: g.ID}
			u.Damaged = true
		}
		u.Damaged = u.Damaged || w.damaged[keyOf("member/", e.Group, e.Member)]
		if w.damaged[keyOf("memberof/", e.Member, e.Group)] {
			u.Damaged = true
		} else {
			groups[e.Member] = append(groups[e.Member], g)
		}
	}
	for id, u := range loaded {
		slices.SortFunc(groups[id], func(a, b directory.Group) int {
			return cmp.Or(cmp.Compare(a.ExternalID, b.ExternalID), cmp.Compare(a.ID, b.ID))
		})
		for _, g := range groups[id] {
			u.GroupIDs, u.GroupNames = append(u.GroupIDs, g.ExternalID), append(u.GroupNames, g.DisplayName)
		}
	}
	return loaded
}

func (w *written) compareUsers(t *rapid.T, h *testDirectory) {
	want := w.loaded()
	if got := len(h.Snapshot()); got != len(want) {
		t.Fatalf("%d users are loaded, want %d", got, len(want))
	}
	holders := map[string][]*directory.User{} // by externalId
	for id, u := range want {
		got, ok := h.ByID(id)
		if !ok || !sameUser(got, u) {
			t.Fatalf("%s is loaded as %+v, want %+v", id, got, u)
		}
		holders[u.ExternalID] = append(holders[u.ExternalID], u)
	}
	for i := range len(want) {
		key := fmt.Sprint(i)
		got, ok := h.Lookup(key)
		if found := standFor(holders[key]); ok != (len(found) > 0) || ok && !slices.ContainsFunc(found, func(u *directory.User) bool { return sameUser(got, u) }) {
			t.Fatalf("Lookup(%q) is %+v, %v, want one of %+v", key, got, ok, found)
		}
	}
}

func sameUser(a, b *directory.User) bool {
	suspended := func(u *directory.User) string {
		if u.Suspended == nil {
			return ""
		}
		return u.Suspended.Reason
	}
	return a.ID == b.ID && a.UserName == b.UserName && a.ExternalID == b.ExternalID && a.Active == b.Active && a.Damaged == b.Damaged &&
		suspended(a) == suspended(b) && slices.Equal(a.GroupIDs, b.GroupIDs) && slices.Equal(a.GroupNames, b.GroupNames)
}

// standFor returns the users of whom one must be found by a value that they all have; none if nobody is to be found.
func standFor(holders []*directory.User) []*directory.User {
	var suspended, active, inactive []*directory.User
	for _, u := range holders {
		switch {
		case u.Suspended != nil:
			suspended = append(suspended, u)
		case u.Active:
			active = append(active, u)
		default:
			inactive = append(inactive, u)
		}
	}
	switch {
	case len(suspended) > 0:
		return suspended
	case len(active) == 1:
		return active
	case len(active) == 0 && len(inactive) == 1:
		return inactive
	}
	return nil
}

func (w *written) compareGroups(t *rapid.T, h *testDirectory) {
	if got := len(h.Groups()); got != len(w.groups) {
		t.Fatalf("%d groups are loaded, want %d", got, len(w.groups))
	}
	for id, want := range w.groups {
		got, ok := h.GroupByID(id)
		if w.damaged[keyOf("group/", id)] {
			want = directory.Group{ID: id}
		} else {
			want.Members = got.Members // counted since
		}
		if !ok || got.ID != want.ID || got.ExternalID != want.ExternalID || got.DisplayName != want.DisplayName || !got.Created.Equal(want.Created) {
			t.Fatalf("%s is loaded as %+v, want %+v", id, got, want)
		}
	}
}

// comparePast demands that the history is that of what was loaded, and compares the groups in groups.
func (w *written) comparePast(t *rapid.T, h *testDirectory) {
	if len(w.users)+len(w.groups) == 0 {
		return
	}
	p, err := h.At(context.Background(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for group := range w.groups {
		var got, want []string
		for _, m := range p.Members(group) {
			if m.IsGroup {
				got = append(got, m.ID)
			}
		}
		for e := range w.edges {
			if _, isGroup := w.groups[e.Member]; isGroup && e.Group == group {
				want = append(want, e.Member)
			}
		}
		if slices.Sort(want); !slices.Equal(got, want) {
			t.Fatalf("%s has the groups %v, want %v", group, got, want)
		}
	}
}
