package admin

import (
	"context"
	"errors"
	"sync"
	"time"

	"sallyport/access"
)

// RecordQuery says which decisions of the record a question is about.
type RecordQuery struct {
	Since time.Time
	Files []string // of the records of other replicas
}

// RecordRead says which decisions a question about the record has read.
type RecordRead struct {
	Begins  time.Time `json:"begins,omitzero"`    // the first event of the record
	Replica string    `json:"replica,omitempty"`  // whose record was read, of several
	NotRead []string  `json:"not_read,omitempty"` // replicas whose records were not read
	Until   time.Time `json:"until,omitzero"`     // where reading ended before the end of the record, since it took too long
}

// Decisions reads the decisions in the record, the oldest first. It stops at the first error of add, and returns it.
type Decisions func(ctx context.Context, q RecordQuery, add func(access.Recorded) error) (RecordRead, error)

// errNoRecord means that the record cannot be read here.
var errNoRecord = errors.New("this process reads no record")

// Replayed is what other rules would have decided about recorded requests.
type Replayed struct {
	RecordRead

	Decisions int           `json:"decisions"`
	Flips     []access.Flip `json:"flips"`
	More      int           `json:"more,omitempty"` // decisions that flip, beside those in Flips
}

// Replay decides recorded requests again by rules. If ctx ends before the record does, Until says how far it came. limit is of
// how many kinds of flips are returned; 0: of all.
func (a *Admin) Replay(ctx context.Context, _ Actor, r Rules, q RecordQuery, limit int) (Replayed, error) {
	if a.rules == nil {
		return Replayed{}, errNoRules
	}
	again := access.Replay{New: r.Target, InForce: a.rules().Target, User: a.directory.ByID, Organization: a.directory, Limit: limit}
	read, err := a.readDecisions(ctx, q, again.Add)
	flips, decisions := again.Flips()
	return Replayed{read, decisions, flips, again.More()}, err
}

// UnusedRules are rules that decided no recorded request.
type UnusedRules struct {
	RecordRead

	Unused []access.Unused `json:"unused"`
}

// UnusedRules returns the rules in force that decided no recorded request, and the groups of which no member made one. If ctx
// ends before the record does, Until says how far it came.
func (a *Admin) UnusedRules(ctx context.Context, _ Actor, q RecordQuery) (UnusedRules, error) {
	if a.rules == nil {
		return UnusedRules{}, errNoRules
	}
	usage := access.Usage{User: a.directory.ByID}
	read, err := a.readDecisions(ctx, q, usage.Add)
	return UnusedRules{read, usage.Unused(a.rules().Routes)}, err
}

// RecentlyUnused returns the rules that decided no request of the last days: see [Admin.UnusedRules]. It is computed in the
// background, within two minutes, and remembered: see [Computed].
func (a *Admin) RecentlyUnused(ctx context.Context, actor Actor, days int) (UnusedRules, Computed) {
	return a.unused.of(days).get(ctx, a.facts(), func(ctx context.Context, _ facts) (UnusedRules, error) {
		a.unused.reading.Lock() // one at a time
		defer a.unused.reading.Unlock()
		ctx, stop := context.WithTimeout(ctx, trialReading)
		defer stop()
		return a.UnusedRules(ctx, actor, RecordQuery{Since: time.Now().AddDate(0, 0, -days)})
	})
}

// unused remembers which rules nobody used, for each number of days that is asked about.
type unused struct {
	reading sync.Mutex // held while the record is read
	mu      sync.Mutex // guards results
	results map[int]*remembered[UnusedRules]
}

func (u *unused) of(days int) *remembered[UnusedRules] {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.results == nil {
		u.results = map[int]*remembered[UnusedRules]{}
	}
	if u.results[days] == nil {
		u.results[days] = &remembered[UnusedRules]{reads: true, lasts: unusedLasts}
	}
	return u.results[days]
}

// unusedLasts is how long what was read from the record is true enough, although the directory changes.
const unusedLasts = 10 * time.Minute

// readDecisions reads until the record or ctx ends.
func (a *Admin) readDecisions(ctx context.Context, q RecordQuery, add func(access.Recorded)) (RecordRead, error) {
	if a.decisions == nil {
		return RecordRead{}, errNoRecord
	}
	var last time.Time
	ended := errors.New("it took too long")
	n := 0
	read, err := a.decisions(ctx, q, func(e access.Recorded) error {
		if n++; n%stepsBetween == 0 && ctx.Err() != nil {
			return ended
		}
		last = e.Time
		add(e)
		return nil
	})
	if errors.Is(err, ended) {
		read.Until, err = last, nil
	}
	return read, err
}

// stepsBetween is how much is done before a computation looks whether it shall end.
const stepsBetween = 256
