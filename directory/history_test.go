package directory_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"

	"sallyport/directory"
	"sallyport/disk/disktest"
	"sallyport/store"
	"sallyport/store/bolt"
)

// chronicle is a directory whose clock is set by a test.
type chronicle struct {
	*testDirectory
	t     *testing.T
	path  string
	clock time.Time
}

func newChronicle(t *testing.T) *chronicle {
	c := &chronicle{t: t, path: filepath.Join(t.TempDir(), "store.db"), clock: time.Date(2026, 5, 3, 12, 0, 0, 0, time.UTC)}
	c.open()
	t.Cleanup(func() { c.stop() })
	return c
}

func (c *chronicle) open() {
	c.testDirectory = open(c.t, c.path)
	c.SetClock(func() time.Time { return c.clock })
}

// reopen stops the directory, calls between, and opens the directory again.
func (c *chronicle) reopen(between func()) {
	c.stop()
	between()
	c.open()
}

// later makes a change an hour after the last, and returns when, and its revision.
func (c *chronicle) later(fn func(*directory.Tx) error) (time.Time, uint64) {
	c.t.Helper()
	c.clock = c.clock.Add(time.Hour)
	c.update(c.t, fn)
	return c.clock, c.Revision()
}

// hire makes a user, and adds them to a group unless it is "".
func (c *chronicle) hire(name, group string) (id string, at time.Time) {
	c.t.Helper()
	at, _ = c.later(func(tx *directory.Tx) error {
		u := directory.User{UserName: name, ExternalID: "x-" + name, Active: true, Document: json.RawMessage(`{"title":"Engineer"}`)}
		err := tx.PutUser(&u)
		if id = u.ID; err == nil && group != "" {
			_, err = tx.AddMembers(group, []string{id})
		}
		return err
	})
	return id, at
}

func (c *chronicle) at(at time.Time) *directory.Past {
	c.t.Helper()
	p, err := c.At(context.Background(), at)
	if err != nil {
		c.t.Fatalf("at %s: %v", at, err)
	}
	return p
}

// unknown demands that the history does not know a time, and says why.
func (c *chronicle) unknown(at time.Time, why string) {
	c.t.Helper()
	if _, err := c.At(context.Background(), at); !errors.Is(err, directory.ErrNoHistory) || !strings.Contains(err.Error(), why) {
		c.t.Errorf("at %s the error is %v, want one with %q", at, err, why)
	}
}

func names(p *directory.Past) (list []string) {
	for _, u := range p.Users() {
		list = append(list, u.UserName)
	}
	return list
}

