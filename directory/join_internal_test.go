package directory

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestJoinIndex_ResolvesAsAllHolders changes users with one value in any way, and compares who is found with what a look
// at all of them says.
func TestJoinIndex_ResolvesAsAllHolders(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		idx, users := newJoinIndex(0), map[string]*User{}
		for range rapid.IntRange(1, 60).Draw(rt, "changes") {
			id := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(rt, "id")
			if rapid.Bool().Draw(rt, "removed") {
				idx.remove("key", id)
				delete(users, id)
			} else {
				u := &User{ID: id, Active: rapid.Bool().Draw(rt, "active")}
				if day := rapid.IntRange(0, 3).Draw(rt, "deactivated"); day > 0 {
					u.DeactivatedAt = time.Unix(int64(day), 0)
				}
				if rapid.IntRange(0, 5).Draw(rt, "suspended") == 0 {
					u.Suspended = &Suspension{}
				}
				idx.put("key", u)
				users[id] = u
			}
			compareFound(rt, idx, users)
		}
	})
}

func compareFound(rt *rapid.T, idx *joinIndex, users map[string]*User) {
	var suspended, active int
	var last time.Time
	for _, u := range users {
		switch {
		case u.Suspended != nil:
			suspended++
		case u.Active:
			active++
		}
		if u.DeactivatedAt.After(last) {
			last = u.DeactivatedAt
		}
	}
	u, ok := idx.find("key")
	switch {
	case suspended > 0:
		if !ok || u.Suspended == nil {
			rt.Fatalf("of %d suspended ones, %+v is found", suspended, u)
		}
	case ok != (active == 1 || active == 0 && len(users) == 1):
		rt.Fatalf("of %d users, %d of them active, %+v is found", len(users), active, u)
	case ok && (u.Active != (active == 1) || !u.DeactivatedAt.Equal(last)):
		rt.Fatalf("%+v is found; the last deactivation was at %v", u, last)
	}
}

// BenchmarkJoinIndex_OneValue puts users with one value: the time for each must not grow with their number.
func BenchmarkJoinIndex_OneValue(b *testing.B) {
	for _, n := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			for b.Loop() {
				idx := newJoinIndex(0)
				for i := range n {
					idx.put("key", &User{ID: fmt.Sprint(i), Active: i == 0, DeactivatedAt: time.Unix(int64(i), 0)})
				}
				for i := range n {
					idx.remove("key", fmt.Sprint(n-1-i))
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/user")
		})
	}
}

// TestJoinIndex_WorkIsBoundedByChange counts what a change of one of many users with one value keeps: the work for it,
// and the memory, must not grow with the changes before.
func TestJoinIndex_WorkIsBoundedByChange(t *testing.T) {
	const n = 1000
	idx := newJoinIndex(0)
	for round := range 50 {
		for i := range n {
			idx.put("key", &User{ID: fmt.Sprint(i), DeactivatedAt: time.Unix(int64(round*n+i+1), 0)})
		}
	}
	if remembered := len(idx.shared["key"].deactivated); remembered > 2*n+16 {
		t.Errorf("%d deactivations of %d users are remembered", remembered, n)
	}
}
