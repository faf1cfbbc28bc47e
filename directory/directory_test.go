package directory_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/directory"
	"sallyport/store"
	"sallyport/store/bolt"
)

// testDirectory is a directory that runs over a store on disk.
type testDirectory struct {
	*directory.Directory
	store    *bolt.Store
	unfollow func() // ends Run
	stop     func()
}

func open(t fataler, path string) *testDirectory {
	t.Helper()
	st, err := bolt.Open(path, bolt.Options{Init: true})
	if err != nil {
		t.Fatal(err)
	}
	d, err := directory.Open(context.Background(), st, "externalId")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = d.Run(ctx) }()
	h := &testDirectory{Directory: d, store: st}
	h.unfollow = func() { cancel(); <-done }
	h.stop = func() { h.unfollow(); _ = st.Close() }
	return h
}

func newTestDirectory(t testing.TB) *testDirectory {
	h := open(t, filepath.Join(t.TempDir(), "store.db"))
	t.Cleanup(h.stop)
	return h
}

func (h *testDirectory) update(t testing.TB, fn func(*directory.Tx) error) {
	t.Helper()
	if err := h.Update(context.Background(), fn); err != nil {
		t.Fatal(err)
	}
}

// addUser creates an active user and returns our id.
func (h *testDirectory) addUser(t testing.TB, name string) string {
	t.Helper()
	u := directory.User{UserName: name, ExternalID: "oid-" + name, Active: true}
	h.update(t, func(tx *directory.Tx) error { u.ID = ""; return tx.PutUser(&u) })
	return u.ID
}

func (h *testDirectory) addGroup(t testing.TB, name string) string {
	t.Helper()
	g := directory.Group{DisplayName: name, ExternalID: "gid-" + name}
	h.update(t, func(tx *directory.Tx) error { g.ID = ""; return tx.PutGroup(&g) })
	return g.ID
}

func TestLookup_SeesChangeOnceUpdateReturns(t *testing.T) {
	h := newTestDirectory(t)
	id := h.addUser(t, "alice")
	group := h.addGroup(t, "sre")
	h.update(t, func(tx *directory.Tx) error { _, err := tx.AddMembers(group, []string{id}); return err })

	u, ok := h.Lookup("oid-alice")
	if !ok || u.ID != id || !slices.Equal(u.GroupIDs, []string{"gid-sre"}) || !slices.Equal(u.GroupNames, []string{"sre"}) {
		t.Fatalf("alice is %+v, %v", u, ok)
	}
	h.update(t, func(tx *directory.Tx) error { return tx.DeleteUser(id) })
	if _, ok := h.Lookup("oid-alice"); ok {
		t.Error("alice is found after her deletion")
	}
	if _, ok := h.ByID(id); ok {
		t.Error("alice is found by id after her deletion")
	}
}

func TestLookup_FindsNoneOfTwoUsersWithOneKey(t *testing.T) {
	h := newTestDirectory(t)
	for _, name := range []string{"alice", "bob"} {
		u := directory.User{UserName: name, ExternalID: "same", Active: true}
		h.update(t, func(tx *directory.Tx) error { u.ID = ""; return tx.PutUser(&u) })
	}
	if u, ok := h.Lookup("same"); ok {
		t.Errorf("found %s by a value that two users have", u.UserName)
	}
}

