package directory_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sallyport/directory"
)

// put creates a user with a document, and returns the id.
func (h *testDirectory) put(t testing.TB, userName, document string) (id string) {
	t.Helper()
	h.update(t, func(tx *directory.Tx) error {
		u := directory.User{UserName: userName, Active: true, Document: []byte(document)}
		err := tx.PutUser(&u)
		id = u.ID
		return err
	})
	return id
}

func userNames(users []*directory.User) string {
	var list []string
	for _, u := range users {
		list = append(list, u.UserName)
	}
	return strings.Join(list, " ")
}

func TestFind_AnyName(t *testing.T) {
	d := newTestDirectory(t)
	id := d.put(t, "kjohnson@example.com", `{"displayName":"Kate","nickName":"Kit","name":{"formatted":"Katherine Jöhnson","familyName":"Jöhnson","middleName":"Coleman"},"emails":[{"value":"katherine@orbit.example"}]}`)
	d.put(t, "zed@example.com", `{"displayName":"Zed İnce"}`)
	d.put(t, "nine@example.com", `{"displayName":"Ångström Straße"}`)
	for text, want := range map[string]string{
		"KATE": "kjohnson@example.com", "kit": "kjohnson@example.com", "johnson": "kjohnson@example.com", "JÖHNSON": "kjohnson@example.com",
		"coleman": "kjohnson@example.com", "orbit.example": "kjohnson@example.com", id: "kjohnson@example.com", id[5:20]: "kjohnson@example.com",
		"john kath": "kjohnson@example.com", "kate zed": "", "nobody": "", "angstrom": "nine@example.com", "STRASSE": "nine@example.com",
		"  kate  ": "kjohnson@example.com", "": "kjohnson@example.com nine@example.com zed@example.com", "@example.com": "kjohnson@example.com nine@example.com zed@example.com",
		"kate\x00": "", "ince": "zed@example.com",
	} {
		found, total := d.Find(directory.Query{Text: text, Limit: 10})
		if got := userNames(found); got != want || total != len(found) {
			t.Errorf("%q finds %q, %d in all; want %q", text, got, total, want)
		}
	}
}

func TestFind_BestFirst(t *testing.T) {
	d := newTestDirectory(t)
	for _, name := range []string{"xada@example.com", "z.ada@example.com", "b", "adam@example.com", "a"} {
		d.put(t, name, map[string]string{"b": `{"displayName":"Ada"}`, "a": `{"displayName":"Granada"}`}[name])
	}
	found, total := d.Find(directory.Query{Text: "ada", Limit: 10})
	if got, want := userNames(found), "b adam@example.com z.ada@example.com a xada@example.com"; got != want || total != 5 {
		t.Errorf("found %q, %d in all; want %q", got, total, want)
	}
}