func TestAt_KnowsNoOtherTimes(t *testing.T) {
	c := newChronicle(t)
	c.unknown(c.clock, "it begins with the next change")
	_, first := c.hire("ada", "")
	_, second := c.hire("bob", "")
	c.unknown(first.Add(-1), "it begins at 2026-05-03T13:00:00Z")
	c.unknown(c.clock.Add(time.Second), "2026-05-03T14:00:01Z is in the future")
	if got := names(c.at(second.Add(-1))); !slices.Equal(got, []string{"ada"}) {
		t.Errorf("before the second change there are %q", got)
	}
	if got := names(c.at(second)); !slices.Equal(got, []string{"ada", "bob"}) {
		t.Errorf("after the second change there are %q", got)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.At(ctx, second.Add(-1)); !errors.Is(err, context.Canceled) {
		t.Errorf("a question that was given up gets %v", err)
	}
}

// TestAt_ClockSetBack: changes are in the order of their revisions. A change that was made
// after the clock was set back counts, and so does what came before it.
func TestAt_ClockSetBack(t *testing.T) {
	c := newChronicle(t)
	noon := c.clock
	for _, step := range []struct {
		name  string
		after time.Duration
	}{{"first", 0}, {"fast", 3 * time.Hour}, {"right", time.Hour}, {"last", 4 * time.Hour}} {
		c.clock = noon.Add(step.after - time.Hour)
		c.hire(step.name, "")
	}
	for after, want := range map[time.Duration][]string{
		0: {"first"}, 30 * time.Minute: {"first"}, time.Hour: {"fast", "first", "right"}, 3 * time.Hour: {"fast", "first", "right"},
		4 * time.Hour: {"fast", "first", "last", "right"},
	} {
		if got := names(c.at(noon.Add(after))); !slices.Equal(got, want) {
			t.Errorf("%s after noon there are %q, want %q", after, got, want)
		}
	}
}

// TestMemberships_SayWhoBeganThem: by the last change that made the user a member before
// the time asked about.
func TestMemberships_SayWhoBeganThem(t *testing.T) {
	c := newChronicle(t)
	var group, inner string
	c.later(func(tx *directory.Tx) error {
		g, i := directory.Group{DisplayName: "SRE"}, directory.Group{DisplayName: "Inner"}
		err := errors.Join(tx.PutGroup(&g), tx.PutGroup(&i))
		group, inner = g.ID, i.ID
		return err
	})
	by := func(name string, change func(*directory.Tx) error) (time.Time, uint64) {
		return c.later(func(tx *directory.Tx) error {
			tx.By(directory.Cause{Kind: "token", Name: name, ID: "t-" + name})
			return change(tx)
		})
	}
	members := func(ids ...string) func(*directory.Tx) error {
		return func(tx *directory.Tx) error { _, _, err := tx.SetMembers(group, ids); return err }
	}
	ada, _ := c.hire("ada", "")
	bob, _ := c.hire("bob", "")
	t1, r1 := by("first", members(ada))
	t2, r2 := by("second", members(ada, bob, inner))
	by("third", members(bob, inner))
	t4, r4 := by("fourth", members(ada, bob, inner))

	for _, test := range []struct {
		at   time.Time
		want []directory.Membership
	}{
		{t1.Add(-1), nil},
		{t2.Add(-1), []directory.Membership{{directory.Member{ID: ada}, r1, t1, directory.Cause{Kind: "token", Name: "first", ID: "t-first"}}}},
		{t4, []directory.Membership{
			{directory.Member{ID: ada}, r4, t4, directory.Cause{Kind: "token", Name: "fourth", ID: "t-fourth"}},
			{directory.Member{ID: bob}, r2, t2, directory.Cause{Kind: "token", Name: "second", ID: "t-second"}},
			{directory.Member{ID: inner, IsGroup: true}, r2, t2, directory.Cause{Kind: "token", Name: "second", ID: "t-second"}},
		}},
	} {
		got, err := c.Memberships(context.Background(), c.at(test.at), group)
		if err != nil || !slices.Equal(got, test.want) {
			t.Errorf("at %s the members are\n%+v, %v, want\n%+v", test.at, got, err, test.want)
		}
	}

	c.clock = c.clock.Add(500 * 24 * time.Hour)
	c.hire("eve", group) // old records go
	c.hire("zoe", "")
	c.hire("joe", "")
	got, err := c.Memberships(context.Background(), c.at(c.clock), group)
	if err != nil || len(got) != 4 {
		t.Fatalf("the members are %+v, %v", got, err)
	}
	for _, m := range got {
		if known := m.Revision > 0; known != !m.Since.IsZero() || known != (m.ID != ada && m.ID != bob && m.ID != inner) {
			t.Errorf("of a membership that began before the history it is said: %+v", m)
		}
	}
}

// TestHistory_BeginsAnewAfterUnrecordedChanges: a version without a history may have run.
func TestHistory_BeginsAnewAfterUnrecordedChanges(t *testing.T) {
	for name, change := range map[string]func(key, value []byte) (newKey, newValue []byte){
		"altered": func(key, value []byte) ([]byte, []byte) {
			return key, bytes.Replace(value, []byte("Engineer"), []byte("Director"), 1)
		},
		"deleted": func(key, _ []byte) ([]byte, []byte) { return key, nil },
	} {
		t.Run(name, func(t *testing.T) {
			c := newChronicle(t)
			ada, first := c.hire("ada", "")
			c.hire("bob", "")
			c.reopen(func() { withoutHistory(t, c.path, ada, change) })
			c.unknown(first, "a change was made without its history")
			c.unknown(c.clock, "a change was made without its history")
			_, third := c.hire("eve", "")
			c.unknown(third.Add(-1), "it begins at")
			if got := names(c.at(third)); !slices.Contains(got, "eve") {
				t.Errorf("there are %q", got)
			}
			c.reopen(func() {})
			_, fourth := c.hire("zoe", "")
			c.at(third)
			c.at(fourth)
			if faults := c.inspect(); len(faults) > 0 && name == "altered" {
				t.Errorf("the inspection finds %v", faults)
			}
		})
	}
}

// withoutHistory changes the record of a user as a version without a history would. nil
// deletes it.
func withoutHistory(t *testing.T, path, user string, change func(key, value []byte) (newKey, newValue []byte)) {
	t.Helper()
	st, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	_, err = st.Update(context.Background(), func(w store.Writer) error {
		for e, err := range w.Scan([]byte("user/"), nil) {
			if err != nil || !bytes.Contains(e.Value, []byte(user)) {
				continue
			}
			key, value := change(e.Key, e.Value)
			if value == nil {
				return w.Delete(key)
			}
			return w.Put(key, value)
		}
		return errors.New("the user is not there")
	})
	if err != nil {
		t.Fatal(err)
	}
}

// inspect returns what is wrong with the records of the directory.
func (c *chronicle) inspect() (faults []error) {
	c.t.Helper()
	i := directory.NewInspection()
	err := c.store.View(context.Background(), func(r store.Reader) error {
		for e, err := range r.Scan(nil, nil) {
			ours, fault := i.Record(e)
			if !ours {
				fault = fmt.Errorf("the key %q is unknown", e.Key)
			}
			if err := errors.Join(err, fault); err != nil {
				faults = append(faults, fmt.Errorf("%q: %w", e.Key, err))
			}
		}
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return append(faults, i.Finish()...)
}

func TestHistory_GoesOnAfterRestart(t *testing.T) {
	c := newChronicle(t)
	_, first := c.hire("ada", "")
	c.reopen(func() {})
	_, second := c.hire("bob", "")
	if got := names(c.at(second.Add(-1))); !slices.Equal(got, []string{"ada"}) {
		t.Errorf("before the restart there were %q", got)
	}
	c.at(first)
	if faults := c.inspect(); len(faults) > 0 {
		t.Errorf("the inspection finds %v", faults)
	}
}

// records returns how many keys there are below a prefix.
func (c *chronicle) records(prefix string) (n int) {
	c.t.Helper()
	err := c.store.View(context.Background(), func(r store.Reader) error {
		n = 0
		for range r.Scan([]byte(prefix), nil) {
			n++
		}
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// historyBytes returns how large the records of the history are together.
func (c *chronicle) historyBytes() (n int64) {
	c.t.Helper()
	err := c.store.View(context.Background(), func(r store.Reader) error {
		n = 0
		for e := range r.Scan([]byte("history/"), nil) {
			if string(e.Key) != "history/head" {
				n += int64(len(e.Key) + len(e.Value))
			}
		}
		return nil
	})
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

func TestHistory_Off(t *testing.T) {
	c := newChronicle(t)
	_, first := c.hire("ada", "")
	c.reopen(func() {})
	c.KeepHistory(0)
	c.unknown(first, "no history is kept; set history in the configuration")
	c.hire("bob", "")
	if n := c.records("history/"); n != 0 {
		t.Errorf("%d records of the history are left", n)
	}
	c.reopen(func() {})
	c.unknown(first, "it begins with the next change")
	_, third := c.hire("eve", "")
	c.unknown(third.Add(-1), "it begins at")
	if got := names(c.at(third)); len(got) != 3 {
		t.Errorf("there are %q", got)
	}
}

// TestHistory_OffAndOnAgain turns the history off and on while the directory changes: it knows nothing of the time without
// it, and goes on soundly, also over restarts.
func TestHistory_OffAndOnAgain(t *testing.T) {
	c := newChronicle(t)
	_, first := c.hire("ada", "")
	c.KeepHistory(0)
	c.unknown(first, "no history is kept")
	c.KeepHistory(directory.DefaultRetention)
	if got := names(c.at(first)); len(got) != 1 { // nothing was changed meanwhile
		t.Errorf("there are %q", got)
	}
	c.KeepHistory(0)
	_, second := c.hire("bob", "")
	c.KeepHistory(directory.DefaultRetention)
	c.unknown(second, "it begins with the next change")
	_, third := c.hire("eve", "")
	_, fourth := c.hire("dan", "")
	for range 2 {
		c.unknown(third.Add(-1), "it begins at")
		if got := names(c.at(third)); !slices.Equal(got, []string{"ada", "bob", "eve"}) {
			t.Errorf("after the third change there are %q", got)
		}
		c.reopen(func() {})
		c.hire("x"+fmt.Sprint(c.Revision()), "")
		if got := names(c.at(fourth)); !slices.Equal(got, []string{"ada", "bob", "dan", "eve"}) && !slices.Equal(got, []string{"ada", "bob", "eve", "dan"}) {
			t.Errorf("after the fourth change there are %q", got)
		}
	}
}

// TestHistory_WritesNothingForNothing: a change that leaves everything as it was, or that
// concerns other keys, leaves no record of the history.
func TestHistory_WritesNothingForNothing(t *testing.T) {
	c := newChronicle(t)
	ada, _ := c.hire("ada", "")
	n, revision := c.records("history/"), c.Revision()
	c.later(func(tx *directory.Tx) error {
		u, err := tx.User(ada)
		if err != nil {
			return err
		}
		return tx.PutUser(&u)
	})
	if c.Revision() != revision {
		t.Error("a change of nothing makes a revision")
	}
	c.later(func(tx *directory.Tx) error { return tx.Record(directory.Record{Event: json.RawMessage(`{}`)}) })
	if got := c.records("history/"); got != n {
		t.Errorf("there are %d records instead of %d", got, n)
	}
}

// TestHistory_IsBounded: by time and by bytes, a few records at each change, and sooner or
// later by a bound that was lowered.
func TestHistory_IsBounded(t *testing.T) {
	t.Run("bytes", func(t *testing.T) {
		c := newChronicle(t)
		const bound = 2000
		c.KeepBytes(bound)
		for i := range 100 {
			c.hire(fmt.Sprintf("user%d", i), "")
		}
		if n := c.records("history/"); n > bound/30 || n < 10 {
			t.Errorf("%d records are left", n)
		}
		c.at(c.clock.Add(-5 * time.Hour))
		c.unknown(c.clock.Add(-99*time.Hour), "it begins at 2026-05-0")
	})
	t.Run("large_changes_after_small_ones", func(t *testing.T) {
		c := newChronicle(t)
		group := c.addGroup(t, "sre")
		var ids []string
		c.later(func(tx *directory.Tx) error {
			for i := range 1500 {
				u := directory.User{UserName: fmt.Sprint("user", i)}
				if err := tx.PutUser(&u); err != nil {
					return err
				}
				ids = append(ids, u.ID)
			}
			return nil
		})
		for i := range 1500 {
			c.later(func(tx *directory.Tx) error { return tx.Suspend(ids[0], fmt.Sprint(i)) })
		}
		bound := c.historyBytes()
		c.KeepBytes(bound)
		for range 4 {
			c.later(func(tx *directory.Tx) error { _, err := tx.AddMembers(group, ids); return err })
			if n := c.historyBytes(); n > bound {
				t.Fatalf("%d bytes are kept, and %d may be", n, bound)
			}
			c.later(func(tx *directory.Tx) error { _, err := tx.RemoveMembers(group, ids); return err })
		}
	})
	t.Run("time", func(t *testing.T) {
		c := newChronicle(t)
		for i := range 60 {
			c.hire(fmt.Sprintf("user%d", i), "")
		}
		c.KeepHistory(directory.Retention(10 * time.Hour))
		for i := range 60 {
			c.hire(fmt.Sprintf("later%d", i), "")
		}
		if n := c.records("history/"); n != 10+1+1 { // those of ten hours, one at the bound, the head
			t.Errorf("%d records are left", n)
		}
		c.at(c.clock.Add(-10 * time.Hour))
		c.unknown(c.clock.Add(-13*time.Hour), "it begins at")
	})
	t.Run("clock that was wrong", func(t *testing.T) { // a record of the future does not stay
		c := newChronicle(t)
		c.KeepHistory(directory.Retention(10 * time.Hour))
		right := c.clock
		c.hire("ada", "")
		c.clock = right.AddDate(14, 0, 0)
		c.hire("bob", "")
		c.hire("eve", "")
		c.clock = right.Add(time.Hour)
		for i := range 40 {
			c.hire(fmt.Sprintf("user%d", i), "")
		}
		if n := c.records("history/"); n > 14 {
			t.Errorf("%d records are left", n)
		}
		c.at(c.clock.Add(-9 * time.Hour))
		c.unknown(right, "it begins at 2026-05-0")
	})
}

// alter replaces the value at key in the file, without its checksum: nil flips a bit.
func alter(t *testing.T, path string, key []byte) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		data := tx.Bucket([]byte("data"))
		value := bytes.Clone(data.Get(key))
		if value == nil {
			t.Fatalf("there is no key %q", key)
		}
		value[len(value)-1] ^= 1
		return data.Put(key, value)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestHistory_DamagedRecord: times before it are not known, all others are, and nothing
// else fails.
func TestHistory_DamagedRecord(t *testing.T) {
	c := newChronicle(t)
	var group string
	c.later(func(tx *directory.Tx) error {
		g := directory.Group{DisplayName: "SRE"}
		err := tx.PutGroup(&g)
		group = g.ID
		return err
	})
	c.hire("ada", group)
	_, second := c.hire("bob", group)
	damaged := c.Revision()
	_, third := c.hire("eve", group)
	c.reopen(func() { alter(t, c.path, directory.HistoryKey(damaged)) })

	if got := names(c.at(third)); len(got) != 3 {
		t.Errorf("there are %q", got)
	}
	c.unknown(third.Add(-1), fmt.Sprintf("the record of revision %d is damaged; only times from 2026-05-03T16:00:00Z on", damaged))
	c.unknown(second, "is damaged")
	if _, err := c.Memberships(context.Background(), c.at(third), group); !errors.Is(err, directory.ErrNoHistory) {
		t.Errorf("who is a member since when: %v", err)
	}
	if faults := c.inspect(); len(faults) != 1 || !errors.Is(faults[0], store.ErrDamaged) {
		t.Errorf("the inspection finds %v", faults)
	}
	_, fourth := c.hire("zoe", group)
	c.at(fourth.Add(-1))
	c.KeepHistory(directory.Retention(2 * time.Hour)) // the damaged record goes like the others
	for i := range 10 {
		c.hire(fmt.Sprint("user", i), "")
	}
	c.at(c.clock.Add(-time.Hour))
	c.unknown(third, "it begins at")
	if faults := c.inspect(); len(faults) != 0 {
		t.Errorf("the inspection finds %v", faults)
	}
}

func TestHistory_DamagedHead(t *testing.T) {
	c := newChronicle(t)
	_, first := c.hire("ada", "")
	c.reopen(func() { alter(t, c.path, []byte("history/head")) })
	c.unknown(first, "is damaged; the history begins anew")
	_, second := c.hire("bob", "")
	c.unknown(second.Add(-1), "it begins at")
	_, third := c.hire("eve", "")
	c.reopen(func() {})
	c.at(second)
	c.at(third)
	if faults := c.inspect(); len(faults) != 0 {
		t.Errorf("the inspection finds %v", faults)
	}
}

// TestHistory_DamagedUser: the history goes on. Where it needs the damaged record, the
// user is damaged, and nobody else.
func TestHistory_DamagedUser(t *testing.T) {
	c := newChronicle(t)
	ada, first := c.hire("ada", "")
	c.hire("bob", "")
	_, renamed := c.retitle(ada, "Director")
	c.reopen(func() { damage(t, c.path, "user/"+unhex(t, ada)) })
	for _, at := range []time.Time{first, renamed, c.clock} {
		u, ok := c.at(at).ByID(ada)
		if !ok || !u.Damaged || u.Barred() != "damaged_record" {
			t.Errorf("at %s the user is %+v", at, u)
		}
	}
	if u := c.at(renamed).UsersNamed("bob"); len(u) != 1 || u[0].Damaged {
		t.Errorf("bob is %+v", u)
	}
	c.hire("eve", "")
	c.reopen(func() {})
	c.at(first)
}

// retitle changes the title of a user.
func (c *chronicle) retitle(user, title string) (revision uint64, at time.Time) {
	at, revision = c.later(func(tx *directory.Tx) error {
		u, err := tx.User(user)
		if err != nil {
			return err
		}
		u.Document = fmt.Appendf(nil, `{"title":%q}`, title)
		return tx.PutUser(&u)
	})
	return revision, at
}

// TestHistory_RestoredStore: what was true while the changes were made that a restored copy
// lacks is not known.
func TestHistory_RestoredStore(t *testing.T) {
	for name, known := range map[string]time.Duration{"copy": 90 * time.Minute, "copy of unknown age": 0} {
		t.Run(name, func(t *testing.T) {
			c := newChronicle(t)
			c.hire("ada", "")
			_, last := c.hire("bob", "")
			restored := last.Add(5*time.Hour + time.Nanosecond)
			made := time.Time{}
			if known > 0 {
				made = last.Add(known)
			}
			c.reopen(func() { putBreak(t, c.path, restored, made) })
			c.clock = restored.Add(time.Minute)
			for _, at := range []time.Time{last.Add(-1), last, last.Add(known), restored, c.clock} {
				c.at(at)
			}
			why := "the store was replaced by an older one at 2026-05-03T19:00:01Z, and changes since " + last.Add(known).Format(time.RFC3339) + " are lost"
			c.unknown(last.Add(known+1), why)
			c.unknown(restored.Add(-1), why)
			_, after := c.hire("eve", "")
			c.unknown(restored.Add(-1), why)
			if got := names(c.at(after.Add(-1))); !slices.Equal(got, []string{"ada", "bob"}) {
				t.Errorf("after the copy was restored there are %q", got)
			}
			if got := names(c.at(last.Add(-1))); !slices.Equal(got, []string{"ada"}) {
				t.Errorf("before the last change there are %q", got)
			}
			if faults := c.inspect(); len(faults) > 0 {
				t.Errorf("the inspection finds %v", faults)
			}
			c.KeepHistory(directory.Retention(2 * time.Hour))
			for i := range 10 {
				c.hire(fmt.Sprint("user", i), "")
			}
			c.unknown(restored.Add(-1), "it begins at")
		})
	}
	t.Run("no history", func(t *testing.T) {
		c := newChronicle(t)
		c.reopen(func() { putBreak(t, c.path, c.clock, c.clock) })
		c.hire("ada", "")
		c.at(c.clock)
	})
}

func putBreak(t *testing.T, path string, at, known time.Time) {
	t.Helper()
	st, err := bolt.Open(path, bolt.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if _, err := st.Update(context.Background(), func(w store.Writer) error { return directory.PutBreak(w, at, known) }); err != nil {
		t.Fatal(err)
	}
}

// fullDisk returns a directory on a small disk, filled up after prepare.
func fullDisk(t *testing.T, reserve int64, prepare func(*testDirectory)) *testDirectory {
	t.Helper()
	dir := t.TempDir()
	disktest.Mount(t, dir, "16m")
	st, err := bolt.Open(filepath.Join(dir, "store.db"), bolt.Options{Init: true, Reserve: reserve})
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
	t.Cleanup(func() { cancel(); <-done; _ = st.Close() })
	h := &testDirectory{Directory: d, store: st}
	prepare(h)
	if err := os.WriteFile(filepath.Join(dir, "fill"), make([]byte, 1<<26), 0o600); !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	for i := 0; err == nil; i++ {
		err = h.Update(context.Background(), func(tx *directory.Tx) error {
			return tx.PutUser(&directory.User{UserName: fmt.Sprint(i), Document: json.RawMessage(`"` + strings.Repeat("x", 2000) + `"`)})
		})
	}
	if !errors.Is(err, store.ErrFull) {
		t.Fatalf("on a full disk, a new user gets %v", err)
	}
	return h
}

// TestHistory_MakesSpaceOnFullDisk: the changes that take access away do not use up the
// reserve for the history. The oldest records go.
func TestHistory_MakesSpaceOnFullDisk(t *testing.T) {
	var ada string
	var begun time.Time
	h := fullDisk(t, 256<<10, func(h *testDirectory) { ada = h.addUser(t, "ada"); begun = time.Now() })
	for i := range 2000 { // without room, their history would have 1.2 MB
		h.update(t, func(tx *directory.Tx) error { return tx.Suspend(ada, fmt.Sprint(i, strings.Repeat("x", 500))) })
	}
	if _, err := h.At(context.Background(), time.Now()); err != nil {
		t.Error(err)
	}
	if _, err := h.At(context.Background(), begun); !errors.Is(err, directory.ErrNoHistory) {
		t.Errorf("the oldest records are still there: %v", err)
	}
}

// TestHistory_YieldsToUrgentChange: a change that takes access away, and whose history does
// not fit, is made without it.
func TestHistory_YieldsToUrgentChange(t *testing.T) {
	const members = 8000
	var group string
	h := fullDisk(t, 96<<10, func(h *testDirectory) {
		group = h.addGroup(t, "sre")
		for part := range 8 { // a store is slow at one change of many keys
			h.update(t, func(tx *directory.Tx) error {
				var ids []string
				for i := range members / 8 {
					u := directory.User{UserName: fmt.Sprintf("member%d.%d", part, i)}
					if err := tx.PutUser(&u); err != nil {
						return err
					}
					ids = append(ids, u.ID)
				}
				_, err := tx.AddMembers(group, ids)
				return err
			})
		}
	})
	h.update(t, func(tx *directory.Tx) error { return tx.DeleteGroup(group) })
	if _, err := h.At(context.Background(), time.Now()); !errors.Is(err, directory.ErrNoHistory) || !strings.Contains(err.Error(), "without its history") {
		t.Errorf("the history is that of other changes: %v", err)
	}
	ada := h.Users()[0].ID
	h.update(t, func(tx *directory.Tx) error { return tx.Suspend(ada, "left") })
	if _, err := h.At(context.Background(), time.Now()); err != nil {
		t.Errorf("after the next change: %v", err)
	}
}

func unhex(t *testing.T, id string) string {
	t.Helper()
	b, err := hex.DecodeString(id)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
