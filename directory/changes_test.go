package directory_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/directory"
)

// by makes a change in somebody's name.
func (h *testDirectory) by(t *testing.T, name string, fn func(*directory.Tx) error) {
	t.Helper()
	h.update(t, func(tx *directory.Tx) error {
		tx.By(directory.Cause{Kind: "token", Name: name})
		return fn(tx)
	})
}

// told writes changes as text, the newest first.
func told(t *testing.T, h directory.History) (lines []string) {
	t.Helper()
	for _, c := range h.Changes {
		line := c.By.Name
		if c.Record {
			before, after := directory.UserOf(c.Before), directory.UserOf(c.After)
			switch {
			case before == nil && after == nil:
				t.Fatalf("revision %d changed nothing", c.Revision)
			case before == nil:
				line += " made " + after.UserName
			case after == nil:
				line += " deleted " + before.UserName
			default:
				line += fmt.Sprintf(" %s/%s/%v to %s/%s/%v", before.UserName, before.DisplayName, before.Active, after.UserName, after.DisplayName, after.Active)
			}
		}
		if c.Suspension {
			line += " suspension"
			if c.Suspended != nil {
				line += " for " + c.Suspended.Reason
			}
			if c.SuspendedBefore != nil {
				line += " was for " + c.SuspendedBefore.Reason
			}
		}
		lines = append(lines, fmt.Sprintf("%s +%d -%d", line, c.JoinedMembers, c.LeftMembers))
	}
	return lines
}

