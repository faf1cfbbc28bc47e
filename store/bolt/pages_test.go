package bolt_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	bbolt "go.etcd.io/bbolt"

	"sallyport/store"
	"sallyport/store/bolt"
)

// page is one page of a file, to be damaged in place.
type page struct {
	id   uint64
	data []byte
}

func (p page) flags() uint16 { return binary.NativeEndian.Uint16(p.data[8:]) }
func (p page) count() int    { return int(binary.NativeEndian.Uint16(p.data[10:])) }

// child returns the page to which element i of a branch leads.
func (p page) child(i int) uint64 { return binary.NativeEndian.Uint64(p.data[16+16*i+8:]) }

// leadTo makes a leaf a branch that leads to page id and nowhere else, by the first of its keys.
func (p page) leadTo(id uint64) {
	element := p.data[16:]
	binary.NativeEndian.PutUint16(p.data[8:], branch)
	binary.NativeEndian.PutUint16(p.data[10:], 1)
	copy(element, element[4:12]) // position and size of the key
	binary.NativeEndian.PutUint64(element[8:], id)
}

// damagePages calls f with every page of the file at path, pages that are no longer in use among them, and writes back
// what f changed. f reports whether it is a page of the wanted kind.
func damagePages(t *testing.T, path string, f func(page) bool) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	size, found := os.Getpagesize(), false
	for id := 2; (id+1)*size <= len(text); id++ {
		p := page{uint64(id), text[id*size : (id+1)*size]}
		if binary.NativeEndian.Uint64(p.data) == p.id {
			found = f(p) || found
		}
	}
	if !found {
		t.Fatal("the file has no such page")
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

// rootPage returns the root page of the bucket of records.
func rootPage(t *testing.T, path string) (id uint64) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bbolt.Tx) error {
		id = uint64(tx.Bucket([]byte("data")).Root())
		return nil
	})
	if err != nil || id == 0 {
		t.Fatal(id, err)
	}
	return id
}

const branch, leaf, freelist = 0x01, 0x02, 0x10

