package directory_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"sallyport/directory"
	"sallyport/store"
)

// TestTellOfLeavers tells of each membership that a change ends, in that change, and of no other.
func TestTellOfLeavers(t *testing.T) {
	h := newTestDirectory(t)
	alice, bob := h.addUser(t, "alice"), h.addUser(t, "bob")
	sre, ops := h.addGroup(t, "sre"), h.addGroup(t, "ops")
	names := map[string]string{alice: "alice", bob: "bob", sre: "sre", ops: "ops"}
	var told []string
	var refusal error
	h.TellOfLeavers(func(w store.Writer, group string, members []string, now time.Time) error {
		for _, id := range members {
			told = append(told, names[group]+" "+names[id])
		}
		if now.IsZero() {
			t.Error("the change has no time")
		}
		return errors.Join(w.Put([]byte("other/1"), []byte("{}")), refusal)
	})
	all := []string{alice, bob}
	step := func(name string, want []string, change func(*directory.Tx) error) {
		t.Helper()
		told = nil
		h.update(t, change)
		slices.Sort(told)
		if !slices.Equal(told, want) {
			t.Errorf("after %s, told are %q, want %q", name, told, want)
		}
	}
	step("joining", nil, func(tx *directory.Tx) error {
		_, err1 := tx.AddMembers(sre, all)
		_, err2 := tx.AddMembers(ops, append(all, sre))
		return errors.Join(err1, err2)
	})
	step("setting the same", nil, func(tx *directory.Tx) error { _, _, err := tx.SetMembers(sre, all); return err })
	step("removing and adding", nil, func(tx *directory.Tx) error {
		_, err1 := tx.RemoveMembers(sre, all)
		_, err2 := tx.AddMembers(sre, all)
		return errors.Join(err1, err2)
	})
	step("removing whom another change adds", []string{"sre bob"}, func(tx *directory.Tx) error {
		_, err1 := tx.RemoveMembers(sre, all)
		_, err2 := tx.AddMembers(sre, []string{alice})
		return errors.Join(err1, err2)
	})
	step("removing who is no member", nil, func(tx *directory.Tx) error { _, err := tx.RemoveMembers(sre, []string{bob}); return err })
	step("setting fewer", []string{"ops sre"}, func(tx *directory.Tx) error { _, _, err := tx.SetMembers(ops, all); return err })
	step("deleting a user", []string{"ops bob"}, func(tx *directory.Tx) error { return tx.DeleteUser(bob) })

	refusal = errors.New("the listener refuses")
	err := h.Update(context.Background(), func(tx *directory.Tx) error { _, err := tx.RemoveMembers(ops, []string{alice}); return err })
	if u, _ := h.ByID(alice); !errors.Is(err, refusal) || !slices.Contains(u.GroupIDs, "gid-ops") {
		t.Errorf("a refusal says %v, and leaves %q", err, u.GroupIDs)
	}
	refusal = nil
	step("deleting a group", []string{"ops alice"}, func(tx *directory.Tx) error { return tx.DeleteGroup(ops) })
	if u, _ := h.ByID(alice); u.GroupKey(0) != sre || u.GroupKey(1) != "" {
		t.Errorf("the keys are %q", u.GroupKey(0))
	}
}
