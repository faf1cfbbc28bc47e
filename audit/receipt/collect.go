package receipt

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/audit"
)

// offboarding is one time that a person was shut out, until access returned.
type offboarding struct {
	receipt  Receipt
	returned *Change
}

// collector follows the lines about one user, in their order.
type collector struct {
	person       Person
	whole        bool // no line about the user was left out
	active       bool
	suspended    bool
	known        bool // a line said that there is the user
	offboardings []*offboarding
	current      *offboarding // nil: the user has access
	recent       []audit.Found
	logins       map[string]login // by session
	gap          Gap              // the last one
}

type login struct {
	ref Ref
	at  time.Time
}

// The record is not in the order of what happened: lines of the directory are written after those of the cuts that it
// caused. So a few lines are looked at again when an offboarding begins.
const (
	recentTime  = 5 * time.Minute
	recentLines = 5000
	maxLogins   = 10_000
)

func newCollector(p Person, whole bool) *collector {
	return &collector{person: p, whole: whole, active: true, logins: map[string]login{}}
}

// add follows one line.
func (c *collector) add(l audit.Found) {
	if gap, ok := gapOf(l); ok {
		if c.gap = gap; c.current != nil {
			c.current.addGap(gap)
		}
		return
	}
	if !c.isAbout(&l.Event) {
		c.addNamesake(l)
		return
	}
	if change, ok := changeOf(l); ok && l.User == c.person.ID {
		c.known = true
		if l.UserName != "" {
			c.person.UserName = l.UserName
		}
		if id := l.Detail["external_id"]; id != "" {
			c.person.ExternalID = id
		}
		c.change(change)
		return
	}
	if l.Kind == audit.KindLogin && l.Decision == "allow" && l.Session != "" {
		if len(c.logins) >= maxLogins {
			clear(c.logins)
		}
		c.logins[l.Session] = login{refOf(l), l.Time}
	}
	c.remember(l)
	switch {
	case c.current != nil:
		c.current.add(l, c.logins, true)
	case len(c.offboardings) > 0:
		c.offboardings[len(c.offboardings)-1].addLate(l, c.logins)
	}
}

// isAbout reports whether an event is about the user, or about somebody whom the directory did not know, but who had the
// user's names.
func (c *collector) isAbout(e *audit.Event) bool {
	if e.User != "" {
		return e.User == c.person.ID
	}
	is := func(name, value string) bool { return name != "" && strings.EqualFold(name, value) }
	return is(c.person.UserName, e.UserName) || is(c.person.ExternalID, e.Detail["value"]) || is(c.person.UserName, e.Detail["value"])
}

// addNamesake notes that another user with the same userName was created after the user had left.
func (c *collector) addNamesake(l audit.Found) {
	change, ok := changeOf(l)
	if !ok || c.current == nil || change.What != Created || !strings.EqualFold(l.UserName, c.person.UserName) {
		return
	}
	change.User = l.User
	c.current.later(change)
}

// gapOf returns the gap that a line tells of.
func gapOf(l audit.Found) (g Gap, ok bool) {
	if l.Kind != audit.KindAudit || l.Reason != "recovered" && l.Reason != "unrecorded" {
		return g, false
	}
	g = Gap{Ended: l.Time, Ref: refOf(l)}
	g.Refused, _ = strconv.Atoi(l.Detail["refused"])
	g.Unrecorded, _ = strconv.Atoi(l.Detail["unrecorded"])
	return g, true
}

// gapTexts are what the lines that tell of gaps have in them.
var gapTexts = []audit.Text{{Key: "reason", Value: "recovered"}, {Key: "reason", Value: "unrecorded"}}

func (o *offboarding) addGap(g Gap) {
	if len(o.receipt.Gaps) < maxChanges {
		o.receipt.Gaps = append(o.receipt.Gaps, g)
	}
}

func refOf(l audit.Found) Ref { return Ref{l.Seq, l.Hash, l.Of} }

