package admin

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"sallyport/audit"
	"sallyport/peers"
)

// Chain says what the last check of a replica's record found.
type Chain struct {
	Replica string        `json:"replica,omitempty"`
	At      time.Time     `json:"at,omitzero"` // when the check ended; zero: there was none yet
	Took    time.Duration `json:"took_ns,omitempty"`
	First   uint64        `json:"first,omitempty"` // the numbers of the first and the last line that were checked
	Last    uint64        `json:"last,omitempty"`
	Signed  uint64        `json:"signed,omitempty"`  // the last line that a checked signature covers
	Gaps    int           `json:"gaps,omitempty"`    // lines that are elsewhere
	Problem string        `json:"problem,omitempty"` // why the record is not sound, or could not be checked
	Unsound bool          `json:"unsound,omitempty"`
}

// chain is the result of the last check.
type chain struct {
	mu   sync.Mutex // guards last
	last Chain
}

// How long after the start and after one check the next begins.
const (
	firstCheck = 20 * time.Second
	nextCheck  = time.Hour
)

const askChain = "record/chain"

// RunRecordChecks checks the record of this process again and again, until ctx ends. A check takes as long as reading the record,
// and leaves most of the processors to requests.
func (a *Admin) RunRecordChecks(ctx context.Context) error {
	for wait := firstCheck; ; wait = nextCheck {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		a.CheckRecord(ctx)
	}
}

// CheckRecord checks the record of this process now, and remembers what was found.
func (a *Admin) CheckRecord(ctx context.Context) {
	if a.source.Verify == nil {
		return
	}
	began := time.Now()
	checked, err := a.source.Verify(ctx)
	if ctx.Err() != nil {
		return
	}
	found := Chain{Replica: a.directory.Replica(), At: time.Now().UTC(), Took: time.Since(began), First: checked.First, Last: checked.Last, Signed: checked.Signed, Gaps: len(checked.Gaps)}
	if err != nil {
		found.Problem, found.Unsound = shorten(err.Error()), errors.Is(err, audit.ErrBroken)
		a.log.Error("the audit record was checked in the background", "err", err)
	}
	a.chain.mu.Lock()
	defer a.chain.mu.Unlock()
	a.chain.last = found
}

func (a *Admin) ownChain(context.Context, struct{}) (any, error) {
	a.chain.mu.Lock()
	defer a.chain.mu.Unlock()
	last := a.chain.last
	last.Replica = a.directory.Replica()
	return last, nil
}

// Chains returns what the last check of each replica's record found.
func (a *Admin) Chains(ctx context.Context, _ Actor) (list []Chain, from Sources) {
	if a.peers == nil {
		own, _ := a.ownChain(ctx, struct{}{})
		return []Chain{own.(Chain)}, from //nolint:forcetypeassert,errcheck // that is what it returns
	}
	replies, missing := peers.Values[Chain](a.peers.Ask(ctx, askChain, struct{}{}))
	for _, m := range missing {
		from.Missing = append(from.Missing, Missing{m.Replica, m.Err})
	}
	for _, c := range replies {
		list = append(list, c)
	}
	slices.SortFunc(list, func(x, y Chain) int { return strings.Compare(x.Replica, y.Replica) })
	return list, from
}
