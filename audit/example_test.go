package audit_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sallyport/audit"
)

// Write an event before the action it records, then verify the record, as it is and
// after somebody changed a line.
func Example() {
	dir, err := os.MkdirTemp("", "audit")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "audit.jsonl")

	log, err := audit.Open(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, user := range []string{"alice@example.com", "bob@example.com"} {
		if err := log.Write(audit.Event{Time: time.Now().UTC(), Kind: audit.KindLogin, UserName: user}); err != nil {
			fmt.Println(err) // deny the login: it must not happen unrecorded
			return
		}
	}
	if err := log.Close(); err != nil {
		fmt.Println(err)
		return
	}

	record, err := os.ReadFile(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	n, err := audit.Verify(strings.NewReader(string(record)))
	fmt.Println(n, err)
	n, err = audit.Verify(strings.NewReader(strings.Replace(string(record), "bob", "eve", 1)))
	fmt.Println(n, errors.Is(err, audit.ErrBroken), err)
	// Output:
	// 2 <nil>
	// 1 true audit record is broken: line 2 was changed: its hash does not match
}
