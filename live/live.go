// Package live describes live requests, and chooses some of many. It is pure: the requests themselves are the proxy's.
package live

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Kind is what a live request is; the set is closed.
type Kind string

// The kinds of live requests.
const (
	Plain     Kind = "request"
	Events    Kind = "events"    // the response is a stream of server-sent events
	WebSocket Kind = "websocket" // it has become a tunnel
)

// Kinds returns every kind.
func Kinds() []Kind { return []Kind{Plain, Events, WebSocket} }

// Key is what live requests are chosen and sorted by.
type Key struct {
	ID       string    `json:"request"` // the number that a denied page shows, and that is in the record
	Kind     Kind      `json:"kind"`
	User     string    `json:"user,omitempty"`     // the directory's id; "" for an application and for nobody
	UserName string    `json:"userName,omitempty"` // of an application, app: and its client ID; "" for nobody
	Route    string    `json:"route"`
	Since    time.Time `json:"since"`
	Received int64     `json:"received"` // bytes from the client, so far
	Sent     int64     `json:"sent"`     // bytes to the client, so far
}

// Request is a live request.
type Request struct {
	Key
	Session string `json:"session,omitempty"`
	Rule    string `json:"rule,omitempty"` // that lets it in
	Method  string `json:"method"`
	Host    string `json:"host"`
	Path    string `json:"path"`
	Address string `json:"address"`           // of the client
	Replica string `json:"replica,omitempty"` // that serves it, of several
}

// Sort is how requests are sorted.
type Sort string

// The ways to sort.
const (
	Longest Sort = "longest" // those that have lasted the longest first
	Newest  Sort = "newest"  // those that came last first
	Busiest Sort = "busiest" // those with the most bytes first
)

// Sorts returns every one.
func Sorts() []Sort { return []Sort{Longest, Newest, Busiest} }

// Filter says which requests are meant, in which order, and how many of them. What is zero says nothing.
type Filter struct {
	ID    string `json:"id,omitempty"`
	User  string `json:"user,omitempty"`  // the id, or the UserName of an application
	Name  string `json:"name,omitempty"`  // a part of UserName, whatever its case
	Route string `json:"route,omitempty"` // the whole name
	Kind  Kind   `json:"kind,omitempty"`
	Sort  Sort   `json:"sort,omitempty"` // "": Longest
	Skip  int    `json:"skip,omitempty"`
	Limit int    `json:"limit"`
}

// Bounds of a filter.
const (
	MaxLimit = 1_000
	MaxSkip  = 100_000
)

// Bounded returns f with a limit and a skip within their bounds.
func (f Filter) Bounded() Filter {
	f.Limit, f.Skip = min(max(f.Limit, 0), MaxLimit), min(max(f.Skip, 0), MaxSkip)
	f.Name = strings.ToLower(f.Name)
	return f
}

// Matches reports whether a request is meant.
func (f Filter) Matches(k *Key) bool {
	return (f.ID == "" || f.ID == k.ID) && (f.User == "" || f.User == k.User || k.User == "" && f.User == k.UserName) && (f.Route == "" || f.Route == k.Route) &&
		(f.Kind == "" || f.Kind == k.Kind) && (f.Name == "" || strings.Contains(strings.ToLower(k.UserName), f.Name))
}

// List is some of the live requests.
type List struct {
	Requests []Request `json:"requests"`
	Matching int       `json:"matching"`          // how many the filter means
	Total    int       `json:"total"`             // how many there are
	Missing  []string  `json:"missing,omitempty"` // replicas that did not say theirs
}

// Choose returns the part of all that f asks for. It calls key once for each, and facts for those that are chosen. key
// returns false for what does not count.
func Choose[R any](f Filter, all []R, key func(R) (Key, bool), facts func(R, Key) Request) List {
	return ChooseEach([]Filter{f}, all, key, facts)[0]
}

