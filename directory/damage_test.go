package directory_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"

	bbolt "go.etcd.io/bbolt"

	"sallyport/directory"
	"sallyport/store"
	"sallyport/store/bolt"
)

// damage flips a bit in the value of the first record whose key begins with prefix.
func damage(t *testing.T, path, prefix string) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		data := tx.Bucket([]byte("data"))
		key, value := data.Cursor().Seek([]byte(prefix))
		if !bytes.HasPrefix(key, []byte(prefix)) {
			t.Fatalf("no key begins with %s", prefix)
		}
		damaged := bytes.Clone(value)
		damaged[len(damaged)-1] ^= 1
		return data.Put(bytes.Clone(key), damaged)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestOpen_MarksDamagedUsersOrFails: a damaged record of a user marks the user as
// damaged, and one of a group all its members. With any other damaged record, Open
// fails.
func TestOpen_MarksDamagedUsersOrFails(t *testing.T) {
	for prefix, fails := range map[string]bool{
		"user/": false, "group/": false, "member/": false, "memberof/": false,
		"name/": true, "ext/": true, "gname/": true, "gext/": true, "count/": true,
	} {
		t.Run(prefix, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.db")
			h := open(t, path)
			alice, group := h.addUser(t, "alice"), h.addGroup(t, "sre")
			h.update(t, func(tx *directory.Tx) error { _, err := tx.AddMembers(group, []string{alice}); return err })
			h.stop()
			damage(t, path, prefix)

			st, err := bolt.Open(path, bolt.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer st.Close()
			d, err := directory.Open(context.Background(), st, "externalId")
			if fails {
				if !errors.Is(err, store.ErrDamaged) {
					t.Errorf("Open gives %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if u, ok := d.ByID(alice); !ok || !u.Damaged {
				t.Errorf("alice is %+v, %v", u, ok)
			}
		})
	}
}
