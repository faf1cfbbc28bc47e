package live_test

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"sallyport/live"
)

var begin = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// made returns n live requests in no order.
func made(n int) []live.Request {
	all := make([]live.Request, n)
	for i := range all {
		k := live.Key{ID: fmt.Sprintf("%032x", i), Kind: live.Kinds()[i%3], Route: []string{"wiki", "app"}[i%2], Since: begin.Add(time.Duration(i/2) * time.Second), Sent: int64(i % 7)}
		if i%5 == 0 {
			k.UserName = "app:client"
		} else {
			k.User, k.UserName = fmt.Sprint("id", i%4), fmt.Sprintf("Person%d@example.com", i%4)
		}
		all[i] = live.Request{Key: k}
	}
	rand.Shuffle(n, func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

func choose(f live.Filter, all []live.Request) live.List {
	return live.Choose(f, all, func(r live.Request) (live.Key, bool) { return r.Key, true }, func(r live.Request, _ live.Key) live.Request { return r })
}

func TestChoose_PagesAreWhole(t *testing.T) {
	all := made(1000)
	for _, sort := range live.Sorts() {
		seen := map[string]bool{}
		for skip := 0; skip < 1000; skip += 70 {
			list := choose(live.Filter{Sort: sort, Skip: skip, Limit: 70}, all)
			if list.Total != 1000 || list.Matching != 1000 || len(list.Requests) != min(70, 1000-skip) {
				t.Fatalf("%s from %d: %d of %d of %d", sort, skip, len(list.Requests), list.Matching, list.Total)
			}
			for _, r := range list.Requests {
				seen[r.ID] = true
			}
		}
		if len(seen) != 1000 {
			t.Errorf("%s: the pages have %d of 1000", sort, len(seen))
		}
	}
	for sort, first := range map[live.Sort]func(a, b live.Request) bool{
		live.Longest: func(a, b live.Request) bool { return a.Since.After(b.Since) },
		live.Newest:  func(a, b live.Request) bool { return a.Since.Before(b.Since) },
		live.Busiest: func(a, b live.Request) bool { return a.Sent < b.Sent },
	} {
		list := choose(live.Filter{Sort: sort, Limit: 500}, all).Requests
		for i := 1; i < len(list); i++ {
			if first(list[i-1], list[i]) {
				t.Fatalf("%s: %v before %v", sort, list[i-1].Key, list[i].Key)
			}
		}
	}
}

func TestChoose_Filters(t *testing.T) {
	all := made(600)
	for name, c := range map[string]struct {
		live.Filter
		want int
	}{
		"id":          {live.Filter{ID: fmt.Sprintf("%032x", 7)}, 1},
		"user":        {live.Filter{User: "id1"}, 120},
		"application": {live.Filter{User: "app:client"}, 120},
		"name":        {live.Filter{Name: "PERSON1@"}, 120},
		"route":       {live.Filter{Route: "wiki"}, 300},
		"kind":        {live.Filter{Kind: live.Events}, 200},
		"together":    {live.Filter{Route: "wiki", Kind: live.Events}, 100},
		"nobody":      {live.Filter{Name: "carol"}, 0},
		"part_of_id":  {live.Filter{User: "id"}, 0},
	} {
		c.Limit = live.MaxLimit
		if list := choose(c.Filter, all); list.Matching != c.want || len(list.Requests) != c.want || list.Total != 600 {
			t.Errorf("%s: %d of %d of %d, want %d", name, len(list.Requests), list.Matching, list.Total, c.want)
		}
	}
}

// TestChoose_IsBounded: whatever is asked for, a list is not longer than MaxLimit, and nothing panics.
func TestChoose_IsBounded(t *testing.T) {
	all := made(live.MaxLimit + 10)
	for f, want := range map[live.Filter]int{
		{Limit: 1 << 40}: live.MaxLimit, {Limit: -1}: 0, {Limit: 10, Skip: -5}: 10, {Limit: 10, Skip: 1 << 50}: 0, {Limit: 10, Sort: "odd"}: 10,
		live.Filter{Limit: 1 << 40, Skip: 1 << 40}.Whole(): live.MaxLimit,
	} {
		if got := len(choose(f, all).Requests); got != want {
			t.Errorf("%+v: %d, want %d", f, got, want)
		}
	}
}

// TestMerge_IsThatOfOneProcess: what several replicas choose together is what one would, that had all requests.
func TestMerge_IsThatOfOneProcess(t *testing.T) {
	all := made(900)
	parts := map[string][]live.Request{"a": all[:100], "b": all[100:101], "c": all[101:]}
	for _, f := range []live.Filter{{Limit: 50}, {Limit: 50, Skip: 200, Sort: live.Newest}, {Limit: 70, Skip: 890, Sort: live.Busiest}, {Limit: 20, Name: "person2"}} {
		lists := map[string]live.List{}
		for name, part := range parts {
			lists[name] = choose(f.Whole(), part)
		}
		want, got := choose(f, all), live.Merge(f, lists, []string{"d (it did not reply)"})
		same := func(a, b live.Request) bool { return a.ID == b.ID }
		if got.Matching != want.Matching || got.Total != want.Total || !slices.EqualFunc(got.Requests, want.Requests, same) {
			t.Errorf("%+v: %d of %d, want %d of %d", f, len(got.Requests), got.Matching, len(want.Requests), want.Matching)
		}
		for _, r := range got.Requests {
			if r.Replica == "" || !slices.ContainsFunc(parts[r.Replica], func(p live.Request) bool { return same(p, r) }) {
				t.Fatalf("%s is said to be of %q", r.ID, r.Replica)
			}
		}
		if len(got.Missing) != 1 {
			t.Errorf("missing: %q", got.Missing)
		}
	}
}

// BenchmarkChoose chooses a page of 10,000 live requests.
func BenchmarkChoose(b *testing.B) {
	all := made(10_000)
	for b.Loop() {
		choose(live.Filter{Limit: 100, Name: "person"}, all)
	}
}

// TestChooseEach_IsChooseForEach: what is chosen by several filters at once is what each chooses by itself, and each request is
// looked at once.
func TestChooseEach_IsChooseForEach(t *testing.T) {
	all := made(700)
	filters := []live.Filter{{Limit: 50}, {Limit: 20, Skip: 30, Sort: live.Busiest}, {Limit: 10, Route: "wiki"}, {}, {Limit: 10, Name: "PERSON1"}}
	looked := 0
	lists := live.ChooseEach(filters, all, func(r live.Request) (live.Key, bool) { looked++; return r.Key, true }, func(r live.Request, _ live.Key) live.Request { return r })
	if looked != len(all) || len(lists) != len(filters) {
		t.Fatalf("%d requests are looked at %d times", len(all), looked)
	}
	for i, f := range filters {
		want := choose(f, all)
		if got := lists[i]; got.Total != want.Total || got.Matching != want.Matching || !slices.Equal(got.Requests, want.Requests) {
			t.Errorf("%+v: %d of %d", f, len(got.Requests), got.Matching)
		}
	}
	if len(live.ChooseEach(nil, all, func(r live.Request) (live.Key, bool) { return r.Key, true }, func(r live.Request, _ live.Key) live.Request { return r })) != 0 {
		t.Error("no filter chooses something")
	}
}

// TestChoose_FitsIntoAReply: whatever clients write into their requests, a list of the most requests stays small enough to be
// told to other replicas.
func TestChoose_FitsIntoAReply(t *testing.T) {
	all := made(live.MaxLimit)
	for i := range all {
		var random [4 << 10]byte
		for j := range random {
			random[j] = byte(33 + rand.IntN(90))
		}
		all[i].Path, all[i].Method, all[i].Host = "/"+string(random[:]), string(random[:1000]), "wiki.example.com"
	}
	all[0].Path = strings.Repeat("ü", 1000)
	var packed bytes.Buffer
	w, _ := flate.NewWriter(&packed, flate.BestSpeed)
	list := choose(live.Filter{Limit: live.MaxLimit}, all)
	if err := json.NewEncoder(w).Encode(list); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil || packed.Len() > 256<<10 || len(list.Requests) != live.MaxLimit {
		t.Errorf("%d bytes for %d requests, %v", packed.Len(), len(list.Requests), err)
	}
	for _, r := range list.Requests {
		if !utf8.ValidString(r.Path) || !strings.HasSuffix(r.Path, "…") {
			t.Fatalf("%q", r.Path)
		}
	}
}
