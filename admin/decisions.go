package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"sallyport/access"
	"sallyport/audit"
	"sallyport/peers"
)

// DecisionFilter says which decisions of the record are looked for. Its zero value selects all.
type DecisionFilter struct {
	Person   string    `json:"person,omitempty"` // a name as in [Admin.Suspend], or one that the record has; of an application, app: and its client ID
	Route    string    `json:"route,omitempty"`
	Reason   string    `json:"reason,omitempty"`
	Decision string    `json:"decision,omitempty"` // allow or deny
	Since    time.Time `json:"since,omitzero"`
	Until    time.Time `json:"until,omitzero"`
	Before   string    `json:"before,omitempty"` // where the decisions go on that Decisions.Next says

	IDs []string `json:"ids,omitempty"` // whom Person means; for [Admin.Follow]
}

// Decided is a decision in the record of a replica.
type Decided = RecordLine

// DecidedList are decisions, the newest first.
type DecidedList struct {
	Decisions []Decided `json:"decisions"`
	Next      string    `json:"next,omitempty"`   // the filter's Before for older ones; "" if there are none
	Reached   time.Time `json:"reached,omitzero"` // what is older was not looked at, since that would take too long; Next goes on there
	Sources
}

// How long one step of a search may take: the first, after which a page is shown, and those that somebody waits for.
const (
	firstStep = 120 * time.Millisecond
	nextStep  = 700 * time.Millisecond
)

const askRequest = "decisions/request"

// requestQuestion asks a replica for what its record has of one request.
type requestQuestion struct {
	Request string            `json:"request"`
	Before  map[string]uint64 `json:"before,omitempty"` // by replica; 1 means that nothing older is there
	Seen    map[string]uint64 `json:"seen,omitempty"`   // by replica, a line that an earlier step found
	For     time.Duration     `json:"for"`
}

// requestReply is what one replica found, the newest first.
type requestReply struct {
	Lines   []audit.Line  `json:"lines"`
	Reached audit.Reached `json:"reached"`
}

// handleRequests has this process reply to questions about one request.
func (a *Admin) handleRequests() {
	if a.peers == nil || a.records.source.Open == nil {
		return
	}
	handle(a.peers, askRequest, a.findRequest)
}

// SearchDecisions returns at most n decisions that a filter selects, of the records of all replicas. It is bounded in time:
// Reached and Next tell where it goes on.
func (a *Admin) SearchDecisions(ctx context.Context, actor Actor, f DecisionFilter, n int) (found DecidedList, err error) {
	lines, err := a.SearchRecord(ctx, actor, RecordFilter{Kinds: []audit.Kind{audit.KindDecision}, Person: f.Person, Route: f.Route, Reason: f.Reason,
		Decision: f.Decision, Since: f.Since, Until: f.Until, Before: f.Before}, n)
	return DecidedList{lines.Lines, lines.Next, lines.CutOff, lines.Sources}, err
}

// goesOn returns before which line the search goes on; 1 if nothing older is there.
func (r requestReply) goesOn() uint64 {
	if r.Reached.Done {
		return 1
	}
	return max(r.Reached.Line, 1)
}

// askRequests asks every replica, or this process if no server runs.
func (a *Admin) askRequests(ctx context.Context, ask requestQuestion) (map[string]requestReply, Sources, error) {
	var from Sources
	if a.records.source.Open == nil {
		return nil, from, errNoRecord
	}
	if a.peers == nil {
		reply, err := a.findRequest(ctx, ask)
		if err != nil {
			return nil, from, err
		}
		return map[string]requestReply{"": reply.(requestReply)}, from, nil //nolint:errcheck,forcetypeassert // it returns one
	}
	replies, missing := peers.Values[requestReply](a.peers.Ask(ctx, askRequest, ask))
	for _, m := range missing {
		from.Missing = append(from.Missing, Missing{m.Replica, m.Err})
	}
	if len(replies) == 0 && len(missing) > 0 {
		return nil, from, errors.New(missing[0].Err)
	}
	return replies, from, nil
}

// findRequest looks for what the record of this process has of one request, back to its decision.
func (a *Admin) findRequest(ctx context.Context, ask requestQuestion) (any, error) {
	s := audit.Search{Texts: []audit.Text{{Key: "request", Value: ask.Request}}}
	return a.searchBack(ctx, ask, s, time.Time{}, func(reply *requestReply, l audit.Found) bool {
		if l.Request == ask.Request && len(reply.Lines) < maxNames {
			reply.Lines = append(reply.Lines, l.Line)
		}
		return l.Request != ask.Request || l.Kind != audit.KindDecision
	})
}

