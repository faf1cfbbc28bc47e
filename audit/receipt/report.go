package receipt

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"sallyport/audit"
)

// ReportSettings says what a report is about.
type ReportSettings struct {
	Since, Until time.Time
	Slow         time.Duration // an offboarding that took longer is an exception
	Grant        time.Duration // so is a grant for longer
}

// Report is what an auditor wants to know of a time.
type Report struct {
	Since        time.Time          `json:"since"`
	Until        time.Time          `json:"until"`
	Record       audit.Span         `json:"record"` // with several replicas, the numbers of the lines are in Replicas
	Lines        Signed             `json:"signed"`
	Replicas     []ReplicaRecord    `json:"replicas,omitzero"` // if there are several
	Offboardings int                `json:"offboardings"`
	Whats        map[string]int     `json:"by_change"` // deactivated, deleted, suspended
	Returned     int                `json:"returned"`  // of whom have access again
	Sessions     int                `json:"sessions_ended"`
	Cuts         int                `json:"requests_cut"`
	Revocation   Quantiles          `json:"time_to_revoke"`
	Kinds        map[string]int     `json:"exceptions_by_kind"`
	Exceptions   []Exception        `json:"exceptions"` // the first of each kind
	List         []OffboardingEntry `json:"list"`       // of the offboardings, the first
}

// Facts returns the numbers of a report, each with what it counts.
func (r *Report) Facts() (facts [][2]string) {
	add := func(name, format string, values ...any) {
		facts = append(facts, [2]string{name, fmt.Sprintf(format, values...)})
	}
	add("offboardings", "%d (%d deactivated, %d deleted, %d suspended)", r.Offboardings, r.Whats[Deactivated], r.Whats[Deleted], r.Whats[Suspended])
	if r.Offboardings == 0 {
		add("time to revoke", "none, since nobody was offboarded")
	} else {
		add("time to revoke", "p50 %d ms, p99 %d ms, at most %d ms", r.Revocation.P50, r.Revocation.P99, r.Revocation.Max)
	}
	add("sessions ended", "%d", r.Sessions)
	add("live requests cut", "%d", r.Cuts)
	add("have access again", "%d", r.Returned)
	for _, one := range r.Replicas {
		add("signed, "+one.Record.Replica, "up to line %d of %d, by %d checkpoints", one.Lines.To, one.Record.Last, one.Lines.Checkpoints)
	}
	if len(r.Replicas) == 0 {
		add("signed", "up to line %d of %d, by %d checkpoints", r.Lines.To, r.Record.Last, r.Lines.Checkpoints)
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Kinds)) {
		add("exceptions: "+kind, "%d", r.Kinds[kind])
	}
	return facts
}

// Signed says how far the record is signed.
type Signed struct {
	Checkpoints int    `json:"checkpoints"`
	To          uint64 `json:"to"`       // the last line that a checkpoint covers
	Unsigned    uint64 `json:"unsigned"` // lines after it
}

// ReplicaRecord is the record of one of several replicas.
type ReplicaRecord struct {
	Record audit.Span `json:"record"`
	Lines  Signed     `json:"signed"`
}

// Quantiles are milliseconds.
type Quantiles struct {
	P50 int64 `json:"p50_ms"`
	P99 int64 `json:"p99_ms"`
	Max int64 `json:"max_ms"`
}

// The kinds of exceptions.
const (
	ExceptionSlow       = "slow"
	ExceptionNoPush     = "cut_without_push"
	ExceptionHeld       = "held"
	ExceptionGap        = "gap"
	ExceptionBreakGlass = "break_glass"
	ExceptionGrant      = "long_grant"
	ExceptionUnsigned   = "unsigned"
	ExceptionStore      = "store"
	ExceptionReplicas   = "replicas"
)