// changeOf returns the change of access that a line tells of, of anybody.
func changeOf(l audit.Found) (c Change, ok bool) {
	c = Change{Actor: l.Actor, Received: l.Time, Done: l.Time, Revision: l.Revision, Why: l.Detail["why"], Ref: refOf(l)}
	if at, ok := timeIn(l, "received"); ok {
		c.Received = at
	}
	if at, ok := timeIn(l, "held_since"); ok {
		c.Held = &at
	}
	switch {
	case l.User == "":
	case l.Kind == audit.KindSCIM && l.Reason == "delete":
		c.What = Deleted
	case l.Kind == audit.KindSCIM && l.Reason == "create":
		c.What = Created
	case l.Kind == audit.KindSCIM && (l.Detail["result"] == Deactivated || l.Detail["result"] == Activated):
		c.What = l.Detail["result"]
	case l.Kind == audit.KindSuspend && (l.Reason == Suspended || l.Reason == Unsuspended):
		c.What = l.Reason
	case l.Kind == audit.KindSuspend && l.Reason == "failed" && l.Detail["action"] == Unsuspended:
		c.What = Suspended // it goes on
	case l.Kind == audit.KindSuspend && l.Reason == "failed" && l.Detail["action"] == Suspended && !strings.Contains(l.Detail["error"], "is suspended, but"):
		c.What = Unsuspended // it did not begin; otherwise only their sessions are stored still
	}
	return c, c.What != ""
}

func timeIn(l audit.Found, key string) (time.Time, bool) {
	at, err := time.Parse(time.RFC3339Nano, l.Detail[key])
	return at.UTC(), err == nil
}

// change follows a change of the user's access.
func (c *collector) change(change Change) {
	before := c.active && !c.suspended
	switch change.What {
	case Deactivated, Deleted:
		c.active = false
	case Activated, Created:
		c.active = true
	case Suspended:
		c.suspended = true
	case Unsuspended:
		c.suspended = false
	}
	switch after := c.active && !c.suspended; {
	case before && !after:
		c.begin(change)
	case !before && after && c.current != nil:
		c.current.later(change)
		c.current.returned = &change
		c.current = nil
	case c.current != nil:
		c.current.later(change)
	}
}

// begin begins an offboarding, with the lines that are before its own in the record.
func (c *collector) begin(change Change) {
	c.current = &offboarding{receipt: Receipt{Version: Version, Offboarding: change}}
	c.offboardings = append(c.offboardings, c.current)
	if c.gap.Ended.After(change.Received) { // the line of the change was written after it
		c.current.addGap(c.gap)
	}
	for _, l := range c.recent {
		c.current.add(l, c.logins, false)
	}
	c.recent = nil
}

// remember keeps a line that may belong to a change whose own line is to come.
func (c *collector) remember(l audit.Found) {
	old := slices.IndexFunc(c.recent, func(r audit.Found) bool { return l.Time.Sub(r.Time) < recentTime })
	if old < 0 {
		old = len(c.recent)
	}
	if len(c.recent)-old >= recentLines {
		old++
	}
	l.Text = nil
	c.recent = append(c.recent[old:], l)
}

// unsettled is how long after a change requests may be decided by what was before it: until it is committed and in memory.
const unsettled = time.Second

// add adds a line to an offboarding, if it belongs there. behind says that it comes behind the line of the change.
func (o *offboarding) add(l audit.Found, logins map[string]login, behind bool) {
	change := &o.receipt.Offboarding
	// A line behind that of the change that tells of a time long before it was written after the clock was set back. Decisions
	// have the time at which their request came, and the revision by which they were made instead.
	setBack := func(since time.Time) bool { return behind && since.Sub(l.Time) > unsettled }
	arrived := !l.Time.Before(change.Received) || setBack(change.Received)
	if l.Of != change.Replica { // another clock
		arrived = l.Time.Sub(change.Received) > -unsettled
	}
	after := l.Time.After(change.Done) || l.Revision > 0 && change.Revision > 0 && l.Revision >= change.Revision || l.Kind == audit.KindLogin && setBack(change.Done)
	switch {
	case l.Kind == audit.KindCut && (arrived || change.Revision > 0 && changeIn(l) >= change.Revision):
		o.cut(l)
	case l.Kind == audit.KindEnforced && (change.Revision > 0 && l.Revision >= change.Revision || change.Revision == 0 && arrived):
		o.everywhere(l)
	case l.Kind == audit.KindEnd && l.Reason == "user" && arrived:
		o.session(l, logins)
	case !after || l.Kind != audit.KindDecision && l.Kind != audit.KindLogin:
	case l.Decision == "deny":
		o.receipt.Attempts.add(l)
	case l.Time.Sub(change.Done).Abs() > unsettled:
		o.receipt.Allowed.add(l)
	}
}

// changeIn returns the revision of the change that a line names; 0 if it names none.
func changeIn(l audit.Found) uint64 {
	revision, err := strconv.ParseUint(l.Detail["change"], 10, 64)
	if err != nil {
		return 0
	}
	return revision
}

