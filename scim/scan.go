package scim

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"sallyport/directory"
	"sallyport/scim/internal/schema"
)

// Bounds of the queries that no index serves: each looks at every resource of a type.
const (
	maxScans     = 2                // under way at once
	maxScanQueue = 64               // that wait
	maxScanWait  = 20 * time.Second // of each

	maxScanProcessors = 4 // of one query
)

// scans are the queries under way that no index serves.
type scans struct {
	running chan struct{} // has a value for each
	queued  chan struct{} // has a value for each that waits or is under way
}

func newScans() *scans {
	return &scans{make(chan struct{}, maxScans), make(chan struct{}, maxScanQueue+maxScans)}
}

// begin returns once a query may begin, and what ends it.
func (s *scans) begin(ctx context.Context) (end func(), err error) {
	busy := fail(http.StatusServiceUnavailable, "", "Too many queries that no index serves came at once. Send the request again, or ask by id, userName, externalId, e-mail address or displayName.")
	select {
	case s.queued <- struct{}{}:
	default:
		return nil, busy
	}
	timer := time.NewTimer(maxScanWait)
	defer timer.Stop()
	select {
	case s.running <- struct{}{}:
		return func() { <-s.running; <-s.queued }, nil
	case <-timer.C:
		err = busy
	case <-ctx.Done():
		err = ctx.Err()
	}
	<-s.queued
	return nil, err
}

// scans reports whether a query looks at every resource of a type.
func (q *query) scans() bool {
	for i := range q.subqueries {
		if q.subqueries[i].scans() {
			return true
		}
	}
	return false
}

func (p *subquery) scans() bool {
	if p.filter == nil {
		return p.sortBy != nil
	}
	_, ok := p.lookups()
	return !ok
}

// memory is the resources that a query looks at. All are as they are at one time.
type memory struct {
	users  []*directory.User
	groups []*directory.Group
}

// readMemory returns what a query looks at, from memory; nil if it has to be read from the store.
func (q *query) readMemory(ctx context.Context) *memory {
	m := &memory{}
	for i := range q.subqueries {
		p := &q.subqueries[i]
		var err error
		switch {
		case !p.scans():
		case p.resourceType == q.request.types.User:
			m.users, err = q.request.directory.CurrentUsers(ctx)
		default:
			m.groups, err = q.request.directory.CurrentGroups(ctx)
		}
		if err != nil {
			return nil
		}
	}
	return m
}

// errMemory means that memory does not have a resource as the store has it.
var errMemory = errors.New("a record cannot be read from memory")

// collectCurrentUsers collects the users in memory that match. It looks at them on several processors, each at some at a time.
func (q *query) collectCurrentUsers(p *subquery, page *page) error {
	var taken atomic.Int64 // of the batches
	var adding sync.Mutex
	looking, ctx := errgroup.WithContext(q.request.Context())
	for range min(runtime.GOMAXPROCS(0), maxScanProcessors) {
		looking.Go(func() error {
			stored := &storedUser{request: q.request}
			var matches []candidate
			for ctx.Err() == nil {
				batch := batchOf(q.memory.users, int(taken.Add(1))-1)
				if len(batch) == 0 {
					return nil
				}
				var err error
				if matches, err = p.matchesAmong(batch, stored, matches[:0]); err != nil {
					return err
				}
				adding.Lock()
				page.addAll(matches)
				adding.Unlock()
			}
			return ctx.Err()
		})
	}
	return looking.Wait()
}

// batchOf returns the users of batch number n; none after the last.
func batchOf(users []*directory.User, n int) []*directory.User {
	first := min(n*readAhead, len(users))
	return users[first:min(first+readAhead, len(users))]
}

// matchesAmong appends the candidates of those users of a batch that match to matches. It reads them by stored.
func (p *subquery) matchesAmong(batch []*directory.User, stored *storedUser, matches []candidate) ([]candidate, error) {
	if slices.ContainsFunc(batch, unreadable) {
		return nil, errMemory
	}
	subject := &schema.Subject{Stored: stored}
	for _, u := range batch {
		stored.user = u
		ok, err := p.matches(subject)
		if err != nil {
			return nil, err
		}
		if ok {
			c := newCandidate(p, u.ID, p.sortBy.SortKey(subject))
			c.user = u
			matches = append(matches, c)
		}
	}
	return matches, nil
}

// readAhead is how many users are looked at before their filter is evaluated: the processor then fetches their records at the
// same time, which are all over memory. One after the other, they take longer to fetch than the filter to evaluate.
const readAhead = 64

// unreadable reports whether a user may not be in memory as the store has them. It looks at all parts of what filters mostly
// compare, see [readAhead].
func unreadable(u *directory.User) bool {
	return u.Damaged || u.UserName == "" || u.UserName[0] == 0 || !isObject(u.Document)
}

// isObject reports false if a document is not a JSON object. There may be no document.
func isObject(document []byte) bool {
	n := len(document)
	return n == 0 || document[0] == '{' && document[n/2] != 0 && document[n-1] == '}'
}

// collectCurrentGroups collects the groups in memory that match.
func (q *query) collectCurrentGroups(tx *directory.Tx, p *subquery, page *page) error {
	for _, g := range q.memory.groups {
		if err := q.request.Context().Err(); err != nil {
			return err
		}
		stored := &storedGroup{request: q.request, tx: tx, group: g}
		subject := q.subjectOfGroup(tx, g.ID)
		subject.Stored = stored
		ok, err := p.matches(subject)
		if err != nil {
			return err
		}
		key := p.sortBy.SortKey(subject)
		if stored.err != nil {
			return stored.err
		}
		if ok {
			page.add(newCandidate(p, g.ID, key))
		}
	}
	return nil
}