// Exception is something that an auditor asks about.
type Exception struct {
	Kind     string    `json:"kind"`
	Time     time.Time `json:"time"`
	User     string    `json:"user,omitempty"`
	UserName string    `json:"user_name,omitempty"`
	Actor    string    `json:"actor,omitempty"`
	What     string    `json:"what"`
	Line     uint64    `json:"line,omitempty"`
	Replica  string    `json:"replica,omitempty"` // whose record has the line
}

// OffboardingEntry is one offboarding in a report.
type OffboardingEntry struct {
	Time         time.Time  `json:"time"`
	User         string     `json:"user"`
	UserName     string     `json:"user_name"`
	What         string     `json:"what"`
	Actor        string     `json:"actor"`
	Milliseconds int64      `json:"milliseconds"`
	Sessions     int        `json:"sessions"`
	Cuts         int        `json:"cuts"`
	Returned     *time.Time `json:"returned,omitzero"`
	Line         uint64     `json:"line"`
	Replica      string     `json:"replica,omitempty"` // whose record has the line
}

// How much of each kind a report lists. What is beyond is counted.
const (
	maxExceptions = 1000
	maxListed     = 10_000
	unsignedLines = 10_000 // a running server signs its lines at least as often
)

// reporter follows the lines of a report.
type reporter struct {
	settings ReportSettings
	report   Report
	spans    []audit.Span
	signed   map[string]Signed // by replica
	people   map[string]*collector
	held     map[string]audit.Found // the line that a deactivation of a user is held
}

// Make returns the report of a record over a time. It reads the whole record, since whoever was deactivated before is not
// offboarded by a deletion.
func Make(ctx context.Context, record *audit.Record, s ReportSettings) (Report, error) {
	spans, err := record.Spans()
	if err != nil {
		return Report{}, err
	}
	span := spans[0]
	if len(spans) > 1 {
		span = audit.Span{Begins: earliest(spans), Ends: slices.MaxFunc(spans, func(a, b audit.Span) int { return a.Ends.Compare(b.Ends) }).Ends}
	}
	p := &reporter{settings: s, spans: spans, signed: map[string]Signed{}, people: map[string]*collector{}, held: map[string]audit.Found{}, report: Report{Since: s.Since, Until: s.Until, Record: span,
		Whats: map[string]int{}, Kinds: map[string]int{}, Exceptions: []Exception{}, List: []OffboardingEntry{}}}
	kinds := []audit.Kind{audit.KindSCIM, audit.KindCut, audit.KindSuspend, audit.KindEnd, audit.KindAudit, audit.KindBreakGlass, audit.KindGrant, audit.KindStore, audit.KindEnforced}
	if err := record.Search(ctx, audit.Search{Kinds: kinds}, func(l audit.Found) error { p.add(l); return nil }); err != nil {
		return Report{}, err
	}
	p.finish()
	return p.report, nil
}

// earliest returns when the first of some records begins.
func earliest(spans []audit.Span) time.Time {
	return slices.MinFunc(spans, func(a, b audit.Span) int { return a.Begins.Compare(b.Begins) }).Begins
}

func (p *reporter) in(at time.Time) bool {
	return !at.Before(p.settings.Since) && !at.After(p.settings.Until)
}

func (p *reporter) add(l audit.Found) {
	l.Text = nil
	p.addSigned(l)
	if l.User != "" {
		c := p.people[l.User]
		if c == nil {
			c = newCollector(Person{ID: l.User, UserName: l.UserName}, true)
			p.people[l.User] = c
		}
		c.add(l)
	}
	p.addHeld(l)
	if p.in(l.Time) {
		p.addException(l)
	}
}

func (p *reporter) addSigned(l audit.Found) {
	if l.Kind == audit.KindAudit && l.Reason == "checkpoint" {
		s := p.signed[l.Of]
		s.Checkpoints++
		s.To, _ = strconv.ParseUint(l.Detail["number"], 10, 64)
		p.signed[l.Of] = s
	}
}

