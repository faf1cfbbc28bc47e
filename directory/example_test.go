package directory_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"sallyport/directory"
	"sallyport/store/bolt"
)

func Example() {
	dir, err := os.MkdirTemp("", "directory-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	st, err := bolt.Open(filepath.Join(dir, "store.db"), bolt.Options{Init: true})
	if err != nil {
		panic(err)
	}
	defer st.Close()

	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	d, err := directory.Open(ctx, st, "externalId")
	if err != nil {
		panic(err)
	}
	go d.Run(ctx)

	err = d.Update(ctx, func(tx *directory.Tx) error {
		u := directory.User{ExternalID: "4711", UserName: "ada@example.com", Active: true,
			Document: []byte(`{"displayName":"Ada","roles":[{"value":"auditor"}]}`)}
		if err := tx.PutUser(&u); err != nil {
			return err
		}
		g := directory.Group{ExternalID: "g1", DisplayName: "Engineers"}
		if err := tx.PutGroup(&g); err != nil {
			return err
		}
		_, err := tx.AddMembers(g.ID, []string{u.ID})
		return err
	})
	if err != nil {
		panic(err)
	}

	u, ok := d.Lookup("4711") // memory has the change once Update has returned
	fmt.Println(ok, u.DisplayName, u.Roles, u.GroupNames)
	// Output: true Ada [auditor] [Engineers]
}
