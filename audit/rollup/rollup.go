// Package rollup keeps figures of what the audit record says: how many requests were allowed and denied and why, when a
// person last used a route and which rules decide, in memory and bounded.
//
// It counts each event as it is written, and what was written before from the files of the record, in the background and the
// newest first: until [Figures.Begins], and no further, the figures are whole. Nothing is stored beside the record. What the
// record does not have, such as how long requests take, is sampled from metrics and begins with the process.
//
// # Bounds
//
// Times are kept in four resolutions: 5 seconds for an hour, a minute for a day, a quarter of an hour for 14 days and a day
// for 400 days; 3,921 slots in all. A slot of the first two has at most 512 combinations of route, decision and reason, one
// of the others 1,024, of 8 bytes each; what comes beyond counts for the route [Other]. That makes 24 MB at most, and 2 MB
// with 20 routes. Last uses are at most 250,000 (22 MB), of which those are forgotten that are long ago; rules at most
// 10,000 (2 MB); requests that were cut, the newest 2,000 (1 MB).
package rollup

import (
	"strings"
	"sync"
	"time"

	"sallyport/audit"
)

// Other stands for the routes and reasons beyond the bounds.
const Other = "_other"

// The bounds of a Rollup.
const (
	maxRoutes  = 4096
	maxReasons = 127
	maxUses    = 250_000
	maxRules   = 10_000
	maxCuts    = 2000
)

// clockSlack is how far an event may be ahead of our clock, before it counts as one of now.
const clockSlack = time.Hour

// Rollup counts events. Its methods may be called concurrently.
type Rollup struct {
	now func() time.Time

	mu       sync.Mutex // guards the fields below
	rings    []*ring    // from the finest to the coarsest
	routes   names
	reasons  names
	uses     uses
	rules    map[string]*RuleUse
	lastRule *RuleUse     // that was counted last; nil for none
	clock    int64        // the time when it was last looked at, in seconds
	cuts     []Revocation // the newest, in no order
	backups  []backup     // the newest, the oldest first
	begins   time.Time    // of what is counted
	after    uint64       // the last line that was written before the process counted
	rebuilds bool         // what was written before is being counted
	seconds  histogram    // of requests, at the last sample
	sampled  bool
}

// New returns a Rollup that has counted nothing.
func New() *Rollup {
	return &Rollup{now: time.Now, rings: newRings(), routes: newNames(maxRoutes), reasons: newNames(maxReasons), uses: newUses(),
		rules: map[string]*RuleUse{}, begins: time.Now().UTC()}
}

// event is what is counted of an event of the record.
type event struct {
	time            time.Time
	kind            audit.Kind
	route, reason   string
	rule, reported  string // the latter is that of a rule in report mode
	user, userName  string
	allow           bool
	received, actor string // of cuts and pushes
	failed          string // of backups: what failed
}

// Follow counts the events that log writes from now on. Call it before anything writes.
func (r *Rollup) Follow(log *audit.Log) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.after = log.Written(r.observe)
}

// observe counts an event that was written just now.
func (r *Rollup) observe(e audit.Event, _ uint64) {
	if !counts(e.Kind) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(&event{time: e.Time, kind: e.Kind, route: e.Route, reason: e.Reason, rule: e.Rule, reported: e.Detail["report_rule"], user: e.User, userName: e.UserName,
		allow: e.Decision == "allow", received: e.Detail["received"], failed: e.Detail["action"], actor: string(e.Actor.Kind)})
}

// counts reports whether events of a kind are counted.
func counts(kind audit.Kind) bool {
	return kind == audit.KindDecision || kind == audit.KindCut || kind == audit.KindSCIM || kind == audit.KindBackup
}

// add counts an event. mu is held.
func (r *Rollup) add(e *event) {
	at := e.time.Unix()
	if ahead := int64(clockSlack / time.Second); at > r.clock+ahead { // most events need no look at the clock
		now := r.now()
		if r.clock = now.Unix(); at > r.clock+ahead {
			e.time, at = now, r.clock
		}
	}
	switch e.kind {
	case audit.KindDecision:
		key := cellKey(r.routes.number(e.route), r.reasons.number(e.reason), e.allow)
		for _, ring := range r.rings {
			if s := ring.at(at); s != nil {
				s.count(key, ring.maxCells)
			}
		}
		r.noteRules(e, at)
		if user := e.caller(); e.allow && user != "" {
			r.uses.note(e.route, user, at)
		}
	case audit.KindCut:
		for _, ring := range r.rings {
			if s := ring.at(at); s != nil {
				s.cuts++
			}
		}
		r.noteCut(e)
	case audit.KindBackup:
		r.noteBackup(e)
	case audit.KindSCIM:
		if e.actor != string(audit.ActorToken) {
			return
		}
		for _, ring := range r.rings {
			if s := ring.at(at); s != nil {
				s.pushes++
			}
		}
	}
}

// caller returns the directory's id of whoever made a request, or the name of an application.
func (e *event) caller() string {
	if e.user != "" {
		return e.user
	}
	return e.userName
}

// noteRules counts the rules that decided, and would have. mu is held.
func (r *Rollup) noteRules(e *event, at int64) {
	if e.rule != "" {
		if use := r.rule(e.rule); use != nil {
			use.Hits++
			use.last(at)
		}
	}
	if e.reported != "" {
		if use := r.rule(e.reported); use != nil {
			use.Reported++
			use.last(at)
		}
	}
}

// rule returns the figures of a rule, or nil beyond the bound.
func (r *Rollup) rule(name string) *RuleUse {
	if r.lastRule != nil && r.lastRule.Rule == name {
		return r.lastRule
	}
	use, ok := r.rules[name]
	if !ok {
		if len(r.rules) >= maxRules {
			return nil
		}
		name = strings.Clone(name)
		use = &RuleUse{Rule: name}
		r.rules[name] = use
	}
	r.lastRule = use
	return use
}

// noteCut keeps a request that was cut, if it is among the newest. mu is held.
func (r *Rollup) noteCut(e *event) {
	cut := Revocation{Time: e.time.UTC(), User: strings.Clone(e.user), UserName: strings.Clone(e.userName), Route: strings.Clone(e.route), Reason: strings.Clone(e.reason)}
	if received, err := time.Parse(time.RFC3339Nano, e.received); err == nil {
		if took := e.time.Sub(received); took >= 0 {
			cut.Took = &took
		}
	}
	if len(r.cuts) < maxCuts {
		r.cuts = append(r.cuts, cut)
		return
	}
	oldest := 0
	for i, other := range r.cuts {
		if other.Time.Before(r.cuts[oldest].Time) {
			oldest = i
		}
	}
	if r.cuts[oldest].Time.Before(cut.Time) {
		r.cuts[oldest] = cut
	}
}

// names numbers names, up to a bound. The number 0 stands for those beyond it.
type names struct {
	max    int
	list   []string
	lookup map[string]uint32
	last   uint32 // the number that was returned last: most requests are like the one before
}

func newNames(most int) names {
	return names{max: most, list: []string{Other}, lookup: map[string]uint32{Other: 0}}
}

func (n *names) number(name string) uint32 {
	if n.list[n.last] == name {
		return n.last
	}
	number, ok := n.lookup[name]
	if !ok && len(n.list) <= n.max {
		number = uint32(len(n.list)) //nolint:gosec // bounded
		name = strings.Clone(name)
		n.list = append(n.list, name)
		n.lookup[name] = number
	}
	n.last = number
	return number
}
