package directory_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"sallyport/directory"
	"sallyport/store/bolt"
)

// The size of a large tenant.
const (
	manyUsers  = 100_000
	manyGroups = 20_000
	manyEdges  = 2_000_000
)

// tenant makes the store of a large tenant, once for all benchmarks. Group 0 has every
// user; the other groups share the rest of the edges.
var tenant = sync.OnceValues(func() (path string, err error) {
	dir, err := os.MkdirTemp("", "directory-")
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "store.db")
	st, err := bolt.Open(path, bolt.Options{Init: true})
	if err != nil {
		return "", err
	}
	d, err := directory.Open(context.Background(), st, "externalId")
	if err != nil {
		return "", err
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = d.Run(ctx) }()
	err = populate(ctx, d)
	stop()
	<-done
	if err == nil {
		err = st.Close()
	}
	return path, err
})

func populate(ctx context.Context, d *directory.Directory) error {
	users := make([]string, 0, manyUsers)
	for len(users) < manyUsers {
		var made []string
		err := d.Update(ctx, func(tx *directory.Tx) error {
			made = nil
			for i := range 1000 {
				n := len(users) + i
				u := directory.User{UserName: fmt.Sprintf("user%06d@example.com", n), ExternalID: oid(n), Active: true,
					Document: fmt.Appendf(nil, document, n, oid(n), n, n)}
				if err := tx.PutUser(&u); err != nil {
					return err
				}
				made = append(made, u.ID)
			}
			return nil
		})
		if err != nil {
			return err
		}
		users = append(users, made...)
	}
	const perGroup = (manyEdges - manyUsers) / (manyGroups - 1)
	for n := range manyGroups {
		members := users
		if n > 0 {
			first := n * 37 % (manyUsers - perGroup)
			members = users[first : first+perGroup]
		}
		if err := d.Update(ctx, func(tx *directory.Tx) error { return createGroup(tx, n, members) }); err != nil {
			return err
		}
	}
	return nil
}

const document = `{"userName":"user%06d@example.com","externalId":%q,"displayName":"User %d","active":true,"emails":[{"type":"work","value":"user%06d@example.com","primary":true}],"name":{"givenName":"Given","familyName":"Family"},"title":"Engineer"}`

func oid(n int) string { return fmt.Sprintf("00000000-0000-4000-8000-%012d", n) }

func createGroup(tx *directory.Tx, n int, members []string) error {
	g := directory.Group{DisplayName: fmt.Sprintf("group %d", n), ExternalID: fmt.Sprintf("10000000-0000-4000-8000-%012d", n)}
	if err := tx.PutGroup(&g); err != nil {
		return err
	}
	_, err := tx.AddMembers(g.ID, members)
	return err
}

// BenchmarkTenant runs over 100,000 users, 20,000 groups and 2,000,000
// memberships. It makes them first, which takes minutes: ask for it by name.
func BenchmarkTenant(b *testing.B) {
	if os.Getenv("LARGE") == "" {
		b.Skip("set LARGE=1: making a large tenant takes minutes")
	}
	path, err := tenant()
	if err != nil {
		b.Fatal(err)
	}
	b.Run("load", func(b *testing.B) {
		for b.Loop() {
			open(b, path).stop()
		}
	})
	h := open(b, path)
	defer h.stop()
	runtime.GC()
	b.Run("Lookup", func(b *testing.B) {
		b.ReportAllocs()
		keys := make([]string, 1024)
		for i := range keys {
			keys[i] = oid(i * 97)
		}
		i := 0
		for b.Loop() {
			if _, ok := h.Lookup(keys[i&1023]); !ok {
				b.Fatal("no user is found")
			}
			i++
		}
		b.ReportMetric(resident(), "MiB-resident")
	})
	b.Run("member change in a group of 100000", func(b *testing.B) { changeMember(b, h) })
}

// changeMember removes one user from the large group and adds the user again, in
// turn: each round is one durable change that Lookup sees.
func changeMember(b *testing.B, h *testDirectory) {
	var group string
	for _, g := range h.Groups() {
		if g.Members == manyUsers {
			group = g.ID
		}
	}
	u, ok := h.Lookup(oid(4711))
	if !ok || group == "" {
		b.Fatal("the store lacks the user or the large group")
	}
	member := true
	for b.Loop() {
		change := (*directory.Tx).RemoveMembers
		if !member {
			change = (*directory.Tx).AddMembers
		}
		h.update(b, func(tx *directory.Tx) error { _, err := change(tx, group, []string{u.ID}); return err })
		member = !member
	}
	if !member {
		h.update(b, func(tx *directory.Tx) error { _, err := tx.AddMembers(group, []string{u.ID}); return err })
	}
}

// resident returns the process's resident memory without pages of files, in MiB.
func resident() float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kb / 1024
		}
	}
	return 0
}
