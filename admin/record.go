package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/audit"
	"sallyport/peers"
)

// RecordFilter says which lines of the record are looked for. Its zero value selects all.
type RecordFilter struct {
	Kinds  []audit.Kind `json:"kinds,omitempty"` // any of these
	Reason string       `json:"reason,omitempty"`
	Person string       `json:"person,omitempty"` // whom it is about, or who did it: a name as in [Admin.Suspend], or one that the record has
	Actor  string       `json:"actor,omitempty"`  // the name or the id of who did it
	Route  string       `json:"route,omitempty"`
	Text   string       `json:"text,omitempty"` // anywhere in the line, whatever the case; at least four bytes
	Since  time.Time    `json:"since,omitzero"`
	Until  time.Time    `json:"until,omitzero"`

	Decision string `json:"decision,omitempty"` // allow or deny
	Request  string `json:"request,omitempty"`  // the number of a request

	Before string `json:"before,omitempty"` // where the lines go on that RecordLines.Next says
	Leave  bool   `json:"leave,omitempty"`  // only lines that tell of an offboarding

	IDs []string `json:"ids,omitempty"` // whom Person means; set by [Admin.SearchRecord]
}

// RecordLine is a line of the record.
type RecordLine struct {
	audit.Line
	Of string `json:"of,omitempty"` // the replica whose record has it
}

// RecordLines are lines of the record, the newest first.
type RecordLines struct {
	Lines  []RecordLine `json:"lines"`
	Next   string       `json:"next,omitempty"`   // the filter's Before for the lines after these; "" if there are none
	CutOff time.Time    `json:"cut_off,omitzero"` // the search ended here, since it took too long; older lines were not looked at
	Sources
}

// errShortText means that a text is too short to be looked for.
var errShortText = errors.New("the text is too short: write at least 4 bytes")

// ErrPlace means that the text of [RecordFilter.Before] names no place in the record.
var ErrPlace = errors.New("is no place in the record")

// searchFor is how long each step of a search may take.
const searchFor = 120 * time.Millisecond

const askRecord = "record"

// recordQuestion asks a replica for lines.
type recordQuestion struct {
	Filter RecordFilter
	Before map[string]uint64 // by replica; a number of 1 means that there are no more
	Limit  int
}

// recordReply has the lines of one replica.
type recordReply struct {
	Lines   []RecordLine
	Reached audit.Reached
}

// handleRecord has this process reply to questions about its record.
func (a *Admin) handleRecord() {
	if a.peers == nil || a.source.Open == nil {
		return
	}
	handle(a.peers, askRecord, a.searchOwnRecord)
	handle(a.peers, askChain, a.ownChain)
}

// SearchRecord returns at most n lines of the records of all replicas that a filter selects. It is bounded in time: what was
// not reached then, CutOff and Next tell.
func (a *Admin) SearchRecord(ctx context.Context, actor Actor, f RecordFilter, n int) (found RecordLines, err error) {
	found.Lines = []RecordLine{}
	if a.source.Open == nil {
		return found, errNoRecord
	}
	if f.Text != "" && len(f.Text) < 4 {
		return found, errShortText
	}
	if f.Person != "" {
		named, err := a.UsersNamed(ctx, actor, f.Person)
		if err != nil {
			return found, err
		}
		f.IDs = nil
		for _, u := range named[:min(len(named), maxNames)] {
			f.IDs = append(f.IDs, u.ID)
		}
	}
	ask := recordQuestion{Filter: f, Limit: n}
	if ask.Before, err = parseCursor(f.Before); err != nil {
		return found, err
	}
	replies, err := a.askRecords(ctx, ask, &found.Sources)
	if err != nil {
		return found, err
	}
	found.merge(replies, ask, n)
	return found, nil
}

