package scim

import (
	"cmp"
	"slices"
	"strings"

	"sallyport/scim/internal/schema"
)

// candidate is a resource that matches.
type candidate struct {
	subquery *subquery
	id       string
	key      schema.SortKey
}

// position is a place in a list: behind the candidate that it describes.
type position struct {
	begun bool           // false: before the first
	Index int            `json:"p,omitempty"` // the candidate's part
	ID    string         `json:"i"`
	Key   schema.SortKey `json:"k,omitzero"`
}

// page collects the candidates to show.
type page struct {
	query      *query
	sorted     bool
	skip       int
	want       int // one more than is shown: is there a next page?
	total      int
	candidates []candidate
}

func newPage(q *query) *page {
	p := &page{query: q, sorted: q.subqueries[0].sortBy != nil, want: q.count + 1}
	if q.cursor == nil {
		p.skip = q.start - 1
	}
	return p
}

// full says that no later candidate can be shown; of a sorted list it never is.
func (p *page) full() bool { return !p.sorted && len(p.candidates) >= p.want }

// offer takes a candidate if it may be on the page.
func (p *page) add(c candidate) {
	p.total++
	at := p.query.cursor
	if at != nil && at.begun && p.query.compare(c.subquery.index, c.id, c.key, at.Index, at.ID, at.Key) <= 0 || p.full() {
		return
	}
	if !p.sorted && p.skip > 0 {
		p.skip--
		return
	}
	p.candidates = append(p.candidates, c)
	if enough := p.skip + p.want; len(p.candidates) >= 2*enough+1000 {
		p.sort()
		p.candidates = slices.Clip(p.candidates[:enough])
	}
}

func (p *page) sort() {
	slices.SortFunc(p.candidates, func(a, b candidate) int {
		return p.query.compare(a.subquery.index, a.id, a.key, b.subquery.index, b.id, b.key)
	})
}

// shown is the page.
func (p *page) items() []candidate {
	if p.sorted {
		p.sort()
		p.candidates = p.candidates[min(p.skip, len(p.candidates)):]
		p.skip = 0
	}
	return p.candidates[:min(len(p.candidates), p.query.count)]
}

// last is the position behind the page; nil where nothing follows.
func (p *page) last() *position {
	if len(p.candidates) <= p.query.count || p.query.count == 0 {
		return nil
	}
	c := p.candidates[p.query.count-1]
	return &position{Index: c.subquery.index, ID: c.id, Key: c.key}
}

// compare orders by key, then kind, then id, so that every order is total. What is
// unassigned comes last, and first when descending (RFC 7644 §3.4.2.3).
func (q *query) compare(place1 int, id1 string, key1 schema.SortKey, place2 int, id2 string, key2 schema.SortKey) int {
	order := key1.Compare(key2)
	if q.descending {
		order = -order
	}
	return cmp.Or(order, cmp.Compare(place1, place2), strings.Compare(id1, id2))
}