// addLate adds what an offboarding ended to it after access returned: sessions are found to have ended a moment later.
func (o *offboarding) addLate(l audit.Found, logins map[string]login) {
	if l.Time.Sub(o.returned.Done) > time.Minute {
		return
	}
	began, ok := timeIn(l, "began")
	change := changeIn(l)
	switch {
	case l.Kind == audit.KindEnd && l.Reason == "user" && ok && began.Before(o.receipt.Offboarding.Done):
		o.session(l, logins)
	case l.Kind == audit.KindCut && change > 0 && change < o.returned.Revision:
		o.cut(l)
	}
}

func (o *offboarding) cut(l audit.Found) {
	r := &o.receipt
	c := Cut{Request: l.Request, Route: l.Route, Method: l.Method, Host: l.Host, Path: l.Path, Address: l.Address, Session: l.Session,
		Reason: l.Reason, Cut: l.Time, Ref: refOf(l)}
	c.Begun, _ = timeIn(l, "begun")
	c.Revision = changeIn(l)
	received, ok := timeIn(l, "received")
	if !ok { // an operator's suspension is no change that came in a request
		received = r.Offboarding.Received
	}
	c.Milliseconds = milliseconds(l.Time.Sub(received))
	r.Enforced.Cuts++
	if l.Time.After(r.Enforced.Last) {
		r.Enforced.Last = l.Time
	}
	if len(r.Cuts) < maxCuts {
		r.Cuts = append(r.Cuts, c)
	}
}

// milliseconds returns a duration in whole milliseconds, which is never less than it was.
func milliseconds(d time.Duration) int64 { return int64((d + time.Millisecond - 1) / time.Millisecond) }

func (o *offboarding) session(l audit.Found, logins map[string]login) {
	r := &o.receipt
	if l.Of != "" && slices.ContainsFunc(r.Sessions, func(s Session) bool { return s.ID == l.Session }) {
		return // another replica found that too
	}
	r.Enforced.Sessions++
	s := Session{ID: l.Session, Ended: l.Time, Ref: refOf(l)}
	s.Began, _ = timeIn(l, "began")
	s.Used, _ = timeIn(l, "used")
	if login, ok := logins[l.Session]; ok {
		s.Login = &login.ref
	}
	if len(r.Sessions) < maxSessions {
		r.Sessions = append(r.Sessions, s)
	}
}

// notKnown is the reason of a line that says that it was not known what replicas decide by.
const notKnown = "unknown"

// everywhere notes when every replica had the change: the first time at which that was known.
func (o *offboarding) everywhere(l audit.Found) {
	if known := o.receipt.Everywhere; known != nil && (known.Outcome != notKnown || l.Reason == notKnown) {
		return
	}
	e := &Everywhere{Outcome: l.Reason, At: l.Time, Fenced: l.Detail["fenced"], Text: l.Detail["text"], Ref: refOf(l)}
	e.Replicas, _ = strconv.Atoi(l.Detail["replicas"])
	e.Applied, _ = strconv.Atoi(l.Detail["applied"])
	e.Milliseconds, _ = strconv.ParseInt(l.Detail["milliseconds"], 10, 64)
	o.receipt.Everywhere = e
}

func (o *offboarding) later(c Change) {
	if len(o.receipt.Later) < maxChanges {
		o.receipt.Later = append(o.receipt.Later, c)
	}
}

func (a *Attempts) add(l audit.Found) {
	a.Count++
	if a.First.IsZero() || l.Time.Before(a.First) {
		a.First = l.Time
	}
	if l.Time.After(a.Last) {
		a.Last = l.Time
	}
	if len(a.Lines) < maxAttempts {
		a.Lines = append(a.Lines, Attempt{Time: l.Time, Kind: l.Kind, Route: l.Route, Reason: l.Reason, Address: l.Address, Request: l.Request, Ref: refOf(l)})
	}
	i := slices.IndexFunc(a.Kinds, func(k AttemptKind) bool { return k.Kind == l.Kind && k.Route == l.Route && k.Reason == l.Reason })
	if i < 0 {
		if len(a.Kinds) == maxKinds {
			return
		}
		i, a.Kinds = len(a.Kinds), append(a.Kinds, AttemptKind{Kind: l.Kind, Route: l.Route, Reason: l.Reason, First: l.Time})
	}
	k := &a.Kinds[i]
	k.Count++
	if l.Time.Before(k.First) {
		k.First = l.Time
	}
	if l.Time.After(k.Last) {
		k.Last = l.Time
	}
}