// askRecords asks every replica, or this process if nobody can be asked.
func (a *Admin) askRecords(ctx context.Context, ask recordQuestion, from *Sources) (map[string]recordReply, error) {
	if a.peers == nil {
		reply, err := a.searchOwnRecord(ctx, ask)
		if err != nil {
			return nil, err
		}
		return map[string]recordReply{"": reply.(recordReply)}, nil //nolint:forcetypeassert,errcheck // that is what it returns
	}
	replies, missing := peers.Values[recordReply](a.peers.Ask(ctx, askRecord, ask))
	for _, m := range missing {
		from.Missing = append(from.Missing, Missing{m.Replica, m.Err})
	}
	for name := range replies {
		if name != "" {
			from.Replicas = append(from.Replicas, name)
		}
	}
	slices.Sort(from.Replicas)
	if len(replies) == 0 && len(missing) > 0 {
		return nil, errors.New(missing[0].Err)
	}
	return replies, nil
}

// merge puts the lines of replicas together, the newest first, and says where each goes on.
func (found *RecordLines) merge(replies map[string]recordReply, ask recordQuestion, n int) {
	next := map[string]uint64{}
	maps.Copy(next, ask.Before) // of replicas that have not replied
	for name, reply := range replies {
		for _, l := range reply.Lines {
			l.Of = name
			found.Lines = append(found.Lines, l)
		}
		if next[name] = reply.Reached.Line; reply.Reached.Done || reply.Reached.Line == 0 {
			next[name] = 1
		} else if len(reply.Lines) < n && reply.Reached.Time.After(found.CutOff) {
			found.CutOff = reply.Reached.Time
		}
	}
	slices.SortStableFunc(found.Lines, func(x, y RecordLine) int { return cmp.Compare(y.Time.UnixNano(), x.Time.UnixNano()) })
	if len(replies) == 1 { // in the order of the lines, whatever their times say
		slices.SortStableFunc(found.Lines, func(x, y RecordLine) int { return cmp.Compare(y.Seq, x.Seq) })
	}
	if len(found.Lines) > n {
		for _, l := range found.Lines[n:] { // the next page has them
			next[l.Of] = max(next[l.Of], l.Seq+1)
		}
		found.Lines = found.Lines[:n]
	}
	found.Next = formatCursor(next)
}

