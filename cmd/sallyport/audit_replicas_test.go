package main

import (
	"strings"
	"testing"

	"sallyport/audit"
)

// TestSoundRecords_CountReplicas: a file that names no replica, such as an empty one or that of another installation, is not
// one more replica of those that were checked together.
func TestSoundRecords_CountReplicas(t *testing.T) {
	all := soundRecords{Records: []soundRecord{{Files: []string{"empty.jsonl"}}, {Replica: "replica-1", Files: []string{"1.jsonl"}}, {Replica: "replica-2", Files: []string{"2.jsonl"}}},
		Compared: audit.Compared{Changes: 7}}
	text := all.String()
	for _, want := range []string{"7 changes of the directory are in the records of 2 replicas, each in one", "empty.jsonl names no replica: nothing says that it belongs"} {
		if !strings.Contains(text, want) {
			t.Errorf("it says\n%s\nwithout %q", text, want)
		}
	}
}
