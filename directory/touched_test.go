package directory_test

import (
	"crypto/rand"
	"slices"
	"testing"

	"sallyport/directory"
)

// TestTouched names those whom a change is about, with their names before and after.
func TestTouched(t *testing.T) {
	h := newTestDirectory(t)
	ada, bob := h.addUser(t, "ada"), h.addUser(t, "bob")
	group := h.addGroup(t, "staff")
	_, position, _ := h.Touched(0)
	var ended bool
	since := func() (ids, names []string, known bool) {
		touched, now, known := h.Touched(position)
		position, ended = now, slices.ContainsFunc(touched, func(t directory.Touched) bool { return t.Ended })
		for _, one := range touched {
			ids, names = append(ids, one.ID), append(names, one.Names[:]...)
		}
		slices.Sort(ids)
		slices.Sort(names)
		return slices.Compact(ids), slices.Compact(names), known
	}
	edit := func(id string, change func(*directory.User)) {
		h.update(t, func(tx *directory.Tx) error {
			u, err := tx.User(id)
			if err != nil {
				return err
			}
			change(&u)
			return tx.PutUser(&u)
		})
	}
	name := func(id string) string { u, _ := h.ByID(id); return u.UserName }
	adaName := name(ada)
	for _, step := range []struct {
		name   string
		change func()
		ids    []string
		named  []string
	}{
		{"nothing", func() {}, nil, nil},
		{"joined", func() {
			h.update(t, func(tx *directory.Tx) error { _, err := tx.AddMembers(group, []string{ada, bob}); return err })
		}, []string{ada, bob}, []string{adaName, name(bob)}},
		{"group renamed", func() {
			h.update(t, func(tx *directory.Tx) error {
				g, err := tx.Group(group)
				if err != nil {
					return err
				}
				g.DisplayName = "crew"
				return tx.PutGroup(&g)
			})
		}, []string{ada, bob}, nil},
		{"renamed", func() { edit(ada, func(u *directory.User) { u.UserName = "ada.l" }) }, []string{ada}, []string{adaName, "ada.l"}},
		{"other externalId", func() { edit(ada, func(u *directory.User) { u.ExternalID = "other" }) }, []string{ada}, []string{"other", "ada.l"}},
		{"suspended", func() { h.update(t, func(tx *directory.Tx) error { return tx.Suspend(bob, "stolen") }) }, []string{bob}, nil},
		{"deleted", func() { h.update(t, func(tx *directory.Tx) error { return tx.DeleteUser(ada) }) }, []string{ada}, []string{"ada.l", "other"}},
	} {
		step.change()
		ids, names, known := since()
		if slices.Sort(step.ids); !known || !slices.Equal(slices.DeleteFunc(ids, func(id string) bool { return id == "" }), step.ids) {
			t.Errorf("%s: %q (%v), want %q", step.name, ids, known, step.ids)
		}
		if want := step.name == "deleted" || step.name == "suspended" || step.name == "other externalId"; ended != want {
			t.Errorf("%s: sessions ended: %v", step.name, ended)
		}
		for _, want := range step.named {
			if !slices.Contains(names, want) {
				t.Errorf("%s: the names %q lack %q", step.name, names, want)
			}
		}
	}
}

// TestTouched_ManyUsers checks that a change of more users than are told one by one is told as unknown.
func TestTouched_ManyUsers(t *testing.T) {
	h := newTestDirectory(t)
	h.addUser(t, "ada")
	_, position, _ := h.Touched(0)
	h.update(t, func(tx *directory.Tx) error {
		for range 5000 {
			u := directory.User{UserName: newName(), Active: true}
			if err := tx.PutUser(&u); err != nil {
				return err
			}
		}
		return nil
	})
	touched, now, known := h.Touched(position)
	if known || len(touched) != 0 {
		t.Errorf("%d users, %v", len(touched), known)
	}
	h.addUser(t, "bob")
	if touched, _, known := h.Touched(now); !known || len(touched) == 0 {
		t.Errorf("afterwards: %d users, %v", len(touched), known)
	}
}

func newName() string { return "user-" + rand.Text() }