// ChooseEach returns for each filter what [Choose] does. It calls key once for each request, however many filters there are.
func ChooseEach[R any](filters []Filter, all []R, key func(R) (Key, bool), facts func(R, Key) Request) []List {
	lists, chosen, bounded := make([]List, len(filters)), make([]best[R], len(filters)), make([]Filter, len(filters))
	for i, f := range filters {
		bounded[i] = f.Bounded()
		chosen[i] = best[R]{sort: f.Sort, most: bounded[i].Skip + bounded[i].Limit}
	}
	total := 0
	for _, r := range all {
		k, ok := key(r)
		if !ok {
			continue
		}
		total++
		for i := range bounded {
			if bounded[i].Matches(&k) {
				lists[i].Matching++
				chosen[i].add(candidate[R]{k, r})
			}
		}
	}
	for i := range lists {
		lists[i].Total = total
		for _, c := range part(bounded[i], chosen[i].sorted()) {
			lists[i].Requests = append(lists[i].Requests, facts(c.r, c.Key).clipped())
		}
	}
	return lists
}

// How much of what a client wrote a list has: a list of many requests must fit into one reply of a replica, whatever clients
// send. The record has all of it.
const (
	maxPath   = 200
	maxMethod = 32
)

// clipped returns r with the beginning of what is long.
func (r Request) clipped() Request {
	r.Path, r.Method = clip(r.Path, maxPath), clip(r.Method, maxMethod)
	return r
}

// clip returns a text, or its first bytes that are whole characters, and an ellipsis.
func clip(text string, most int) string {
	if len(text) <= most {
		return text
	}
	for most > 0 && !utf8.RuneStart(text[most]) {
		most--
	}
	return text[:most] + "…"
}

// best keeps the first of many candidates without sorting all of them.
type best[R any] struct {
	sort Sort
	most int // that are kept
	list []candidate[R]
	full bool // list was sorted, and its first are most: what comes after the last of these is none of the first
}

type candidate[R any] struct {
	Key
	r R
}

func (b *best[R]) add(c candidate[R]) {
	if b.most == 0 || b.full && b.sort.compare(&c.Key, &b.list[b.most-1].Key) > 0 {
		return
	}
	if b.list = append(b.list, c); len(b.list) >= 2*b.most {
		b.list, b.full = b.sorted(), true
	}
}

func (b *best[R]) sorted() []candidate[R] {
	slices.SortFunc(b.list, func(x, y candidate[R]) int { return b.sort.compare(&x.Key, &y.Key) })
	return b.list[:min(len(b.list), b.most)]
}

// Merge returns the part that f asks for of the lists of replicas, by their names, each of which was chosen by
// [Filter.Whole].
func Merge(f Filter, lists map[string]List, missing []string) List {
	f = f.Bounded()
	merged := List{Missing: missing}
	for replica, l := range lists {
		for _, r := range l.Requests {
			r.Replica = replica
			merged.Requests = append(merged.Requests, r)
		}
		merged.Matching, merged.Total = merged.Matching+l.Matching, merged.Total+l.Total
	}
	slices.SortFunc(merged.Requests, func(a, b Request) int { return f.Sort.compare(&a.Key, &b.Key) })
	merged.Requests = part(f, merged.Requests)
	return merged
}

// Whole returns the filter for which a process returns all that [Merge] needs.
func (f Filter) Whole() Filter {
	f = f.Bounded()
	f.Skip, f.Limit = 0, min(f.Skip+f.Limit, MaxLimit)
	return f
}

// part returns the part of a sorted list that f asks for.
func part[R any](f Filter, list []R) []R {
	from := min(f.Skip, len(list))
	return list[from:min(from+f.Limit, len(list))]
}

// compare returns which of two requests comes first. The order is total, so that pages of a list do not overlap.
func (s Sort) compare(a, b *Key) int {
	first := a.Since.Compare(b.Since)
	switch s {
	case Newest:
		first = -first
	case Busiest:
		first = cmp.Or(cmp.Compare(b.Received+b.Sent, a.Received+a.Sent), first)
	}
	return cmp.Or(first, strings.Compare(a.ID, b.ID))
}
