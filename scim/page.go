package scim

import (
	"cmp"
	"slices"
	"strings"

	"sallyport/directory"
	"sallyport/scim/internal/schema"
)

// candidate is a resource that matches the query.
type candidate struct {
	subquery *subquery
	position
	user *directory.User // as it was when it matched, from memory; nil: to be read from the store
}

// position is the place of a resource in the results of a query. Cursors hold it as JSON.
type position struct {
	Index int            `json:"p,omitempty"` // of the resource's subquery
	ID    string         `json:"i"`
	Key   schema.SortKey `json:"k,omitzero"`
}

// newCandidate returns the candidate of a resource; key is its sort key.
func newCandidate(p *subquery, id string, key schema.SortKey) candidate {
	return candidate{subquery: p, position: position{p.index, id, key}}
}

// page collects the resources of one page of results.
type page struct {
	query      *query
	sorted     bool      // at the end: candidates are added in no order
	limit      *position // what is behind it is not on a page that is sorted at the end; nil: nothing is known
	skip       int       // how many results precede the page
	wanted     int       // one more than the page has: it tells whether there is a next page
	total      int
	candidates []candidate
}

func newPage(q *query) *page {
	p := &page{query: q, sorted: q.subqueries[0].sortBy != nil || q.memory != nil, wanted: q.count + 1}
	if q.cursor == nil {
		p.skip = q.start - 1
	}
	return p
}

// full reports whether no later candidate can be on the page; a sorted page is never full.
func (p *page) full() bool { return !p.sorted && len(p.candidates) >= p.wanted }

// add counts a candidate, and keeps it if it may be on the page.
func (p *page) add(c candidate) {
	p.total++
	if last := p.query.cursor.last(); last != nil && p.query.compare(&c.position, last) <= 0 || p.full() {
		return
	}
	if p.limit != nil && p.query.compare(&c.position, p.limit) > 0 {
		return
	}
	if !p.sorted && p.skip > 0 {
		p.skip--
		return
	}
	p.candidates = append(p.candidates, c)
	if enough := p.skip + p.wanted; len(p.candidates) >= 2*enough+1000 {
		p.sort()
		clear(p.candidates[enough:])
		p.candidates = p.candidates[:enough]
		last := p.candidates[enough-1].position
		p.limit = &last
	}
}

func (p *page) addAll(list []candidate) {
	for _, c := range list {
		p.add(c)
	}
}

func (p *page) sort() {
	slices.SortFunc(p.candidates, func(a, b candidate) int {
		return p.query.compare(&a.position, &b.position)
	})
}

// items returns the resources on the page.
func (p *page) items() []candidate {
	if p.sorted {
		p.sort()
		p.candidates = p.candidates[min(p.skip, len(p.candidates)):]
		p.skip = 0
	}
	return p.candidates[:min(len(p.candidates), p.query.count)]
}

// last returns the position of the last resource on the page; nil if no page follows.
func (p *page) last() *position {
	if len(p.candidates) <= p.query.count || p.query.count == 0 {
		return nil
	}
	return &p.candidates[p.query.count-1].position
}

// compare orders results by sort key, then type of resource, then ID, so that the order is total. Resources without the
// attribute come last, or first if the order is descending (RFC 7644 §3.4.2.3).
func (q *query) compare(a, b *position) int {
	order := a.Key.Compare(b.Key)
	if q.descending {
		order = -order
	}
	return cmp.Or(order, cmp.Compare(a.Index, b.Index), strings.Compare(a.ID, b.ID))
}
