package admin

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"sallyport/access"
)

const (
	soon       = 50 * time.Millisecond // how long who asks waits for what is computed
	mostTime   = 5 * time.Minute       // that a computation may take
	rulesEnd   = time.Minute           // after which rules with an end, and grants, may have ended
	restFactor = 10                    // a computation that takes long rests for this many times as long before the next
)

// Computed says of which time a result is that is computed in the background.
type Computed struct {
	At       time.Time `json:"at,omitzero"` // when the computation began; zero: there is no result yet
	Renewing bool      `json:"renewing"`    // something has changed since, and the next result is not there yet
	Err      string    `json:"error,omitempty"`
}

// Error returns why there is no result, or nil.
func (c Computed) Error() error {
	if c.Err == "" {
		return nil
	}
	return errors.New(c.Err)
}

// remembered keeps the result of a computation until something changes that it depends on. At most one computation runs at a
// time; whoever asks meanwhile gets the former result.
type remembered[V any] struct {
	reads bool          // computing is reading the record, which has a lock of its own
	lasts time.Duration // how long a result holds by the same rules, whatever else changes; 0: until something changes

	mu    sync.Mutex // guards the fields below
	value V
	state Computed
	of    facts
	took  time.Duration
	ended time.Time
	done  chan struct{} // closed when the computation under way ends; nil if there is none
}

// facts are what results depend on. They are taken before what they stand for is read.
type facts struct {
	directory, grants <-chan struct{}
	rules             Rules
	until             time.Time
	computing         *sync.Mutex // held while something is computed: all of it together takes one core
}

// facts returns what is in force now.
func (a *Admin) facts() facts {
	f := facts{directory: a.directory.Changed(), grants: a.grants.Changed(), until: time.Now().Add(rulesEnd), computing: &a.computing}
	if a.rules != nil {
		f.rules = a.rules()
	}
	return f
}

// hold reports whether the facts are still true by the rules that are in force now.
func (f facts) hold(now Rules) bool {
	select {
	case <-f.directory:
		return false
	case <-f.grants:
		return false
	default:
		return f.directory != nil && time.Now().Before(f.until) && f.rules.same(now)
	}
}

// same reports whether both are the same compiled rules, and not only alike.
func (r Rules) same(other Rules) bool {
	return slices.EqualFunc(r.Routes, other.Routes, func(a, b *access.Route) bool {
		return a.Policy == b.Policy && a.Name == b.Name && a.Host == b.Host && a.Path == b.Path
	})
}

// get returns the result of compute, or a former one if the result takes longer than [soon].
func (r *remembered[V]) get(ctx context.Context, now facts, compute func(context.Context, facts) (V, error)) (V, Computed) {
	r.mu.Lock()
	if !r.holds(now) && r.done == nil && (r.took < soon || time.Since(r.ended) > restFactor*r.took) {
		r.done = make(chan struct{})
		go r.compute(now, r.done, compute)
	}
	done := r.done
	r.mu.Unlock()
	if done != nil {
		wait := time.NewTimer(soon)
		defer wait.Stop()
		select {
		case <-done:
		case <-wait.C:
		case <-ctx.Done():
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	state := r.state
	state.Renewing = !r.holds(now)
	return r.value, state
}

// holds reports whether the result is that of now. The mutex is locked.
func (r *remembered[V]) holds(now facts) bool {
	return r.of.hold(now.rules) || time.Since(r.state.At) < r.lasts && r.of.rules.same(now.rules)
}

func (r *remembered[V]) compute(now facts, done chan struct{}, compute func(context.Context, facts) (V, error)) {
	value, began, err := r.alone(now, compute)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.took, r.ended, r.done, r.of = time.Since(began), time.Now(), nil, now
	r.state = Computed{At: began.UTC()}
	if r.value = value; err != nil {
		r.state.Err = err.Error()
	}
	close(done)
}

// alone calls compute while nothing else is computed.
func (r *remembered[V]) alone(now facts, compute func(context.Context, facts) (V, error)) (value V, began time.Time, err error) {
	if now.computing != nil && !r.reads {
		now.computing.Lock()
		defer now.computing.Unlock()
	}
	ctx, stop := context.WithTimeout(context.Background(), mostTime)
	defer stop()
	began = time.Now()
	value, err = compute(ctx, now)
	return value, began, err
}