// formatCursor writes where the records of replicas go on; "" if none does.
func formatCursor(next map[string]uint64) string {
	var parts []string
	more := false
	for name, before := range next {
		more = more || before > 1
		parts = append(parts, name+"~"+strconv.FormatUint(before, 10))
	}
	if !more {
		return ""
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

func parseCursor(text string) (map[string]uint64, error) {
	before := map[string]uint64{}
	for part := range strings.FieldsSeq(text) {
		i := strings.LastIndexByte(part, '~')
		n, err := strconv.ParseUint(part[i+1:], 10, 64)
		if i < 0 || err != nil || len(before) == 1000 {
			return nil, fmt.Errorf("%q %w", text, ErrPlace)
		}
		before[part[:i]] = n
	}
	return before, nil
}

// searchOwnRecord looks for lines in the record of this process.
func (a *Admin) searchOwnRecord(ctx context.Context, ask recordQuestion) (any, error) {
	reply := recordReply{Lines: []RecordLine{}}
	before := ask.Before[a.directory.Replica()]
	if before == 1 {
		reply.Reached.Done = true
		return reply, nil
	}
	record, err := a.source.Open()
	if err != nil {
		return nil, err
	}
	defer record.Close()
	ctx, stop := context.WithTimeout(ctx, searchFor)
	defer stop()
	f := ask.Filter
	reply.Reached, err = record.SearchBack(ctx, f.search(), before, f.Until, func(l audit.Found) bool {
		if f.selects(&l) {
			reply.Lines = append(reply.Lines, RecordLine{Line: l.Line})
		}
		return len(reply.Lines) < min(ask.Limit, maxListed)
	})
	return reply, err
}

// search returns what narrows the search most. It finds too much: [RecordFilter.selects] decides.
func (f *RecordFilter) search() (s audit.Search) {
	s.Since = f.Since
	switch {
	case f.Person != "":
		for _, id := range f.IDs {
			s.Texts = append(s.Texts, audit.Text{Key: "user", Value: id}, audit.Text{Key: "id", Value: id})
		}
		s.Texts = append(s.Texts, audit.Text{Key: "user_name", Value: f.Person}, audit.Text{Key: "user", Value: f.Person}, audit.Text{Key: "name", Value: f.Person})
	case f.Leave:
		s.Texts = []audit.Text{{Key: "result", Value: "deactivated"}, {Key: "reason", Value: "delete"}, {Key: "reason", Value: "suspended"}}
	case f.Request != "":
		s.Texts = []audit.Text{{Key: "request", Value: f.Request}}
	case len(f.Text) >= 4:
		s.Texts = []audit.Text{{Value: f.Text}}
	case f.Actor != "":
		s.Texts = []audit.Text{{Key: "name", Value: f.Actor}, {Key: "id", Value: f.Actor}}
	case f.Reason != "" && f.Reason != "rule_allow": // which most lines have
		s.Texts = []audit.Text{{Key: "reason", Value: f.Reason}}
	case f.Decision == "deny":
		s.Texts = []audit.Text{{Key: "decision", Value: f.Decision}}
	case f.Route != "":
		s.Texts = []audit.Text{{Key: "route", Value: f.Route}}
	default:
		s.Kinds = f.Kinds
	}
	return s
}

func (f *RecordFilter) selects(l *audit.Found) bool {
	e := &l.Event
	switch {
	case len(f.Kinds) > 0 && !slices.Contains(f.Kinds, e.Kind), f.Reason != "" && e.Reason != f.Reason, f.Route != "" && e.Route != f.Route,
		f.Decision != "" && e.Decision != f.Decision, f.Request != "" && e.Request != f.Request,
		f.Actor != "" && !strings.EqualFold(e.Actor.Name, f.Actor) && e.Actor.ID != f.Actor,
		f.Person != "" && !f.isAbout(e), f.Leave && !isOffboarding(e):
		return false
	}
	return f.Text == "" || containsFold(l.Text, f.Text)
}

// isAbout reports whether an event is about the person, or tells what they did.
func (f *RecordFilter) isAbout(e *audit.Event) bool {
	is := func(id, name string) bool {
		return id != "" && (slices.Contains(f.IDs, id) || id == f.Person) || name != "" && strings.EqualFold(name, f.Person)
	}
	return is(e.User, e.UserName) || e.Actor.Kind == audit.ActorUser && is(e.Actor.ID, e.Actor.Name)
}

// isOffboarding reports whether an event tells that somebody was shut out.
func isOffboarding(e *audit.Event) bool {
	return e.User != "" && (e.Kind == audit.KindSCIM && (e.Reason == "delete" || e.Detail["result"] == "deactivated") || e.Kind == audit.KindSuspend && e.Reason == "suspended")
}

// containsFold reports whether a line has a text, as JSON writes it.
func containsFold(line []byte, text string) bool {
	quoted, err := json.Marshal(text)
	lower := strings.ToLower(string(line))
	return strings.Contains(lower, strings.ToLower(text)) || err == nil && strings.Contains(lower, strings.ToLower(strings.Trim(string(quoted), `"`)))
}

// RecordLine returns a line of a replica's record by its number, or [audit.ErrNoLine].
func (a *Admin) RecordLine(ctx context.Context, _ Actor, replica string, number uint64) (RecordLine, error) {
	if a.source.Open == nil {
		return RecordLine{}, errNoRecord
	}
	ask := recordQuestion{Before: map[string]uint64{replica: number + 1}, Limit: 1}
	replies, err := a.askRecords(ctx, ask, new(Sources))
	if err != nil {
		return RecordLine{}, err
	}
	for name, reply := range replies {
		if name == replica && len(reply.Lines) == 1 && reply.Lines[0].Seq == number {
			reply.Lines[0].Of = name
			return reply.Lines[0], nil
		}
	}
	return RecordLine{}, audit.ErrNoLine
}