// addSeen adds a line of a request that an earlier step found, if the record has it.
func (r *requestReply) addSeen(record *audit.Record, number uint64, request string) error {
	text, err := record.Line(number)
	if errors.Is(err, audit.ErrNoLine) {
		return nil
	}
	if err != nil {
		return err
	}
	line, err := audit.CheckLine(text)
	if err == nil && line.Request == request {
		r.Lines = append(r.Lines, line)
	}
	return err
}

func (a *Admin) searchBack(ctx context.Context, ask requestQuestion, s audit.Search, until time.Time, f func(*requestReply, audit.Found) bool) (any, error) {
	reply := requestReply{Lines: []audit.Line{}}
	name := a.directory.Replica()
	if ask.Before[name] == 1 {
		reply.Reached.Done = true
		return reply, nil
	}
	record, err := a.records.source.Open()
	if err != nil {
		return nil, err
	}
	defer record.Close()
	if number := ask.Seen[name]; number > 0 {
		if err := reply.addSeen(record, number, ask.Request); err != nil {
			return nil, err
		}
	}
	ctx, stop := context.WithTimeout(ctx, min(max(ask.For, 0), nextStep))
	defer stop()
	reply.Reached, err = record.SearchBack(ctx, s, ask.Before[name], until, func(l audit.Found) bool { return f(&reply, l) })
	return reply, err
}

// Selects reports whether an event is a decision that is looked for.
func (f *DecisionFilter) Selects(e *audit.Event) bool {
	return e.Kind == audit.KindDecision && (f.Route == "" || f.Route == e.Route) && (f.Reason == "" || f.Reason == e.Reason) && (f.Decision == "" || f.Decision == e.Decision) &&
		(f.Person == "" || f.Person == e.User || slices.Contains(f.IDs, e.User) && e.User != "" || strings.EqualFold(f.Person, e.UserName)) &&
		!e.Time.Before(f.Since) && (f.Until.IsZero() || !e.Time.After(f.Until))
}

// IsRequestNumber reports whether a text is the number of a request, as a denied page shows it.
func IsRequestNumber(text string) bool { return requestNumber().MatchString(text) }

// RequestStory is what the record has of one request.
type RequestStory struct {
	Events   []Decided `json:"events"`             // the oldest first
	Decision *Decided  `json:"decision,omitempty"` // nil: not found so far
	Cut      *Decided  `json:"cut,omitempty"`      // nil: it was not cut, or that was not found
	Next     string    `json:"next,omitempty"`     // where the search for the decision goes on; "" if there is nothing older
	Seen     string    `json:"seen,omitempty"`     // beside Next: what was found already
	Reached  time.Time `json:"reached,omitzero"`   // what is older was not looked at
	Sources
}

// FindRequest looks for what the records of all replicas have of a request, from the newest line back to its decision. It is
// bounded in time: with Next and Seen of the story, another call goes on.
func (a *Admin) FindRequest(ctx context.Context, _ Actor, id, before, seen string) (story RequestStory, err error) {
	story.Events = []Decided{}
	if !IsRequestNumber(id) {
		return story, fmt.Errorf("%q is no number of a request: those have 32 characters of 0-9 and a-f", id)
	}
	ask := requestQuestion{Request: id, For: firstStep}
	if before != "" {
		ask.For = nextStep
	}
	if ask.Before, err = parseCursor(before); err != nil {
		return story, err
	}
	if ask.Seen, err = parseCursor(seen); err != nil {
		return story, err
	}
	replies, from, err := a.askRequests(ctx, ask)
	if err != nil {
		return story, err
	}
	story.Sources = from
	next, found := ask.Before, map[string]uint64{}
	for name, reply := range replies {
		for _, l := range reply.Lines {
			story.add(Decided{l, name})
			found[name] = l.Seq
		}
		if next[name] = reply.goesOn(); next[name] > 1 && reply.Reached.Time.After(story.Reached) {
			story.Reached = reply.Reached.Time
		}
	}
	story.sort()
	if story.Decision != nil {
		story.Reached = time.Time{}
		return story, nil
	}
	if story.Next = formatCursor(next); story.Next != "" {
		story.Seen = formatCursor(found)
	}
	return story, nil
}

// sort puts the events in their order.
func (s *RequestStory) sort() {
	slices.SortStableFunc(s.Events, func(x, y Decided) int { return cmp.Compare(x.Seq, y.Seq) })
}

func (s *RequestStory) add(d Decided) {
	s.Events = append(s.Events, d)
	switch d.Kind {
	case audit.KindDecision:
		s.Decision = &d
	case audit.KindCut:
		s.Cut = &d
	}
}

// Then is what is known of a decision's grounds, at the time of the decision.
type Then struct {
	Explanation *access.Explanation `json:"explanation,omitempty"` // by the directory and the grants of then, and the rules of now
	Revision    uint64              `json:"revision,omitempty"`    // that the directory had
	Problem     string              `json:"problem,omitempty"`     // why there is no explanation
	Loads       []Decided           `json:"loads"`                 // what the record tells of the configuration since, the newest first
	LoadsKnown  bool                `json:"loads_known"`           // these are all: the record was searched back to the decision
}

