package directory_test

import (
	"fmt"
	"testing"
	"time"

	"sallyport/directory"
)

// TestReceiptOf_FindsTheUsersChange: each user is told the change about them, and not that of others that came at the
// same time, nor one that no request made.
func TestReceiptOf_FindsTheUsersChange(t *testing.T) {
	h := newTestDirectory(t)
	ada, bob, eve := h.addUser(t, "ada"), h.addUser(t, "bob"), h.addUser(t, "eve")
	group := h.addGroup(t, "staff")
	add := func(id string) {
		h.update(t, func(tx *directory.Tx) error { _, err := tx.AddMembers(group, []string{id}); return err })
	}
	add(ada)
	begin := h.Revision()
	at := time.Now().UTC().Truncate(time.Second)
	push := func(after time.Duration, f func(*directory.Tx) error) (revision uint64) {
		h.update(t, func(tx *directory.Tx) error {
			revision = tx.Revision()
			if err := f(tx); err != nil {
				return err
			}
			return tx.Record(directory.Record{Received: at.Add(after), Event: []byte("{}")})
		})
		return revision
	}
	want := func(what, id string, since, revision uint64, after time.Duration) {
		t.Helper()
		r, ok := h.ReceiptOf(id, since)
		if ok != (revision > 0) || ok && (r.Revision != revision || !r.Received.Equal(at.Add(after))) {
			t.Errorf("%s: %v %+v, want revision %d", what, ok, r, revision)
		}
	}
	first := push(time.Second, func(tx *directory.Tx) error { return tx.DeleteUser(bob) })
	second := push(2*time.Second, func(tx *directory.Tx) error { _, err := tx.RemoveMembers(group, []string{ada}); return err })
	h.update(t, func(tx *directory.Tx) error { return tx.Suspend(eve, "because") })
	want("deleted", bob, begin, first, time.Second)
	want("left a group", ada, begin, second, 2*time.Second)
	want("since then", ada, second, 0, 0)
	want("suspended", eve, begin, 0, 0)
	want("nobody", "nobody", begin, 0, 0)

	add(ada)
	third := push(3*time.Second, func(tx *directory.Tx) error {
		g, err := tx.Group(group)
		if err == nil {
			g.DisplayName = "former staff"
			err = tx.PutGroup(&g)
		}
		return err
	})
	want("a group has another name", ada, second, third, 3*time.Second)
}

// TestReceiptOf_ManyUsers: a change of more users than are remembered one by one may be about each of them.
func TestReceiptOf_ManyUsers(t *testing.T) {
	h := newTestDirectory(t)
	group := h.addGroup(t, "staff")
	var ids []string
	for i := range 300 {
		ids = append(ids, h.addUser(t, fmt.Sprintf("user%d", i)))
	}
	begin := h.Revision()
	h.update(t, func(tx *directory.Tx) error {
		if _, err := tx.AddMembers(group, ids); err != nil {
			return err
		}
		return tx.Record(directory.Record{Received: time.Now(), Event: []byte("{}")})
	})
	for _, id := range ids {
		if _, ok := h.ReceiptOf(id, begin); !ok {
			t.Fatal("a user has no receipt")
		}
	}
}

// TestReceiptOf_IsThereBeforeTheChange: whoever sees a change finds its receipt.
func TestReceiptOf_IsThereBeforeTheChange(t *testing.T) {
	h := newTestDirectory(t)
	for i := range 100 {
		id := h.addUser(t, fmt.Sprintf("user%d", i))
		begin, seen := h.Revision(), make(chan bool)
		go func() {
			for {
				if _, ok := h.ByID(id); !ok {
					_, ok := h.ReceiptOf(id, begin)
					seen <- ok
					return
				}
			}
		}()
		h.update(t, func(tx *directory.Tx) error {
			if err := tx.DeleteUser(id); err != nil {
				return err
			}
			return tx.Record(directory.Record{Received: time.Now(), Event: []byte("{}")})
		})
		if !<-seen {
			t.Fatalf("after %d deletions, one was seen without its receipt", i)
		}
	}
}
