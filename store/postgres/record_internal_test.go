package postgres

import (
	"bytes"
	"reflect"
	"testing"

	"sallyport/store"
	"sallyport/store/internal/checksum"
)

func FuzzDecodeWrites(f *testing.F) {
	f.Add(encodeWrites([]store.Write{{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("b"), Deleted: true}, {Key: []byte{}, Value: []byte{}}}))
	f.Add(encodeWrites(nil))
	f.Add(checksum.Add(nil, []byte{1, 200, 'a'}))
	f.Add(checksum.Add(nil, []byte{2}))
	f.Add([]byte("x"))
	f.Fuzz(func(t *testing.T, record []byte) {
		writes, err := decodeWrites(record)
		if err != nil {
			return
		}
		again, err := decodeWrites(encodeWrites(writes))
		if err != nil || !reflect.DeepEqual(again, writes) {
			t.Errorf("%v are read again as %v, %v", writes, again, err)
		}
	})
}

func TestKeyAfter(t *testing.T) {
	for prefix, want := range map[string][]byte{"": nil, "a": []byte("b"), "a\xff": []byte("b"), "\xff\xff": nil, "a/": []byte("a0")} {
		if got := keyAfter([]byte(prefix)); !bytes.Equal(got, want) {
			t.Errorf("after %q comes %q, want %q", prefix, got, want)
		}
	}
}
