package admin

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"sallyport/live"
)

// LiveEvery is how often those who watch live requests get a list.
const LiveEvery = 2 * time.Second

// How many live requests the replicas are asked for in one question, whose reply has a limit of its own, and in all questions
// of one turn, however many watch.
const (
	askedRows  = 1_000
	maxWatched = 4_000
)

// maxFilter bounds the text of a filter that is watched, in bytes, so that many of them fit into one question.
const maxFilter = 200

// ErrLongFilter means that a filter is too long to be watched.
var ErrLongFilter = fmt.Errorf("live requests can be watched by at most %d bytes of names and ids", maxFilter)

// watches are those who watch live requests. In each turn of [LiveEvery], the first of them who asks has all replicas asked for
// the lists of all of them.
type watches struct {
	mu   sync.Mutex // guards the fields below, and those of every watched
	turn int64
	rows int // that were asked for in this turn
	list map[live.Filter]*watched
}

// watched is a filter that somebody watches.
type watched struct {
	filter   live.Filter
	watchers int
	list     live.List
	known    bool          // there is a list
	turn     int64         // in which the list was last asked for; 0: never
	asking   chan struct{} // closed when what is asked for now is there; nil: nothing is asked for
}

// LiveWatch is one who watches live requests.
type LiveWatch struct {
	admin *Admin
	of    *watched
	close sync.Once
}

// WatchLive has somebody watch the live requests that f means. Whoever calls it must close the watch.
func (a *Admin) WatchLive(_ Actor, f live.Filter) (*LiveWatch, error) {
	if a.live.Lists == nil {
		return nil, ErrNoServer
	}
	if f = f.Bounded(); len(f.ID)+len(f.User)+len(f.Name)+len(f.Route)+len(f.Kind)+len(f.Sort) > maxFilter {
		return nil, ErrLongFilter
	}
	w := &a.watches
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.list == nil {
		w.list = map[live.Filter]*watched{}
	}
	if w.list[f] == nil {
		w.list[f] = &watched{filter: f}
	}
	w.list[f].watchers++
	return &LiveWatch{admin: a, of: w.list[f]}, nil
}

// Close ends the watch.
func (l *LiveWatch) Close() {
	l.close.Do(func() {
		w := &l.admin.watches
		w.mu.Lock()
		defer w.mu.Unlock()
		if l.of.watchers--; l.of.watchers == 0 {
			delete(w.list, l.of.filter)
		}
	})
}

// List returns the list of this turn. Everybody who watches the same gets the same, which must not be changed. While more is
// watched than may be asked for in a turn, it is that of an earlier turn; ok is false if there is none yet.
func (l *LiveWatch) List(ctx context.Context) (list live.List, ok bool, err error) {
	w := &l.admin.watches
	asked, asking := w.begin(l.of, time.Now().UnixNano()/int64(LiveEvery))
	if len(asked) > 0 {
		w.ask(ctx, l.admin.live, asked)
	}
	if asking != nil {
		select {
		case <-asking:
		case <-ctx.Done():
			return live.List{}, false, ctx.Err()
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return l.of.list, l.of.known, nil
}

// begin returns for which lists the caller must ask, and what is closed when that of one is there. Those come first that were
// asked for longest ago, as many as may be asked for in a turn.
func (w *watches) begin(one *watched, turn int64) (asked []*watched, asking <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	candidates := []*watched{one} // whoever comes later in a turn asks for their own
	if w.turn != turn {
		w.turn, w.rows, candidates = turn, 0, slices.Collect(maps.Values(w.list))
		slices.SortFunc(candidates, func(x, y *watched) int { return cmp.Or(cmp.Compare(x.turn, y.turn), cmp.Compare(x.rows(), y.rows())) })
	}
	done := make(chan struct{})
	for _, c := range candidates {
		if c.asking == nil && c.turn != turn && w.rows+c.rows() <= maxWatched {
			w.rows += c.rows()
			c.turn, c.asking, asked = turn, done, append(asked, c)
		}
	}
	return asked, one.asking
}

// rows returns for how many rows a replica is asked.
func (c *watched) rows() int { return c.filter.Whole().Limit }

// ask asks all replicas for lists: in each question for as many as fit into a reply.
func (w *watches) ask(ctx context.Context, requests LiveRequests, asked []*watched) {
	var lists []live.List
	defer func() { w.tell(asked, lists) }() // even if it panics: others wait for it
	ctx = context.WithoutCancel(ctx)        // which is of one of them
	var filters []live.Filter
	rows := 0
	for i, c := range asked {
		filters, rows = append(filters, c.filter), rows+c.rows()
		if last := i == len(asked)-1; last || rows+asked[i+1].rows() > askedRows {
			lists = append(lists, requests.Lists(ctx, filters)...)
			filters, rows = nil, 0
		}
	}
}

// tell gives lists to those who wait for them. Whatever has none keeps the list that it had.
func (w *watches) tell(asked []*watched, lists []live.List) {
	w.mu.Lock()
	defer w.mu.Unlock()
	done := asked[0].asking
	for i, c := range asked {
		if c.asking = nil; i < len(lists) {
			c.list, c.known = lists[i], true
		}
	}
	close(done)
}