// TestLookup_FindsActiveOfTwoUsers: a user who was deactivated does not lock out one who is
// active and has the same externalId (Okta renames by a deactivation and a POST).
func TestLookup_FindsActiveOfTwoUsers(t *testing.T) {
	h := newTestDirectory(t)
	put := func(u directory.User) directory.User {
		t.Helper()
		id := u.ID
		u.ExternalID = "same"
		h.update(t, func(tx *directory.Tx) error { u.ID = id; return tx.PutUser(&u) })
		return u
	}
	find := func(when, want string) *directory.User {
		t.Helper()
		u, ok := h.Lookup("same")
		if got := ""; ok {
			if got = u.UserName; got != want {
				t.Errorf("%s: found %s, want %q", when, got, want)
			}
		} else if want != "" {
			t.Errorf("%s: found nobody, want %s", when, want)
		}
		return u
	}
	old := put(directory.User{UserName: "old", Active: true})
	old.Active = false
	old = put(old)
	find("one inactive user", "old")
	renamed := put(directory.User{UserName: "renamed", Active: true})
	u := find("an inactive and an active user", "renamed")
	if !u.DeactivatedAt.Equal(old.DeactivatedAt) || old.DeactivatedAt.IsZero() {
		t.Errorf("tokens are valid if issued after %v, want after %v, when the person was last deactivated", u.DeactivatedAt, old.DeactivatedAt)
	}
	if stored, _ := h.ByID(renamed.ID); !stored.DeactivatedAt.IsZero() {
		t.Errorf("the user alone was deactivated at %v", stored.DeactivatedAt)
	}
	group := h.addGroup(t, "sre")
	h.update(t, func(tx *directory.Tx) error { _, err := tx.AddMembers(group, []string{renamed.ID}); return err })
	if u := find("after a change of groups", "renamed"); len(u.GroupIDs) != 1 || !u.DeactivatedAt.Equal(old.DeactivatedAt) {
		t.Errorf("the user is %+v", u)
	}
	h.update(t, func(tx *directory.Tx) error { return tx.Suspend(old.ID, "stolen laptop") })
	find("the inactive user is suspended", "old")
	h.update(t, func(tx *directory.Tx) error { return tx.Unsuspend(old.ID) })
	find("the suspension ended", "renamed")
	h.update(t, func(tx *directory.Tx) error { return tx.Suspend(renamed.ID, "stolen laptop") })
	find("the active user is suspended", "renamed")
	h.update(t, func(tx *directory.Tx) error { return tx.Unsuspend(renamed.ID) })
	old.Active = true
	put(old)
	find("two active users", "")
	old.Active = false
	put(old)
	find("one of them is deactivated", "renamed")
	renamed.Active = false
	put(renamed)
	find("two inactive users", "")
	h.update(t, func(tx *directory.Tx) error { return tx.DeleteUser(old.ID) })
	find("one of them is deleted", "renamed")
}

// TestUpdate_TellsThatChangeIsStored: when memory cannot have the change any more, the
// caller must not believe that it was not made.
func TestUpdate_TellsThatChangeIsStored(t *testing.T) {
	h := newTestDirectory(t)
	id := h.addUser(t, "alice")
	suspend := func(ctx context.Context) error {
		return h.Update(ctx, func(tx *directory.Tx) error { return tx.Suspend(id, "laptop stolen") })
	}
	h.unfollow()
	err := suspend(context.Background())
	if !errors.Is(err, directory.ErrStored) || !errors.Is(err, directory.ErrStale) {
		t.Errorf("the error is %v", err)
	}
	if err := h.View(context.Background(), func(tx *directory.Tx) error { _, err := tx.Suspension(id); return err }); err != nil {
		t.Errorf("the change is not stored: %v", err)
	}
	failed := errors.New("failed")
	if err := h.Update(context.Background(), func(*directory.Tx) error { return failed }); !errors.Is(err, failed) || errors.Is(err, directory.ErrStored) {
		t.Errorf("an update that fails gives %v", err)
	}
}

func TestUpdate_RejectsNamesOfOthers(t *testing.T) {
	h := newTestDirectory(t)
	h.addUser(t, "Alice@example.com")
	h.addGroup(t, "Platform Team")
	for name, fn := range map[string]func(*directory.Tx) error{
		"userName in another case":    func(tx *directory.Tx) error { return tx.PutUser(&directory.User{UserName: "alice@EXAMPLE.com"}) },
		"userName in full width":      func(tx *directory.Tx) error { return tx.PutUser(&directory.User{UserName: "ａlice@example.com"}) },
		"displayName in another case": func(tx *directory.Tx) error { return tx.PutGroup(&directory.Group{DisplayName: "PLATFORM team"}) },
		"externalId of another group": func(tx *directory.Tx) error {
			return tx.PutGroup(&directory.Group{DisplayName: "x", ExternalID: "gid-Platform Team"})
		},
	} {
		var conflict *directory.ConflictError
		if err := h.Update(context.Background(), fn); !errors.As(err, &conflict) {
			t.Errorf("%s: %v, want a ConflictError", name, err)
		}
	}
}

func TestPutUser_DeactivationRaisesEpochAndKeepsMemberships(t *testing.T) {
	h := newTestDirectory(t)
	id := h.addUser(t, "alice")
	group := h.addGroup(t, "sre")
	h.update(t, func(tx *directory.Tx) error { _, err := tx.AddMembers(group, []string{id}); return err })
	for want := uint64(1); want <= 3; want++ {
		for _, active := range []bool{false, true} {
			h.update(t, func(tx *directory.Tx) error {
				u, err := tx.User(id)
				if err != nil {
					return err
				}
				u.Active = active
				return tx.PutUser(&u)
			})
		}
		u, _ := h.ByID(id)
		if u.Epoch != want || !u.Active || len(u.GroupIDs) != 1 {
			t.Fatalf("after %d deactivations alice is %+v", want, u)
		}
	}
}