// addHeld follows deactivations that are held.
func (p *reporter) addHeld(l audit.Found) {
	if l.Kind != audit.KindSCIM || l.User == "" {
		return
	}
	switch change, _ := changeOf(l); {
	case l.Reason == "held":
		p.held[l.User] = l
	case l.Reason == "release" || l.Reason == "reject":
		since, ok := timeIn(l, "held_since")
		if !ok {
			since = l.Time
		}
		if p.in(l.Time) {
			word := map[string]string{"release": "released", "reject": "rejected"}[l.Reason]
			p.except(ExceptionHeld, l, fmt.Sprintf("a deactivation was held for %s, and %s", l.Time.Sub(since).Round(time.Second), word))
		}
		delete(p.held, l.User)
	case change.What != "" || l.Reason != "create":
		if held, ok := p.held[l.User]; ok && p.in(held.Time) {
			p.except(ExceptionHeld, held, fmt.Sprintf("a deactivation was held for %s, until the identity provider changed the user again", l.Time.Sub(held.Time).Round(time.Second)))
		}
		delete(p.held, l.User)
	}
}

// unexplained are the reasons of cuts that a change of the directory explains.
var unexplained = map[string]bool{"inactive_user": true, "unknown_user": true, "no_rule": true, "rule_deny": true}

func (p *reporter) addException(l audit.Found) {
	switch l.Kind {
	case audit.KindCut:
		if unexplained[l.Reason] && l.Detail["change"] == "" {
			p.except(ExceptionNoPush, l, fmt.Sprintf("a request to %s was cut (%s), and no push caused it: the rules were changed, or depend on the time", cmp.Or(l.Route, "no route"), l.Reason))
		}
	case audit.KindBreakGlass:
		p.except(ExceptionBreakGlass, l, map[string]string{"armed": "a break-glass code was made", "used": "a break-glass code began a session", "disarmed": "a break-glass code was made invalid",
			"failed": "a break-glass code was wrong, or an action on one failed"}[l.Reason]+whyText(l))
	case audit.KindGrant:
		if until, ok := timeIn(l, "until"); ok && l.Reason == "began" && until.Sub(l.Time) > p.settings.Grant {
			p.except(ExceptionGrant, l, fmt.Sprintf("access by the policy %s was granted for %s%s", l.Detail["policy"], until.Sub(l.Time).Round(time.Minute), whyText(l)))
		}
	case audit.KindStore:
		p.except(ExceptionStore, l, "an older store was put in place ("+l.Reason+")")
	case audit.KindEnforced:
		if l.Reason == notKnown {
			p.except(ExceptionReplicas, l, "it was not known whether every replica decides by a change: "+l.Detail["text"])
		}
	case audit.KindAudit:
		p.addGap(l)
	}
}

func whyText(l audit.Found) string {
	if l.Detail["why"] == "" {
		return ""
	}
	return ": " + l.Detail["why"]
}

// addGap tells of lines that are not in the record.
func (p *reporter) addGap(l audit.Found) {
	switch l.Reason {
	case "recovered", "unrecorded":
		g, _ := gapOf(l)
		p.except(ExceptionGap, l, fmt.Sprintf("the record could not be written: %d events were refused with what they tell of, and %d requests and sign-ins were let in without a line", g.Refused, g.Unrecorded))
	case "begun":
		p.except(ExceptionGap, l, "the file before was not where it was left: up to line "+l.Detail["former_lines"]+" the lines are elsewhere, if anywhere")
	case "sink_lost":
		d := l.Detail
		p.except(ExceptionGap, l, fmt.Sprintf("the sink %s never gets %s lines of %s to %s: %s", d["sink"], cmp.Or(d["lines"], "the"), d["first"], d["last"], d["why"]))
	}
}

func (p *reporter) except(kind string, l audit.Found, what string) {
	p.exceptAt(kind, Exception{Time: l.Time, User: l.User, UserName: l.UserName, Actor: actorName(l.Actor), What: what, Line: l.Seq, Replica: l.Of})
}

