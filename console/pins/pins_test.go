package pins_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"sallyport/console/pins"
	"sallyport/directory"
	"sallyport/store"
	"sallyport/store/bolt"
)

func open(t *testing.T) (store.Store, *pins.Pins) {
	t.Helper()
	st, err := bolt.Open(filepath.Join(t.TempDir(), "s.db"), bolt.Options{Init: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st, pins.New(st)
}

func all(string) bool { return true }

func want(t *testing.T, p *pins.Pins, user string, routes ...string) {
	t.Helper()
	if got, err := p.Of(t.Context(), user); err != nil || !slices.Equal(got, routes) {
		t.Errorf("%s has pinned %v, %v, want %v", user, got, err, routes)
	}
}

func TestPins(t *testing.T) {
	st, p := open(t)
	want(t, p, "ada")
	for _, route := range []string{"wiki", "grafana", "wiki"} {
		if err := p.Pin(t.Context(), "ada", route, all); err != nil {
			t.Fatal(err)
		}
	}
	want(t, p, "ada", "wiki", "grafana")
	want(t, p, "bob")
	if err := p.Unpin(t.Context(), "ada", "orders"); err != nil {
		t.Error(err)
	}
	if err := p.Unpin(t.Context(), "ada", "wiki"); err != nil {
		t.Error(err)
	}
	want(t, p, "ada", "grafana")
	if err := p.Unpin(t.Context(), "ada", "grafana"); err != nil {
		t.Error(err)
	}
	want(t, p, "ada")
	if records := recordsOf(t, st); len(records) != 0 {
		t.Errorf("without pins, the store has %d records", len(records))
	}
	for _, user := range []string{"", "a/b"} {
		if err := p.Pin(t.Context(), user, "wiki", all); err == nil {
			t.Errorf("the user %q has pinned something", user)
		}
	}
}

// TestPins_AreBounded checks that a user pins so many routes and no more, and that routes that are gone make space.
func TestPins_AreBounded(t *testing.T) {
	_, p := open(t)
	for i := range pins.Max {
		if err := p.Pin(t.Context(), "ada", fmt.Sprint("route-", i), all); err != nil {
			t.Fatal(i, err)
		}
	}
	if err := p.Pin(t.Context(), "ada", "one-more", all); !errors.Is(err, pins.ErrTooMany) {
		t.Errorf("one more: %v", err)
	}
	if err := p.Pin(t.Context(), "ada", "route-1", all); err != nil {
		t.Errorf("one that is pinned: %v", err)
	}
	if err := p.Pin(t.Context(), "ada", "one-more", func(route string) bool { return route != "route-0" }); err != nil {
		t.Errorf("in place of a route that is gone: %v", err)
	}
	if got, _ := p.Of(t.Context(), "ada"); len(got) != pins.Max || got[0] != "route-1" || got[pins.Max-1] != "one-more" {
		t.Errorf("%v", got)
	}
}

func TestPins_AtOnce(t *testing.T) {
	_, p := open(t)
	var wait sync.WaitGroup
	for i := range 20 {
		wait.Go(func() {
			if err := p.Pin(context.Background(), "ada", fmt.Sprint("route-", i), all); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if got, _ := p.Of(t.Context(), "ada"); len(got) != 20 {
		t.Errorf("%d are pinned, want 20", len(got))
	}
}

// TestPins_EndWithUser checks that what a user has pinned goes in the change that deletes the user, and not with a change
// that fails.
func TestPins_EndWithUser(t *testing.T) {
	st, p := open(t)
	d, err := directory.Open(t.Context(), st, "externalId")
	if err != nil {
		t.Fatal(err)
	}
	d.TellOfDeleted(pins.EndUser)
	var wait sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	wait.Go(func() { _ = d.Run(ctx) })
	defer wait.Wait()
	defer stop()
	ada, bob := &directory.User{UserName: "ada", Active: true, Document: []byte(`{}`)}, &directory.User{UserName: "bob", Active: true, Document: []byte(`{}`)}
	if err := d.Update(ctx, func(tx *directory.Tx) error { return errors.Join(tx.PutUser(ada), tx.PutUser(bob)) }); err != nil {
		t.Fatal(err)
	}
	for _, u := range []*directory.User{ada, bob} {
		if err := p.Pin(ctx, u.ID, "wiki", all); err != nil {
			t.Fatal(err)
		}
	}
	failed := errors.New("failed")
	if err := d.Update(ctx, func(tx *directory.Tx) error { return errors.Join(tx.DeleteUser(ada.ID), failed) }); !errors.Is(err, failed) {
		t.Fatal(err)
	}
	want(t, p, ada.ID, "wiki")
	if err := d.Update(ctx, func(tx *directory.Tx) error { return tx.DeleteUser(ada.ID) }); err != nil {
		t.Fatal(err)
	}
	want(t, p, ada.ID)
	want(t, p, bob.ID, "wiki")
}

// TestPins_DamagedRecord checks that a record that cannot be read is told of, and replaced by the next change.
func TestPins_DamagedRecord(t *testing.T) {
	st, p := open(t)
	if err := p.Pin(t.Context(), "ada", "wiki", all); err != nil {
		t.Fatal(err)
	}
	for _, entry := range recordsOf(t, st) {
		if ours, err := pins.Inspect(entry); !ours || err != nil {
			t.Errorf("%s: %v, %v", entry.Key, ours, err)
		}
	}
	if ours, _ := pins.Inspect(store.Entry{Key: []byte("user/x")}); ours {
		t.Error("a record of another package is ours")
	}
	for _, value := range []string{"", "{", `{"routes":[]}`, `[]`} {
		if ours, err := pins.Inspect(store.Entry{Key: []byte("pins/ada"), Value: []byte(value)}); !ours || err == nil {
			t.Errorf("%q is sound", value)
		}
		if _, err := st.Update(t.Context(), func(w store.Writer) error { return w.Put([]byte("pins/ada"), []byte(value)) }); err != nil {
			t.Fatal(err)
		}
		if got, err := p.Of(t.Context(), "ada"); err == nil {
			t.Errorf("%q: %v", value, got)
		}
		if err := p.Pin(t.Context(), "ada", "grafana", all); err != nil {
			t.Errorf("%q: %v", value, err)
		}
		want(t, p, "ada", "grafana")
	}
}

func recordsOf(t *testing.T, st store.Store) (records []store.Entry) {
	t.Helper()
	err := st.View(t.Context(), func(r store.Reader) error {
		for e, err := range r.Scan([]byte("pins/"), nil) {
			if err != nil {
				return err
			}
			records = append(records, store.Entry{Key: slices.Clone(e.Key), Value: slices.Clone(e.Value)})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return records
}
