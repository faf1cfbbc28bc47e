package directory

import (
	"testing"
	"time"
)

// TestNewID_GrowsWithTime: what is created later has a greater id, and no two ids of one time are equal.
func TestNewID_GrowsWithTime(t *testing.T) {
	now, before, seen := time.Now(), "", map[string]bool{}
	for i := range 100 {
		at := now.Add(time.Duration(i) * time.Millisecond)
		for range 100 {
			id := newID(at)
			if key, err := idKey(userKeys, id); err != nil || len(key) != len(userKeys)+idSize || seen[id] || id <= before {
				t.Fatalf("%s after %s: %v", id, before, err)
			}
			seen[id] = true
		}
		for id := range seen {
			before = max(before, id)
		}
	}
}
