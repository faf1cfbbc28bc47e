package directory_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"

	"sallyport/directory"
)

// BenchmarkUpdate measures changes as they are usually pushed, each durable and seen by
// Lookup when it returns.
func BenchmarkUpdate(b *testing.B) {
	h := newTestDirectory(b)
	var users []string
	h.update(b, func(tx *directory.Tx) error {
		users = nil
		for i := range 1000 {
			u := yearUser(i)
			if err := tx.PutUser(&u); err != nil {
				return err
			}
			users = append(users, u.ID)
		}
		return nil
	})
	group := h.addGroup(b, "sre")
	n := 0
	b.Run("attribute", func(b *testing.B) {
		for b.Loop() {
			n++
			h.update(b, func(tx *directory.Tx) error { return retitle(tx, users[n%1000], n) })
		}
	})
	b.Run("membership", func(b *testing.B) {
		for b.Loop() {
			n++
			h.update(b, func(tx *directory.Tx) error { return toggle(tx, group, users[n%1000]) })
		}
	})
	b.Run("sync of 100 users", func(b *testing.B) {
		for b.Loop() {
			h.update(b, func(tx *directory.Tx) error {
				for range 100 {
					n++
					u := yearUser(1000 + n)
					if err := tx.PutUser(&u); err != nil {
						return err
					}
				}
				return nil
			})
		}
	})
	b.Run("new group of 1000", func(b *testing.B) {
		for b.Loop() {
			n++
			h.update(b, func(tx *directory.Tx) error { return createGroup(tx, n, users) })
		}
	})
}

// What a year is taken to be: of each user, and of groups.
const (
	yearMemberships      = 10 // at the beginning
	yearAttributes       = 2
	yearMembershipChange = 6
	yearJoinersAndLeaver = 15 // in 100 users
	yearUsersPerGroup    = 50 // so that a group has 500 members
)

// BenchmarkHistory_Year makes the users of a large tenant (USERS, 100,000 by default) and
// a year of usual changes, each pushed alone and with its audit event. It tells how large
// the store becomes with and without a history, and how long it takes to read the
// directory as it was at the beginning. It takes minutes, so that it runs with LARGE=1 only.
func BenchmarkHistory_Year(b *testing.B) {
	if os.Getenv("LARGE") == "" {
		b.Skip("set LARGE=1: a year of changes takes minutes")
	}
	users := 100_000
	if n, err := strconv.Atoi(os.Getenv("USERS")); err == nil {
		users = n
	}
	for name, keep := range map[string]directory.Retention{"history off": 0, "history on": directory.DefaultRetention} {
		b.Run(name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "store.db")
			h := open(b, path)
			h.KeepHistory(keep)
			y := &year{b: b, h: h, users: make([]atomic.Pointer[string], users), groups: make([]string, max(1, users/yearUsersPerGroup))}
			y.begin()
			begun := time.Now()
			h.stop()
			before := storedBytes(b, path)
			h = open(b, path)
			h.KeepHistory(keep)
			y.h = h
			for b.Loop() {
				y.pass()
			}
			b.ReportMetric(float64(y.changes.Load()), "changes")
			b.ReportMetric(float64(before)/1e6, "MB-before")
			if keep > 0 {
				y.ask(begun)
			}
			h.stop()
			b.ReportMetric(float64(storedBytes(b, path))/1e6, "MB-after")
			start := time.Now()
			open(b, path).stop()
			b.ReportMetric(time.Since(start).Seconds(), "s-start")
		})
	}
}

// year is a tenant that changes.
type year struct {
	b       *testing.B
	h       *testDirectory
	users   []atomic.Pointer[string] // ids; replaced when a user leaves and another joins
	groups  []string
	changes atomic.Int64
}

func yearUser(n int) directory.User {
	return directory.User{UserName: fmt.Sprintf("user%06d@example.com", n), ExternalID: oid(n), Active: true, Document: yearDocument(n, n)}
}

func yearDocument(n, title int) json.RawMessage {
	return fmt.Appendf(nil, `{"userName":"user%06d@example.com","externalId":%q,"displayName":"User %d","active":true,"emails":[{"type":"work","value":"user%06d@example.com","primary":true}],"name":{"givenName":"Given","familyName":"Family","formatted":"Given Family"},"title":"Engineer %d","addresses":[{"type":"work","country":"DE","locality":"Berlin","postalCode":"10115"}],"phoneNumbers":[{"type":"work","value":"+49 30 %08d"}],"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"Department %d","employeeNumber":"%08d"}}`,
		n, oid(n), n, n, title, n, title%97, n)
}

func retitle(tx *directory.Tx, user string, title int) error {
	u, err := tx.User(user)
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(strings.TrimLeft(strings.TrimPrefix(u.UserName, "user")[:6], "0"))
	u.Document = yearDocument(n, title)
	return tx.PutUser(&u)
}

// toggle makes a user a member of a group, or no longer one.
func toggle(tx *directory.Tx, group, user string) error {
	member, err := tx.IsMember(group, user)
	if err != nil {
		return err
	}
	if member {
		_, err = tx.RemoveMembers(group, []string{user})
	} else {
		_, err = tx.AddMembers(group, []string{user})
	}
	return err
}

