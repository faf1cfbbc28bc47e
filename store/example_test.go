package store_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"sallyport/store"
	"sallyport/store/bolt"
)

func Example() {
	dir, err := os.MkdirTemp("", "store-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	st, err := bolt.Open(filepath.Join(dir, "store.db"), bolt.Options{Init: true})
	if err != nil {
		panic(err)
	}
	defer st.Close()

	ctx := context.Background()
	revision, err := st.Update(ctx, func(w store.Writer) error {
		return w.Put([]byte("fruit/apple"), []byte("red"))
	})
	fmt.Println(revision, err)

	err = st.View(ctx, func(r store.Reader) error {
		for e, err := range r.Scan([]byte("fruit/"), nil) {
			if err != nil {
				return err
			}
			fmt.Printf("%s is %s\n", e.Key, e.Value)
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// 1 <nil>
	// fruit/apple is red
	// <nil>
}