// TestPutUser_RaisesTheEpochWithTheJoinAttribute: when two users swap their externalIds, each record is that of another
// account, and nothing from before is valid. The first externalId changes nothing: nobody could sign in before.
func TestPutUser_RaisesTheEpochWithTheJoinAttribute(t *testing.T) {
	h := newTestDirectory(t)
	alice, bob := h.addUser(t, "alice"), h.addUser(t, "bob")
	set := func(externalIDs map[string]string, name string) func(*directory.Tx) error {
		return func(tx *directory.Tx) error {
			for id, externalID := range externalIDs {
				u, err := tx.User(id)
				if err != nil {
					return err
				}
				u.ExternalID = externalID
				u.Document = []byte(`{"displayName":"` + name + `"}`)
				if err := tx.PutUser(&u); err != nil {
					return err
				}
			}
			return nil
		}
	}
	for i, c := range []struct {
		externalIDs map[string]string
		want        map[string]uint64
	}{
		{map[string]string{alice: "oid-alice"}, map[string]uint64{alice: 0}},
		{map[string]string{alice: "oid-bob", bob: "oid-alice"}, map[string]uint64{alice: 1, bob: 1}},
		{map[string]string{alice: "oid-alice", bob: "oid-bob"}, map[string]uint64{alice: 2, bob: 2}},
		{map[string]string{bob: ""}, map[string]uint64{alice: 2, bob: 3}},
		{map[string]string{bob: "oid-bob"}, map[string]uint64{alice: 2, bob: 3}},
	} {
		h.update(t, set(c.externalIDs, fmt.Sprint(i)))
		for id, want := range c.want {
			if u, _ := h.ByID(id); u.Epoch != want {
				t.Errorf("after %v, %s has the epoch %d, want %d", c.externalIDs, u.UserName, u.Epoch, want)
			}
		}
	}
}

func TestPutUser_DoesNotWriteUnchangedUser(t *testing.T) {
	h := newTestDirectory(t)
	id := h.addUser(t, "alice")
	before := h.Revision()
	h.update(t, func(tx *directory.Tx) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		return tx.PutUser(&u)
	})
	if h.Revision() != before {
		t.Errorf("revision went from %d to %d", before, h.Revision())
	}
}

func TestLookup_DoesNotAllocate(t *testing.T) {
	h := newTestDirectory(t)
	h.addUser(t, "alice")
	if n := testing.AllocsPerRun(1000, func() { h.Lookup("oid-alice") }); n != 0 {
		t.Errorf("Lookup allocates %v times", n)
	}
}

func TestRecords_ComeInOrderAfterReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "store.db")
	h := open(t, path)
	for i := range 5 {
		h.update(t, func(tx *directory.Tx) error {
			return tx.Record(directory.Record{Received: time.Unix(int64(i), 0), Event: fmt.Appendf(nil, "%d", i)})
		})
	}
	h.stop()
	h = open(t, path)
	defer h.stop()
	var got []string
	for rec, err := range h.Records(context.Background(), 2) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, string(rec.Event)); len(got) == 3 {
			break
		}
	}
	if strings.Join(got, "") != "234" {
		t.Errorf("records after revision 2 are %v", got)
	}
}

// TestDirectory_MatchesModel makes random changes and compares memory and store with
// plain maps after each, and again after the store was reopened.
func TestDirectory_MatchesModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		path := filepath.Join(t.TempDir(), fmt.Sprintf("store-%d.db", time.Now().UnixNano()))
		h := open(t, path)
		defer func() { h.stop() }()
		m := &model{users: map[string]directory.User{}, groups: map[string]directory.Group{}, edges: map[string]map[string]bool{}}
		rt.Repeat(map[string]func(*rapid.T){
			"":               func(rt *rapid.T) { m.compare(rt, h) },
			"create user":    func(rt *rapid.T) { m.putUser(rt, h, "") },
			"change user":    func(rt *rapid.T) { m.putUser(rt, h, m.anyUser(rt)) },
			"delete user":    func(rt *rapid.T) { m.deleteUser(rt, h) },
			"create group":   func(rt *rapid.T) { m.putGroup(rt, h, "") },
			"change group":   func(rt *rapid.T) { m.putGroup(rt, h, m.anyGroup(rt)) },
			"delete group":   func(rt *rapid.T) { m.deleteGroup(rt, h) },
			"add members":    func(rt *rapid.T) { m.changeMembers(rt, h, (*directory.Tx).AddMembers, true) },
			"remove members": func(rt *rapid.T) { m.changeMembers(rt, h, (*directory.Tx).RemoveMembers, false) },
			"set members":    func(rt *rapid.T) { m.setMembers(rt, h) },
		})
		h.stop()
		h = open(t, path)
		m.compare(rt, h)
	})
}