func (p *reporter) exceptAt(kind string, e Exception) {
	e.Kind = kind
	if p.report.Kinds[kind]++; p.report.Kinds[kind] <= maxExceptions {
		p.report.Exceptions = append(p.report.Exceptions, e)
	}
}

func actorName(a audit.Actor) string {
	if a == (audit.Actor{}) {
		return ""
	}
	return string(a.Kind) + " " + a.Name
}

// finish adds what only the whole record tells.
func (p *reporter) finish() {
	r, took := &p.report, []int64{}
	for _, id := range slices.Sorted(maps.Keys(p.people)) {
		for _, o := range p.people[id].offboardings {
			if p.in(o.receipt.Offboarding.Done) {
				took = append(took, p.addOffboarding(o, p.people[id].person))
			}
		}
	}
	slices.Sort(took)
	r.Revocation = Quantiles{quantile(took, 50), quantile(took, 99), quantile(took, 100)}
	slices.SortFunc(r.List, func(a, b OffboardingEntry) int { return a.Time.Compare(b.Time) })
	r.List = r.List[:min(len(r.List), maxListed)]
	for _, l := range p.held {
		if p.in(l.Time) {
			p.except(ExceptionHeld, l, fmt.Sprintf("a deactivation is held since %s, and nobody decided", l.Time.UTC().Format(time.RFC3339)))
		}
	}
	for _, span := range p.spans {
		p.finishSigned(span)
	}
	slices.SortStableFunc(r.Exceptions, func(a, b Exception) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Line, b.Line)) })
}

// finishSigned says how far one record is signed.
func (p *reporter) finishSigned(span audit.Span) {
	r, s := &p.report, p.signed[span.Replica]
	s.Unsigned = span.Last - min(span.Last, s.To+1) // the checkpoint has a line itself
	if s.Checkpoints == 0 || s.Unsigned > unsignedLines {
		p.exceptAt(ExceptionUnsigned, Exception{Time: span.Ends, What: fmt.Sprintf("%d lines at the end of the record are not signed", s.Unsigned), Line: s.To + 1, Replica: span.Replica})
	}
	if len(p.spans) == 1 {
		r.Lines = s
		return
	}
	r.Lines.Checkpoints, r.Lines.Unsigned = r.Lines.Checkpoints+s.Checkpoints, r.Lines.Unsigned+s.Unsigned
	r.Replicas = append(r.Replicas, ReplicaRecord{span, s})
}

// addOffboarding adds one, and returns how long it took.
func (p *reporter) addOffboarding(o *offboarding, person Person) int64 {
	made, r := o.finish(person, p.report.Record), &p.report
	r.Offboardings++
	r.Whats[made.Offboarding.What]++
	r.Sessions += made.Enforced.Sessions
	r.Cuts += made.Enforced.Cuts
	if made.Still.Since != nil {
		r.Returned++
	}
	took := made.Enforced.Milliseconds
	change := made.Offboarding
	r.List = append(r.List, OffboardingEntry{Time: change.Done, User: person.ID, UserName: person.UserName, What: change.What, Actor: actorName(change.Actor), Milliseconds: took,
		Sessions: made.Enforced.Sessions, Cuts: made.Enforced.Cuts, Returned: made.Still.Since, Line: change.Line, Replica: change.Replica})
	if slow := p.settings.Slow; slow > 0 && time.Duration(took)*time.Millisecond > slow {
		p.exceptAt(ExceptionSlow, Exception{Time: change.Done, User: person.ID, UserName: person.UserName, Actor: actorName(change.Actor), Line: change.Line, Replica: change.Replica,
			What: fmt.Sprintf("%d ms passed from the push to the end of the last request", took)})
	}
	return took
}

// quantile returns the smallest value that so many percent of the sorted values do not exceed; 0 if there are none.
func quantile(sorted []int64, percent int) int64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[max(0, (len(sorted)*percent+99)/100-1)]
}