// begin makes users and groups, many at a time.
func (y *year) begin() {
	const batch = 1000
	for first := 0; first < len(y.users); first += batch {
		y.h.update(y.b, func(tx *directory.Tx) error {
			for n := first; n < min(first+batch, len(y.users)); n++ {
				u := yearUser(n)
				if err := tx.PutUser(&u); err != nil {
					return err
				}
				y.users[n].Store(&u.ID)
			}
			return nil
		})
	}
	members := make([][]string, len(y.groups))
	for n := range y.users {
		for range yearMemberships {
			g := rand.IntN(len(y.groups))
			members[g] = append(members[g], *y.users[n].Load())
		}
	}
	for g := range y.groups {
		y.h.update(y.b, func(tx *directory.Tx) error {
			group := directory.Group{DisplayName: fmt.Sprintf("group %d", g), ExternalID: fmt.Sprintf("10000000-0000-4000-8000-%012d", g)}
			err := tx.PutGroup(&group)
			y.groups[g] = group.ID
			if err == nil {
				_, err = tx.AddMembers(group.ID, members[g])
			}
			return err
		})
	}
}

// push makes one change as the SCIM server does: with its cause and its audit event.
func (y *year) push(change func(tx *directory.Tx) error) {
	y.changes.Add(1)
	event := fmt.Appendf(nil, `{"time":"2026-05-03T12:00:00.123456789Z","kind":"scim","method":"PATCH","reason":"patch","revision":1000000,"group":"%032d","detail":{"display_name":"group 1234","token":"%032d","token_name":"entra","members_added":"1"}}`, 1, 2)
	err := y.h.Update(context.Background(), func(tx *directory.Tx) error {
		tx.By(directory.Cause{Kind: "token", Name: "entra", ID: "00000000000000000000000000000001"})
		return errors.Join(change(tx), tx.Record(directory.Record{Received: time.Now(), Event: event}))
	})
	if err != nil {
		y.b.Error(err)
	}
}

// pass makes the changes of a year, in an order by chance, many at a time: they share
// commits.
func (y *year) pass() {
	const each = yearAttributes + yearMembershipChange + 1
	order := rand.Perm(len(y.users) * each)
	var workers sync.WaitGroup
	next := atomic.Int64{}
	for range 256 {
		workers.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(order)); i = next.Add(1) - 1 {
				y.change(order[i]/each, order[i]%each)
			}
		})
	}
	workers.Wait()
}

func (y *year) change(n, kind int) {
	user := *y.users[n].Load()
	switch {
	case kind < yearAttributes:
		y.push(func(tx *directory.Tx) error { return ignoreGone(retitle(tx, user, rand.IntN(1_000_000))) })
	case kind < yearAttributes+yearMembershipChange:
		group := y.groups[rand.IntN(len(y.groups))]
		y.push(func(tx *directory.Tx) error { return toggle(tx, group, user) })
	case n*yearJoinersAndLeaver%100 < yearJoinersAndLeaver:
		y.push(func(tx *directory.Tx) error { return tx.DeleteUser(user) })
		next := yearUser(n)
		var id string
		y.push(func(tx *directory.Tx) error {
			next.ID = ""
			err := tx.PutUser(&next)
			id = next.ID
			return err
		})
		y.users[n].Store(&id)
		for range yearMemberships {
			group := y.groups[rand.IntN(len(y.groups))]
			y.push(func(tx *directory.Tx) error { return toggle(tx, group, id) })
		}
	}
}

// ignoreGone ignores that another worker deleted the user.
func ignoreGone(err error) error {
	if errors.Is(err, directory.ErrNotFound) {
		return nil
	}
	return err
}

// ask reads the directory as it was at the beginning of the year.
func (y *year) ask(begun time.Time) {
	runtime.GC()
	before := resident()
	start := time.Now()
	past, err := y.h.At(context.Background(), begun)
	if err != nil {
		y.b.Fatal(err)
	}
	y.b.ReportMetric(time.Since(start).Seconds(), "s-At-oldest")
	y.b.ReportMetric(resident()-before, "MiB-At-oldest")
	if n := len(past.Users()); n != len(y.users) {
		y.b.Errorf("there were %d users", n)
	}
	start = time.Now()
	members, err := y.h.Memberships(context.Background(), past, y.groups[0])
	if err != nil || len(members) == 0 {
		y.b.Errorf("%d members, %v", len(members), err)
	}
	start2 := time.Since(start)
	start = time.Now()
	now, err := y.h.At(context.Background(), time.Now())
	if err != nil {
		y.b.Fatal(err)
	}
	y.b.ReportMetric(time.Since(start).Seconds(), "s-At-now")
	start = time.Now()
	if _, err := y.h.Memberships(context.Background(), now, y.groups[0]); err != nil {
		y.b.Error(err)
	}
	y.b.ReportMetric(max(start2, time.Since(start)).Seconds(), "s-Memberships")
}

// storedBytes returns how many bytes of the file hold records.
func storedBytes(b *testing.B, path string) (n int) {
	b.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		s := tx.Bucket([]byte("data")).Stats()
		n = s.LeafAlloc + s.BranchAlloc
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return n
}