// model is a directory in plain maps. edges has the members of each group.
type model struct {
	users  map[string]directory.User
	groups map[string]directory.Group
	edges  map[string]map[string]bool
}

func anyKey[T any](rt *rapid.T, byID map[string]T) string {
	if len(byID) == 0 {
		rt.Skip("there is none yet")
	}
	return rapid.SampledFrom(slices.Sorted(maps.Keys(byID))).Draw(rt, "id")
}

func (m *model) anyUser(rt *rapid.T) string  { return anyKey(rt, m.users) }
func (m *model) anyGroup(rt *rapid.T) string { return anyKey(rt, m.groups) }

func (m *model) putUser(rt *rapid.T, h *testDirectory, id string) {
	u := directory.User{UserName: rapid.SampledFrom([]string{"a", "A", "b", "c", "d", "e f"}).Draw(rt, "name"),
		ExternalID: rapid.SampledFrom([]string{"", "x", "y", "z"}).Draw(rt, "external"), Active: rapid.Bool().Draw(rt, "active")}
	err := h.Update(context.Background(), func(tx *directory.Tx) error { u.ID = id; return tx.PutUser(&u) })
	for otherID, other := range m.users {
		if otherID != id && strings.EqualFold(other.UserName, u.UserName) {
			if _, ok := errors.AsType[*directory.ConflictError](err); !ok {
				rt.Fatalf("writing a second %q gives %v", u.UserName, err)
			}
			return
		}
	}
	if err != nil {
		rt.Fatal(err)
	}
	m.users[u.ID] = u
}

func (m *model) deleteUser(rt *rapid.T, h *testDirectory) {
	id := m.anyUser(rt)
	if err := h.Update(context.Background(), func(tx *directory.Tx) error { return tx.DeleteUser(id) }); err != nil {
		rt.Fatal(err)
	}
	delete(m.users, id)
	for _, members := range m.edges {
		delete(members, id)
	}
}

func (m *model) putGroup(rt *rapid.T, h *testDirectory, id string) {
	g := directory.Group{DisplayName: rapid.SampledFrom([]string{"g", "h", "i", "j"}).Draw(rt, "name")}
	g.ExternalID = rapid.SampledFrom([]string{"", "ext-" + g.DisplayName}).Draw(rt, "external")
	err := h.Update(context.Background(), func(tx *directory.Tx) error { g.ID = id; return tx.PutGroup(&g) })
	for otherID, other := range m.groups {
		if otherID != id && other.DisplayName == g.DisplayName {
			if _, ok := errors.AsType[*directory.ConflictError](err); !ok {
				rt.Fatalf("writing a second %q gives %v", g.DisplayName, err)
			}
			return
		}
	}
	if err != nil {
		rt.Fatal(err)
	}
	m.groups[g.ID] = g
	if id == "" {
		m.edges[g.ID] = map[string]bool{}
	}
}

func (m *model) deleteGroup(rt *rapid.T, h *testDirectory) {
	id := m.anyGroup(rt)
	if err := h.Update(context.Background(), func(tx *directory.Tx) error { return tx.DeleteGroup(id) }); err != nil {
		rt.Fatal(err)
	}
	delete(m.groups, id)
	delete(m.edges, id)
}

func (m *model) someUsers(rt *rapid.T) []string {
	ids := append(slices.Sorted(maps.Keys(m.users)), strings.Repeat("0", 32))
	return rapid.SliceOf(rapid.SampledFrom(ids)).Draw(rt, "users")
}

