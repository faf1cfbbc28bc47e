package follow_test

import (
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"sallyport/store/follow"
)

// TestFeed_TellsEachReaderEverything adds items and reads at random. A reader must be told each item once, in order,
// unless it is told that anything may have changed.
func TestFeed_TellsEachReaderEverything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var feed follow.Feed[int]
		var added []int
		type reader struct {
			position uint64
			read     int // how many of added the reader knows of
		}
		readers, unknown := make([]reader, 3), [3]bool{}
		last := 0
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				var items []int
				for range rapid.SampledFrom([]int{0, 1, 1, 3, 3000, 5000}).Draw(t, "items") {
					last++
					items = append(items, last)
				}
				feed.Add(items...)
				added = append(added, items...)
			},
			"unknown": func(*rapid.T) {
				feed.AddUnknown()
				unknown = [3]bool{true, true, true}
			},
			"read": func(t *rapid.T) {
				i := rapid.IntRange(0, 2).Draw(t, "reader")
				items, now, known := feed.Since(readers[i].position)
				switch {
				case known && unknown[i]:
					t.Fatal("a reader is not told that anything may have changed")
				case known && !slices.Equal(items, added[readers[i].read:]):
					t.Fatalf("a reader is told %d items, want %d", len(items), len(added)-readers[i].read)
				case !known && !unknown[i] && len(added)-readers[i].read < 3000:
					t.Fatalf("a reader is told that anything may have changed after %d items", len(added)-readers[i].read)
				}
				readers[i], unknown[i] = reader{now, len(added)}, false
			},
		})
	})
}

func TestFeed_RejectsPositionsOfOthers(t *testing.T) {
	var feed follow.Feed[int]
	if items, now, known := feed.Since(0); len(items) != 0 || now != 0 || !known {
		t.Errorf("before the first change: %v %d %v", items, now, known)
	}
	if _, now, known := feed.Since(7); now != 0 || known {
		t.Errorf("a position that the feed has not reached: %d %v", now, known)
	}
}

// TestMirror_TellsWhatIsUnknown checks that whoever reads a feed is told of each reason for which Changed is closed, before
// it is closed.
func TestMirror_TellsWhatIsUnknown(t *testing.T) {
	st, _, mirror := newMirror(t, nil)
	var mu sync.Mutex
	unknown := 0
	mirror.OnUnknown(func() { mu.Lock(); defer mu.Unlock(); unknown++ })
	told := func() int { mu.Lock(); defer mu.Unlock(); return unknown }
	stop := run(mirror)
	if err := mirror.Wait(t.Context(), put(t, st, "a")); err != nil || told() != 0 {
		t.Errorf("after a change: %v, %d", err, told())
	}
	changed := mirror.Changed()
	st.loseChanges()
	<-changed
	if told() != 1 {
		t.Errorf("after memory was loaded again: %d", told())
	}
	changed = mirror.Changed()
	_ = stop()
	<-changed
	if told() != 2 {
		t.Errorf("after the end of Run: %d", told())
	}
}