func TestChanges_OfOneUserAndGroup(t *testing.T) {
	d := newTestDirectory(t)
	ada, bob := directory.User{UserName: "ada", Active: true, Document: []byte(`{"displayName":"Ada Byron","title":"x"}`)}, directory.User{UserName: "bob", Active: true}
	g := directory.Group{DisplayName: "Payroll", ExternalID: "p"}
	put := func(u *directory.User) func(*directory.Tx) error {
		return func(tx *directory.Tx) error { own := *u; err := tx.PutUser(&own); *u = own; return err }
	}
	d.by(t, "one", put(&ada))
	d.by(t, "two", put(&bob))
	d.by(t, "three", func(tx *directory.Tx) error { own := g; err := tx.PutGroup(&own); g = own; return err })
	d.by(t, "four", func(tx *directory.Tx) error {
		_, err := tx.AddMembers(g.ID, []string{ada.ID, bob.ID})
		return errors.Join(err, tx.Record(directory.Record{Event: []byte(`{"kind":"scim","method":"PATCH"}`)}))
	})
	ada.Document = []byte(`{"displayName":"Ada Lovelace","title":"x"}`)
	d.by(t, "five", put(&ada))
	d.by(t, "six", func(tx *directory.Tx) error { return tx.Suspend(ada.ID, "laptop") })
	d.by(t, "seven", func(tx *directory.Tx) error { return tx.Suspend(ada.ID, "stolen") })
	d.by(t, "eight", func(tx *directory.Tx) error { return tx.Unsuspend(ada.ID) })
	d.by(t, "nine", func(tx *directory.Tx) error { return tx.DeleteUser(ada.ID) })
	d.by(t, "ten", put(&bob))

	h, err := d.History(t.Context(), ada.ID, directory.HistoryQuery{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"nine deleted ada +0 -1", "eight suspension was for stolen +0 -0", "seven ada/Ada Lovelace/true to ada/Ada Lovelace/true suspension for stolen was for laptop +0 -0",
		"six ada/Ada Lovelace/true to ada/Ada Lovelace/true suspension for laptop +0 -0", "five ada/Ada Byron/true to ada/Ada Lovelace/true +0 -0", "four +1 -0", "one made ada +0 -0"}
	if got := told(t, h); !slices.Equal(got, want) {
		t.Errorf("the changes of ada are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if h.Next != 0 || h.Since.IsZero() {
		t.Errorf("the whole history goes on at %d, and is since %s", h.Next, h.Since)
	}
	if event := string(h.Changes[5].Event); event != `{"kind":"scim","method":"PATCH"}` || h.Changes[4].Event != nil {
		t.Errorf("the event of the push is %s", event)
	}

	var pages []string
	before := uint64(0)
	for range 20 {
		page, err := d.History(t.Context(), ada.ID, directory.HistoryQuery{Before: before, Limit: 2})
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, told(t, page)...)
		if before = page.Next; before == 0 {
			break
		}
	}
	if !slices.Equal(pages, want) {
		t.Errorf("page by page, the changes are\n%s", strings.Join(pages, "\n"))
	}

	h, err = d.History(t.Context(), g.ID, directory.HistoryQuery{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	if last := h.Changes[0]; last.By.Name != "nine" || last.LeftMembers != 1 || last.Left[0] != (directory.Edge{Group: g.ID, Member: ada.ID}) {
		t.Errorf("the newest change of the group is %+v", last)
	}
	if four := h.Changes[1]; four.JoinedMembers != 2 || directory.GroupOf(four.Before).Members != 0 || directory.GroupOf(four.After).Members != 2 {
		t.Errorf("the change that added members is %+v", four)
	}
	if first := h.Changes[2]; len(h.Changes) != 3 || directory.GroupOf(first.Before) != nil || directory.GroupOf(first.After).DisplayName != "Payroll" {
		t.Errorf("the group has %d changes, the first is %+v", len(h.Changes), first)
	}
}

func TestChanges_NameFewMembers(t *testing.T) {
	d := newTestDirectory(t)
	g := directory.Group{DisplayName: "All"}
	var ids []string
	d.update(t, func(tx *directory.Tx) error {
		ids = nil
		for i := range 250 {
			u := directory.User{UserName: fmt.Sprint("user", i)}
			if err := tx.PutUser(&u); err != nil {
				return err
			}
			ids = append(ids, u.ID)
		}
		own := g
		err := tx.PutGroup(&own)
		g = own
		return err
	})
	d.update(t, func(tx *directory.Tx) error { _, err := tx.AddMembers(g.ID, ids); return err })
	h, err := d.History(t.Context(), g.ID, directory.HistoryQuery{Limit: 10})
	if err != nil || h.Changes[0].JoinedMembers != 250 || len(h.Changes[0].Joined) != 100 {
		t.Errorf("%v: %d members joined, %d are named; want 250 and 100", err, h.Changes[0].JoinedMembers, len(h.Changes[0].Joined))
	}
}

func TestChanges_EndWhereTheyAreToldTo(t *testing.T) {
	d := newTestDirectory(t)
	id := d.put(t, "ada", `{}`)
	for i := range 20 {
		d.put(t, fmt.Sprint("other", i), `{}`)
	}
	h, err := d.History(t.Context(), id, directory.HistoryQuery{Limit: 10, Within: time.Nanosecond})
	if err != nil || len(h.Changes) != 0 || h.Next == 0 {
		t.Errorf("within a nanosecond: %+v, %v; want nothing, and where to go on", h, err)
	}
	if h, err = d.History(t.Context(), id, directory.HistoryQuery{Limit: 10, Before: 3}); err != nil || len(h.Changes) != 1 || h.Next != 0 {
		t.Errorf("before revision 3: %+v, %v; want what made ada", h, err)
	}
	for _, unknown := range []string{"", "ada", strings.Repeat("x", 32)} {
		if _, err := d.History(t.Context(), unknown, directory.HistoryQuery{Limit: 1}); !errors.Is(err, directory.ErrNotFound) {
			t.Errorf("the history of %q: %v", unknown, err)
		}
	}
	if h, err := d.History(t.Context(), strings.Repeat("0", 32), directory.HistoryQuery{Limit: 1}); err != nil || len(h.Changes) != 0 {
		t.Errorf("the history of nobody is %+v, %v", h, err)
	}
	d.KeepHistory(0)
	if _, err := d.History(t.Context(), id, directory.HistoryQuery{Limit: 1}); !errors.Is(err, directory.ErrNoHistory) {
		t.Errorf("the history that is not kept: %v", err)
	}
}