// AsDecided explains a recorded decision by the directory as it was. The rules are those in force, since the record does not have
// those of then: Loads says whether they may have changed.
func (a *Admin) AsDecided(ctx context.Context, _ Actor, d Decided) (then Then) {
	then.Loads = []Decided{}
	if record, err := a.openRecordOf(d.Of); err == nil {
		s := audit.Search{Texts: []audit.Text{{Key: "kind", Value: string(audit.KindConfig)}, {Key: "kind", Value: string(audit.KindStart)}}, Since: d.Time}
		limited, stop := context.WithTimeout(ctx, firstStep)
		reached, err := record.SearchBack(limited, s, 0, time.Time{}, func(l audit.Found) bool {
			if l.Seq > d.Seq && (l.Kind == audit.KindStart || l.Kind == audit.KindConfig && l.Reason == "reloaded") {
				then.Loads = append(then.Loads, Decided{l.Line, d.Of})
			}
			return len(then.Loads) < maxNames && l.Seq > d.Seq
		})
		stop()
		then.LoadsKnown = err == nil && (reached.Done || reached.Line <= d.Seq) && len(then.Loads) < maxNames
		_ = record.Close()
	}
	explained, err := a.explanations.get(ctx, pastDecision{d.Of, d.Seq}, func(ctx context.Context) (e explainedAt, err error) {
		end, err := a.explaining.begin()
		if err != nil {
			return e, err
		}
		defer end()
		ctx, stop := context.WithTimeout(ctx, explainFor)
		defer stop()
		e.Explanation, e.revision, err = a.explainAt(ctx, d.Event)
		return e, err
	})
	if err != nil {
		then.Problem = err.Error()
		return then
	}
	then.Explanation, then.Revision = &explained.Explanation, explained.revision
	return then
}

// pastDecision is a decision in the record of a replica.
type pastDecision struct {
	replica string
	line    uint64
}

// explainedAt is a decision, explained by the directory with a revision.
type explainedAt struct {
	access.Explanation

	revision uint64
}

const (
	maxExplaining = 4               // decisions that wait to be explained, or are: each reads the directory as it was
	explainFor    = 2 * time.Minute // one of them
)

// errExplaining means that too many decisions are being explained.
var errExplaining = errors.New("other decisions are being explained; ask again in a moment")

// explaining bounds how many decisions are explained by the directory of then. Its zero value is ready.
type explaining struct{ count atomic.Int32 }

// begin lets one more decision be explained, or returns errExplaining. end must be called when it is.
func (e *explaining) begin() (end func(), err error) {
	if e.count.Add(1) > maxExplaining {
		e.count.Add(-1)
		return nil, errExplaining
	}
	return func() { e.count.Add(-1) }, nil
}

// openRecordOf opens the record of this process, if it is that of a replica.
func (a *Admin) openRecordOf(replica string) (*audit.Record, error) {
	if a.records.source.Open == nil || replica != a.directory.Replica() {
		return nil, errNoRecord
	}
	return a.records.source.Open()
}

// explainAt decides a recorded request again, by the directory and the grants of its time and the rules in force. The sign-in is
// taken to have been good enough, unless it was why the request was denied: the record does not have it.
func (a *Admin) explainAt(ctx context.Context, e audit.Event) (x access.Explanation, revision uint64, err error) {
	if a.rules == nil || a.rules().Target == nil {
		return x, 0, ErrNoServer
	}
	target, err := a.rules().Target(cmp.Or(e.Method, http.MethodGet), "https://"+e.Host+e.Path)
	if err != nil {
		return x, 0, err
	}
	past, err := a.directory.At(ctx, e.Time)
	if err != nil {
		return x, 0, err
	}
	grants, err := a.grants.At(ctx, e.Time)
	if err != nil {
		return x, 0, err
	}
	in := access.Circumstances{Time: e.Time, Address: e.Address, Organization: past, Grants: grants, Past: true}
	if e.Detail["session"] != audit.BreakGlass && !strings.HasPrefix(e.Reason, "login_too_") {
		in.Login = e.Time
	}
	caller := access.Caller{}
	if app, ok := strings.CutPrefix(e.UserName, appPrefix); ok && e.User == "" {
		caller.App = app
	} else if e.User != "" {
		if caller.User, err = FindPastUser(past, e.User); err != nil {
			return x, 0, err
		}
	}
	return access.Explain(target, caller, in), past.Revision, nil
}

// Size returns how many users there are.
func (a *Admin) Size() int {
	active, inactive := a.directory.Count()
	return active + inactive
}