// TestOpen_RejectsDamagedPages: bbolt would follow the first of these until the stack is exhausted, which ends the process.
func TestOpen_RejectsDamagedPages(t *testing.T) {
	for name, c := range map[string]struct {
		damage func(t *testing.T, path string)
		want   string
	}{
		"branch_leads_to_itself": {func(t *testing.T, path string) {
			damagePages(t, path, func(p page) bool {
				if p.flags() == branch && p.count() > 1 {
					binary.NativeEndian.PutUint64(p.data[16+8:], p.id)
				}
				return p.flags() == branch && p.count() > 1
			})
		}, "two pages lead to page"},
		"branch_leads_outside": {func(t *testing.T, path string) {
			damagePages(t, path, func(p page) bool {
				if p.flags() == branch && p.count() > 1 {
					binary.NativeEndian.PutUint64(p.data[16+8:], 1<<40)
				}
				return p.flags() == branch && p.count() > 1
			})
		}, "does not exist"},
		"branch_key_is_another": {func(t *testing.T, path string) { // which hides records from a search, and from no scan
			damagePages(t, path, func(p page) bool {
				wanted := p.flags() == branch && p.count() > 2
				if wanted {
					element := p.data[16+16:] // the second
					key := element[binary.NativeEndian.Uint32(element):][:binary.NativeEndian.Uint32(element[4:])]
					key[len(key)-1]++
				}
				return wanted
			})
		}, "not in its place"},
		"leaf_element_outside_its_page": {func(t *testing.T, path string) {
			damagePages(t, path, func(p page) bool {
				if p.flags() == leaf && p.count() > 8 {
					binary.NativeEndian.PutUint32(p.data[16+4:], 1<<20)
				}
				return p.flags() == leaf && p.count() > 8
			})
		}, "not in its place"},
		"leaf_count_too_large": {func(t *testing.T, path string) {
			damagePages(t, path, func(p page) bool {
				if p.flags() == leaf && p.count() > 8 {
					binary.NativeEndian.PutUint16(p.data[10:], 60_000)
				}
				return p.flags() == leaf && p.count() > 8
			})
		}, "neither a branch nor a leaf"},
		"page_in_use_listed_as_free": {func(t *testing.T, path string) {
			root := rootPage(t, path)
			damagePages(t, path, func(p page) bool {
				if p.flags() == freelist && p.count() > 0 {
					binary.NativeEndian.PutUint64(p.data[16:], root)
				}
				return p.flags() == freelist && p.count() > 0
			})
		}, "listed as free"},
		"cut_off": {func(t *testing.T, path string) {
			if err := os.Truncate(path, 8*int64(os.Getpagesize())); err != nil {
				t.Fatal(err)
			}
		}, "damaged"}, // bbolt reads the freelist first, and may find that missing
	} {
		t.Run(name, func(t *testing.T) {
			path := fileWithRecords(t, 5000)
			s := open(t, path)
			for range 3 { // frees some pages
				if err := put(s, "key-002500", "another value"); err != nil {
					t.Fatal(err)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			c.damage(t, path)
			if _, err := bolt.Open(path, bolt.Options{}); err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("opening gives %v", err)
			}
		})
	}
}

// TestOpen_TellsDamageFromNewFile: a file that lost its buckets must not become an empty store.
func TestOpen_TellsDamageFromNewFile(t *testing.T) {
	for name, buckets := range map[string][]string{"data": {"data"}, "meta": {"meta"}, "both": {"data", "meta"}} {
		t.Run(name, func(t *testing.T) {
			path := fileWithRecords(t, 100)
			db, err := bbolt.Open(path, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			err = db.Update(func(tx *bbolt.Tx) error {
				for _, bucket := range buckets {
					if err := tx.DeleteBucket([]byte(bucket)); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil || db.Close() != nil {
				t.Fatal(err)
			}
			for _, init := range []bool{false, true} {
				if _, err := bolt.Open(path, bolt.Options{Init: init}); err == nil || !strings.Contains(err.Error(), "damaged") {
					t.Errorf("with init %v, opening gives %v", init, err)
				}
			}
		})
	}
}

// pageOf returns a page of a file with the content text.
func pageOf(text []byte, id uint64) page {
	size := uint64(os.Getpagesize())
	return page{id, text[id*size : (id+1)*size]}
}

// leafBelow returns the last of the leaves to which element i of a branch leads.
func leafBelow(text []byte, p page, i int) page {
	for p.flags() == branch {
		p = pageOf(text, p.child(i))
		i = p.count() - 1
	}
	return p
}

// TestOpen_RejectsDamageInEachSubtree damages a leaf below one page after the other of those that goroutines share.
func TestOpen_RejectsDamageInEachSubtree(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	path := fileWithRecords(t, 60_000)
	intact, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	root := rootPage(t, path)
	for name, damage := range map[string]func(leaf, other page) (want string){ // other is a leaf of another subtree
		"page_is_another": func(leaf, _ page) string {
			binary.NativeEndian.PutUint64(leaf.data, leaf.id+1)
			return fmt.Sprintf("page %d says that it is page %d", leaf.id, leaf.id+1)
		},
		"page_is_no_leaf": func(leaf, _ page) string {
			binary.NativeEndian.PutUint16(leaf.data[8:], freelist)
			return fmt.Sprintf("page %d is neither a branch nor a leaf", leaf.id)
		},
		"element_outside_its_page": func(leaf, _ page) string {
			binary.NativeEndian.PutUint32(leaf.data[16+4:], 1<<20)
			return fmt.Sprintf("element 0 of page %d is not in its place", leaf.id)
		},
		"keys_of_another_page": func(leaf, other page) string {
			copy(leaf.data[8:], other.data[8:])
			return fmt.Sprintf("of page %d is not in its place", leaf.id)
		},
		"leads_to_itself": func(leaf, _ page) string {
			leaf.leadTo(leaf.id)
			return fmt.Sprintf("two pages lead to page %d", leaf.id)
		},
		"leads_to_another_subtree": func(leaf, other page) string {
			leaf.leadTo(other.id)
			binary.NativeEndian.PutUint16(other.data[10:], 0) // without keys, it is in its place anywhere
			return fmt.Sprintf("two pages lead to page %d", other.id)
		},
		"leads_to_missing_page": func(leaf, _ page) string {
			leaf.leadTo(1 << 40)
			return fmt.Sprintf("page %d does not exist", 1<<40)
		},
	} {
		t.Run(name, func(t *testing.T) {
			below := pageOf(intact, root).count()
			if below < 16 {
				t.Fatalf("the root has only %d pages below it", below)
			}
			for _, i := range []int{0, below / 2, below - 1} {
				text := slices.Clone(intact)
				top := pageOf(text, root)
				want := damage(leafBelow(text, top, i), leafBelow(text, top, (i+below/2)%below))
				if err := os.WriteFile(path, text, 0o600); err != nil {
					t.Fatal(err)
				}
				if _, err := bolt.Open(path, bolt.Options{}); !errors.Is(err, store.ErrUnsound) || !strings.Contains(err.Error(), want) {
					t.Errorf("damage below page %d gives %v, want %q", top.child(i), err, want)
				}
			}
		})
	}
}
