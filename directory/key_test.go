package directory_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"sallyport/directory"
	"sallyport/store"
)

// TestKeys_FitEveryEngine has the longest names that are accepted in every place, and demands that no key is longer than
// every engine can store.
func TestKeys_FitEveryEngine(t *testing.T) {
	for name, unit := range map[string]string{"ASCII": "x", "two bytes": "é", "longer when folded": "ﷺ"} {
		t.Run(name, func(t *testing.T) {
			h := newTestDirectory(t)
			longest := func(first string) string { // the longest value that is accepted
				n := 0
				for directory.Indexed(first + strings.Repeat(unit, n+1)) {
					n++
				}
				return first + strings.Repeat(unit, n)
			}
			document, err := json.Marshal(map[string]any{"displayName": longest("d"), "emails": []map[string]any{{"value": longest("a@"), "primary": true}}})
			if err != nil {
				t.Fatal(err)
			}
			u := directory.User{UserName: longest("u"), ExternalID: longest("e"), Active: true, Document: document}
			g := directory.Group{DisplayName: longest("g"), ExternalID: longest("h")}
			h.update(t, func(tx *directory.Tx) error { u.ID = ""; return tx.PutUser(&u) })
			h.update(t, func(tx *directory.Tx) error { g.ID = ""; return tx.PutGroup(&g) })
			h.update(t, func(tx *directory.Tx) error { _, err := tx.AddMembers(g.ID, []string{u.ID}); return err })
			h.update(t, func(tx *directory.Tx) error { return tx.Suspend(u.ID, longest("r")) })
			u.ExternalID = longest("f")
			h.update(t, func(tx *directory.Tx) error { return tx.PutUser(&u) })
			u.Active = false
			h.update(t, func(tx *directory.Tx) error { return tx.PutUser(&u) })
			h.update(t, func(tx *directory.Tx) error { return tx.DeleteUser(u.ID) })

			count, newest := 0, h.Revision()
			for change, err := range h.store.Watch(t.Context(), 0) {
				if err != nil {
					t.Fatal(err)
				}
				for _, w := range change.Writes {
					if count++; len(w.Key) > store.MaxKey {
						t.Errorf("a key of %d bytes begins with %q", len(w.Key), w.Key[:20])
					}
				}
				if uint64(change.Revision) == uint64(newest) {
					break
				}
			}
			if count < 20 {
				t.Errorf("only %d keys were looked at", count)
			}
			err = h.Update(context.Background(), func(tx *directory.Tx) error {
				return tx.PutUser(&directory.User{UserName: longest("u") + unit})
			})
			if _, ok := errors.AsType[*directory.InvalidError](err); !ok {
				t.Errorf("a longer name gives %v", err)
			}
		})
	}
}