func TestFind_Pages(t *testing.T) {
	d := newTestDirectory(t)
	var want []string
	for i := range 25 {
		want = append(want, fmt.Sprintf("user%02d", i*7%25))
		d.put(t, want[i], `{}`)
	}
	slices.Sort(want)
	var got []string
	for from := 0; from < 40; from += 7 {
		found, total := d.Find(directory.Query{Text: "user", From: from, Limit: 7})
		if total != 25 || len(found) > 7 {
			t.Errorf("from %d: %d of %d", from, len(found), total)
		}
		for _, u := range found {
			got = append(got, u.UserName)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the pages have %v, want %v", got, want)
	}
	if found, total := d.Find(directory.Query{Keep: func(u *directory.User) bool { return u.UserName > "user20" }, Limit: 0}); len(found) != 0 || total != 4 {
		t.Errorf("without a limit: %d users, %d in all, want 0 and 4", len(found), total)
	}
}

// Pages of any length are parts of one list: by how well a name fits, then by userName.
func TestFind_PagesOfManyRanks(t *testing.T) {
	d := newTestDirectory(t)
	var want []string
	for _, form := range []string{"%03d-ada", "%03d-adam", "%03dada"} { // a word, the beginning of one, a part of one
		for i := range 60 {
			want = append(want, fmt.Sprintf(form, i))
		}
	}
	d.update(t, func(tx *directory.Tx) error {
		for i := range want {
			if err := tx.PutUser(&directory.User{UserName: want[i*77%len(want)], Active: true, Document: []byte(`{}`)}); err != nil {
				return err
			}
		}
		return nil
	})
	first := slices.Sorted(slices.Values(want[:120])) // both begin a word
	want = append(first, want[120:]...)
	for _, limit := range []int{1, 2, 7, 59, 60, 179, 180, 500} {
		var got []string
		for from := 0; from < len(want)+limit; from += limit {
			found, total := d.Find(directory.Query{Text: "ada", From: from, Limit: limit})
			if total != len(want) {
				t.Fatalf("%d in all, want %d", total, len(want))
			}
			for _, u := range found {
				got = append(got, u.UserName)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("pages of %d have %v, want %v", limit, got, want)
		}
	}
}

// A search finds a user by the names of now alone.
func TestFind_FollowsChanges(t *testing.T) {
	d := newTestDirectory(t)
	id := d.put(t, "ada", `{"displayName":"Ada Byron"}`)
	if _, total := d.Find(directory.Query{Text: "byron", Limit: 1}); total != 1 {
		t.Fatal("nobody is found before the change")
	}
	d.update(t, func(tx *directory.Tx) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		u.Document = []byte(`{"displayName":"Ada Lovelace"}`)
		return tx.PutUser(&u)
	})
	for text, want := range map[string]int{"byron": 0, "lovelace": 1} {
		if _, total := d.Find(directory.Query{Text: text, Limit: 1}); total != want {
			t.Errorf("%q finds %d after the change, want %d", text, total, want)
		}
	}
	d.update(t, func(tx *directory.Tx) error { return tx.DeleteUser(id) })
	if _, total := d.Find(directory.Query{Limit: 1}); total != 0 {
		t.Error("a deleted user is found")
	}
}

// TestFind_BoundsWords checks that a word that is repeated is looked for once, and that nothing is found by too many words,
// which would be looked for one by one in every name.
func TestFind_BoundsWords(t *testing.T) {
	d := newTestDirectory(t)
	var many []string
	for n := range 40 {
		many = append(many, fmt.Sprintf("w%02d", n))
	}
	d.put(t, "ada", fmt.Sprintf(`{"displayName":%q}`, strings.Join(many, " ")))
	d.update(t, func(tx *directory.Tx) error {
		return tx.PutGroup(&directory.Group{DisplayName: strings.Join(many, " ")})
	})
	for name, c := range map[string]struct {
		text string
		want int
	}{"repeated": {strings.Repeat("w01 ", 3000), 1}, "as many as may be": {strings.Join(many[:32], " "), 1}, "too many": {strings.Join(many[:33], " "), 0}} {
		_, users := d.Find(directory.Query{Text: c.text, Limit: 5})
		_, groups := d.FindGroups(directory.GroupQuery{Text: c.text, Limit: 5})
		if users != c.want || groups != c.want {
			t.Errorf("%s: %d users and %d groups are found, want %d", name, users, groups, c.want)
		}
	}
}

func TestFindGroups_AnyName(t *testing.T) {
	d := newTestDirectory(t)
	d.update(t, func(tx *directory.Tx) error {
		for _, g := range []directory.Group{{DisplayName: "Payroll Zürich", ExternalID: "g-1"}, {DisplayName: "On-call"}, {DisplayName: "roll"}} {
			if err := tx.PutGroup(&g); err != nil {
				return err
			}
		}
		return nil
	})
	for text, want := range map[string]string{"ROLL": "roll, Payroll Zürich", "zurich": "Payroll Zürich", "g-1": "Payroll Zürich", "call": "On-call", "x": "", "": "On-call, Payroll Zürich, roll"} {
		found, total := d.FindGroups(directory.GroupQuery{Text: text, Limit: 5})
		var names []string
		for _, g := range found {
			names = append(names, g.DisplayName)
		}
		if got := strings.Join(names, ", "); got != want || total != len(found) {
			t.Errorf("%q finds %q, %d in all; want %q", text, got, total, want)
		}
	}
}

// BenchmarkFind searches among 100,000 users. It makes them first: ask for it by name.
func BenchmarkFind(b *testing.B) {
	if os.Getenv("LARGE") == "" {
		b.Skip("set LARGE=1: making a large directory takes a while")
	}
	path := filepath.Join(b.TempDir(), "store.db")
	d := open(b, path)
	for from := 0; from < manyUsers; from += 5000 {
		d.update(b, func(tx *directory.Tx) error {
			for n := from; n < from+5000; n++ {
				u := directory.User{UserName: fmt.Sprintf("user%06d@example.com", n), ExternalID: oid(n), Active: true, Document: fmt.Appendf(nil, document, n, oid(n), n, n)}
				if err := tx.PutUser(&u); err != nil {
					return err
				}
			}
			return nil
		})
	}
	for name, q := range map[string]directory.Query{"all": {Limit: 100}, "page 100": {From: 9_900, Limit: 100}, "a letter": {Text: "u", Limit: 20}, "a name": {Text: "user099", Limit: 20},
		"two words": {Text: "given 0999", Limit: 20}, "nobody": {Text: "nobody", Limit: 20}} {
		b.Run(name, func(b *testing.B) {
			began := processorTime()
			for b.Loop() {
				d.Find(q)
			}
			b.ReportMetric(float64(processorTime()-began)/1e6/float64(b.N), "ms-cpu/op") // whatever else the machine does
		})
	}
	d.stop()
	b.Run("the first", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			again := open(b, path)
			b.StartTimer()
			again.Find(directory.Query{Text: "user099", Limit: 20})
			b.StopTimer()
			again.stop()
			b.StartTimer()
		}
	})
}

// processorTime returns how long the process has used processors.
func processorTime() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
