package admin_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/admin"
	"sallyport/live"
)

// liveReplicas are replicas that are asked for live requests, and remember by which filters.
type liveReplicas struct {
	mu    sync.Mutex
	asked [][]live.Filter // in each question
	total int             // of questions
	delay time.Duration   // until they reply
	panic bool            // instead of replying
}

func (r *liveReplicas) lists(ctx context.Context, filters []live.Filter) (lists []live.List) {
	r.mu.Lock()
	r.asked = append(r.asked, slices.Clone(filters))
	r.total++
	total, fault := r.total, r.panic
	r.mu.Unlock()
	if fault {
		panic("a fault")
	}
	time.Sleep(r.delay)
	if ctx.Err() != nil {
		return make([]live.List, len(filters))
	}
	for _, f := range filters {
		lists = append(lists, live.List{Total: total, Missing: []string{f.Name}})
	}
	return lists
}

// questions returns how many questions were asked since it was called last.
func (r *liveReplicas) questions() [][]live.Filter {
	r.mu.Lock()
	defer r.mu.Unlock()
	asked := r.asked
	r.asked = nil
	return asked
}

// watchers returns how to watch live requests of replicas.
func watchers(t *testing.T) (*liveReplicas, func(live.Filter) *admin.LiveWatch) {
	t.Helper()
	r := new(liveReplicas)
	a := admin.New(admin.Parts{Live: admin.LiveRequests{Lists: r.lists}})
	return r, func(f live.Filter) *admin.LiveWatch {
		w, err := a.WatchLive(ada, f)
		must(t, err)
		t.Cleanup(w.Close)
		return w
	}
}

// listAll has all ask for their list at the same time, and returns how many have one.
func listAll(t *testing.T, all []*admin.LiveWatch) (known int) {
	t.Helper()
	got := make([]bool, len(all))
	var asking sync.WaitGroup
	for i, w := range all {
		asking.Go(func() {
			var err error
			if _, got[i], err = w.List(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	asking.Wait()
	for _, ok := range got {
		if ok {
			known++
		}
	}
	return known
}

// TestWatchLive_AsksOnceForAll: however many watch, the replicas are asked once in a turn for the lists of all of them.
func TestWatchLive_AsksOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, watch := watchers(t)
		r.delay = 300 * time.Millisecond
		var all []*admin.LiveWatch
		for i := range 30 {
			all = append(all, watch(live.Filter{Name: fmt.Sprint("person", i%3), Limit: 100}))
		}
		for turn := range 4 {
			if known := listAll(t, all); known != len(all) {
				t.Fatalf("%d of %d have a list", known, len(all))
			}
			if asked := r.questions(); len(asked) != 1 || len(asked[0]) != 3 {
				t.Errorf("turn %d: %d questions: %v", turn, len(asked), asked)
			}
			if listAll(t, all); len(r.questions()) != 0 {
				t.Error("the replicas are asked twice in a turn")
			}
			time.Sleep(admin.LiveEvery)
		}
		late := watch(live.Filter{Name: "late", Limit: 100})
		listAll(t, all)
		r.questions()
		second := watch(live.Filter{Name: "second", Limit: 100})
		if list, ok, err := second.List(t.Context()); err != nil || !ok || list.Missing[0] != "second" || len(r.questions()) != 1 {
			t.Errorf("one who comes later in a turn gets %v %v %v", list, ok, err)
		}
		if list, ok, _ := late.List(t.Context()); !ok || list.Missing[0] != "late" {
			t.Errorf("%v %v is the list of another", list, ok)
		}
	})
}

// TestWatchLive_IsBounded: whatever is watched, the replicas are asked for 4,000 rows in a turn at most, 1,000 in a question, and
// everybody gets a list in turn.
func TestWatchLive_IsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, watch := watchers(t)
		var all []*admin.LiveWatch
		for i := range 50 {
			all = append(all, watch(live.Filter{Name: fmt.Sprint("deep", i), Limit: 100, Skip: 900}), watch(live.Filter{Name: fmt.Sprint("first", i), Limit: 100}))
		}
		times := map[string]int{}
		for range 40 {
			listAll(t, all)
			total := 0
			for _, question := range r.questions() {
				rows := 0
				for _, f := range question {
					rows += f.Whole().Limit
					times[f.Name]++
				}
				if total += rows; rows > 1000 {
					t.Errorf("a question asks for %d rows", rows)
				}
			}
			if total > 4000 || total < 3000 {
				t.Errorf("%d rows are asked for in a turn", total)
			}
			time.Sleep(admin.LiveEvery)
		}
		if known := listAll(t, all); known != len(all) {
			t.Errorf("%d of %d have got a list", known, len(all))
		}
		for i := range 50 {
			if deep := times[fmt.Sprint("deep", i)]; deep < 2 || deep > 4 {
				t.Errorf("deep%d was asked for %d times", i, deep)
			}
		}
	})
}

// TestWatchLive_OneMayGo: whoever asks for all may go away meanwhile, or end in a fault; the others get their lists.
func TestWatchLive_OneMayGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, watch := watchers(t)
		r.delay = time.Second
		first, second := watch(live.Filter{Name: "first", Limit: 100}), watch(live.Filter{Name: "second", Limit: 100})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, _, _ = first.List(ctx); first.Close() }()
		synctest.Wait()
		cancel()
		if list, ok, err := second.List(t.Context()); !ok || err != nil || list.Total != 1 {
			t.Errorf("%v %v %v", list, ok, err)
		}
		again := watch(live.Filter{Name: "first", Limit: 100})
		if list, ok, err := again.List(t.Context()); !ok || err != nil || list.Total != 2 {
			t.Errorf("after all who watched it have gone: %v %v %v", list, ok, err)
		}
		time.Sleep(admin.LiveEvery)
		r.panic = true
		go func() {
			defer func() { _ = recover() }()
			_, _, _ = again.List(t.Context())
		}()
		synctest.Wait()
		if list, ok, err := second.List(t.Context()); !ok || err != nil || list.Total != 1 {
			t.Errorf("after a fault: %v %v %v", list, ok, err)
		}
		r.panic = false
		time.Sleep(admin.LiveEvery)
		if list, ok, err := second.List(t.Context()); !ok || err != nil || list.Total < 2 {
			t.Errorf("the turn after a fault: %v %v %v", list, ok, err)
		}
		ended, stop := context.WithCancel(t.Context())
		stop()
		if _, _, err := second.List(ended); err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
}

// TestWatchLive_RefusesLongFilters: no filter makes a question too long for those of others.
func TestWatchLive_RefusesLongFilters(t *testing.T) {
	r, watch := watchers(t)
	_ = r
	watch(live.Filter{Name: strings.Repeat("<", 200), Limit: 100})
	a := admin.New(admin.Parts{Live: admin.LiveRequests{Lists: r.lists}})
	for _, f := range []live.Filter{{Name: strings.Repeat("x", 201)}, {User: strings.Repeat("x", 150), Route: strings.Repeat("y", 51)}, {ID: strings.Repeat("z", 1<<16)}} {
		if _, err := a.WatchLive(ada, f); !errors.Is(err, admin.ErrLongFilter) {
			t.Errorf("%v", err)
		}
	}
	if _, err := admin.New(admin.Parts{}).WatchLive(ada, live.Filter{}); !errors.Is(err, admin.ErrNoServer) {
		t.Errorf("without a server: %v", err)
	}
}
