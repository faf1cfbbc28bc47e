package backup_test

import (
	"bytes"
	"fmt"

	"sallyport/backup"
	"sallyport/store"
)

// A stream, as every later version must read it.
func Example() {
	records := func(yield func(store.Entry, error) bool) {
		_ = yield(store.Entry{Key: []byte("count/users"), Value: []byte("1")}, nil) &&
			yield(store.Entry{Key: []byte("user/1"), Value: []byte("{}")}, nil)
	}
	var out bytes.Buffer
	if _, err := backup.Write(&out, backup.Header{Revision: 7, Version: "0.1.0"}, records); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%+q\n", out.String())

	r, err := backup.NewReader(&out)
	if err != nil {
		fmt.Println(err)
		return
	}
	for e, err := range r.Records() {
		fmt.Printf("%s: %s, %v\n", e.Key, e.Value, err)
	}
	fmt.Println(r.Header().Revision, r.Summary().Records)
	// Output:
	// "sallyport backup 1\n>{\"made\":\"0001-01-01T00:00:00Z\",\"revision\":7,\"version\":\"0.1.0\"}\x01\v\x01count/users1\x01\x06\x02user/1{}\x00\x00\x00\x00\x00\x00\x00\x00\x02\xd6\xdfA\x86t\u020b\xb1G^\xb0\xa8{\x90\xfa\t2\x8c\u038c\xfe\xe6G\xa3\xe9\v\x9f\r\nP^("
	// count/users: 1, <nil>
	// user/1: {}, <nil>
	// 7 2
}