func (m *model) changeMembers(rt *rapid.T, h *testDirectory, change func(*directory.Tx, string, []string) (int, error), add bool) {
	group, ids := m.anyGroup(rt), m.someUsers(rt)
	var changed int
	err := h.Update(context.Background(), func(tx *directory.Tx) (err error) { changed, err = change(tx, group, ids); return err })
	if err != nil {
		rt.Fatal(err)
	}
	want := 0
	for _, id := range ids {
		if _, exists := m.users[id]; exists && m.edges[group][id] != add {
			want++
			if m.edges[group][id] = add; !add {
				delete(m.edges[group], id)
			}
		}
	}
	if changed != want {
		rt.Fatalf("%d memberships changed, want %d", changed, want)
	}
}

func (m *model) setMembers(rt *rapid.T, h *testDirectory) {
	group, ids := m.anyGroup(rt), m.someUsers(rt)
	err := h.Update(context.Background(), func(tx *directory.Tx) error { _, _, err := tx.SetMembers(group, ids); return err })
	if err != nil {
		rt.Fatal(err)
	}
	m.edges[group] = map[string]bool{}
	for _, id := range ids {
		if _, exists := m.users[id]; exists {
			m.edges[group][id] = true
		}
	}
}

func (m *model) compare(rt *rapid.T, h *testDirectory) {
	for id, want := range m.users {
		u, ok := h.ByID(id)
		if !ok || u.UserName != want.UserName || u.ExternalID != want.ExternalID || u.Active != want.Active || u.Damaged {
			rt.Fatalf("memory has %+v, want %+v", u, want)
		}
		if got := groupsIn(u); !slices.Equal(got, m.groupsOf(id)) {
			rt.Fatalf("%s is in %v, want %v", want.UserName, got, m.groupsOf(id))
		}
	}
	m.compareLookups(rt, h)
	m.compareStore(rt, h)
	inspectStore(rt, h)
}

// groupsIn returns the groups of a user as "id=name".
func groupsIn(u *directory.User) (list []string) {
	for i := range u.GroupIDs {
		list = append(list, u.GroupIDs[i]+"="+u.GroupNames[i])
	}
	slices.Sort(list)
	return list
}

func (m *model) groupsOf(user string) (list []string) {
	for id, g := range m.groups {
		if m.edges[id][user] {
			list = append(list, g.ExternalID+"="+g.DisplayName)
		}
	}
	slices.Sort(list)
	return list
}

func (m *model) compareLookups(rt *rapid.T, h *testDirectory) {
	for _, key := range []string{"", "x", "y", "z"} {
		var holders, active []string
		for id, u := range m.users {
			if key != "" && u.ExternalID == key {
				holders = append(holders, id)
				if u.Active {
					active = append(active, id)
				}
			}
		}
		if len(active) > 0 {
			holders = active // the inactive ones do not count
		}
		u, ok := h.Lookup(key)
		if ok != (len(holders) == 1) || ok && u.ID != holders[0] {
			rt.Fatalf("Lookup(%q) is %+v, %v; held by %v", key, u, ok, holders)
		}
	}
}

// inspectStore demands that an inspection finds no fault in what was stored.
func inspectStore(rt *rapid.T, h *testDirectory) {
	err := h.store.View(context.Background(), func(r store.Reader) error {
		i := directory.NewInspection()
		for e, err := range r.Scan(nil, nil) {
			if err != nil {
				return err
			}
			if ours, err := i.Record(e); !ours || err != nil {
				rt.Fatalf("the record at %q: %v, %v", e.Key, ours, err)
			}
		}
		if faults := i.Finish(); len(faults) > 0 {
			rt.Fatalf("an inspection finds %v", faults)
		}
		return nil
	})
	if err != nil {
		rt.Fatal(err)
	}
}

func (m *model) compareStore(rt *rapid.T, h *testDirectory) {
	err := h.View(context.Background(), func(tx *directory.Tx) error {
		users, _ := tx.UserCount()
		groups, _ := tx.GroupCount()
		if users != len(m.users) || groups != len(m.groups) {
			rt.Fatalf("%d users and %d groups are counted, want %d and %d", users, groups, len(m.users), len(m.groups))
		}
		for id := range m.groups {
			g, err := tx.Group(id)
			if err != nil {
				return err
			}
			var members []string
			for member, err := range tx.Members(id, "") {
				if err != nil {
					return err
				}
				members = append(members, member.ID)
			}
			if !slices.Equal(members, slices.Sorted(maps.Keys(m.edges[id]))) || g.Members != len(members) {
				rt.Fatalf("group %s has members %v (counted %d), want %v", g.DisplayName, members, g.Members, m.edges[id])
			}
		}
		return nil
	})
	if err != nil {
		rt.Fatal(err)
	}
}
