package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"sallyport/access"
	"sallyport/admin"
	"sallyport/audit"
)

// recordRequest asks about the decisions in the record.
type recordRequest struct {
	Since   time.Duration // how far back
	New     namedText     // rules; none for the rules in force
	Request string        // the id of one request
	Files   []string      // of the records of other replicas
}

// readFrom says whose records an answer is from.
type readFrom struct {
	Replica string   `json:"replica,omitempty"`  // this one, of several
	NotRead []string `json:"not_read,omitempty"` // replicas whose records were not read
}

// replayResult is the body of the response to a replay.
type replayResult struct {
	Begins    time.Time     `json:"begins,omitzero"` // the first event of the record
	Decisions int           `json:"decisions"`
	Flips     []access.Flip `json:"flips"`
	readFrom
}

// unusedResult is the body of the response to which rules nobody used.
type unusedResult struct {
	Begins time.Time       `json:"begins,omitzero"` // the first event of the record
	Unused []access.Unused `json:"unused"`
	readFrom
}

func (q *questions) replay(ctx context.Context, _ admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[recordRequest](r)
	if err != nil {
		return nil, err
	}
	rules, err := parseRules(body.New.Name, body.New.Text)
	if err != nil {
		return nil, err
	}
	again := access.Replay{New: rules.Target, InForce: q.rules().Target, User: q.directory.ByID, Organization: q.directory}
	begins, from, err := q.decisions(ctx, body, again.Add)
	if err != nil {
		return nil, err
	}
	flips, decisions := again.Flips()
	return replayResult{begins, decisions, flips, from}, nil
}

func (q *questions) unused(ctx context.Context, _ admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[recordRequest](r)
	if err != nil {
		return nil, err
	}
	usage := access.Usage{User: q.directory.ByID}
	begins, from, err := q.decisions(ctx, body, usage.Add)
	if err != nil {
		return nil, err
	}
	return unusedResult{begins, usage.Unused(q.rules().Routes()), from}, nil
}

// explainRecorded responds with the events of one request, as they are in the record.
func (q *questions) explainRecorded(ctx context.Context, _ admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[recordRequest](r)
	if err != nil {
		return nil, err
	}
	var found []audit.Event
	_, from, err := q.events(ctx, time.Time{}, body.Files, func(e audit.Event) {
		if e.Request == body.Request {
			found = append(found, e)
		}
	})
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("the record %s has nothing about a request %q; requests of nobody who is signed in are denied without a line in it", q.record, body.Request)
		if len(from.NotRead) > 0 {
			err = fmt.Errorf("%w; the records of %s were not read, which another replica may have: ask there", err, strings.Join(from.NotRead, ", "))
		}
	}
	return found, err
}

// decisions calls add with every decision in the record that is not older than asked. It returns when the record begins:
// a former one may have been put aside.
func (q *questions) decisions(ctx context.Context, ask recordRequest, add func(access.Recorded)) (begins time.Time, from readFrom, err error) {
	begin := time.Now().Add(-ask.Since)
	return q.events(ctx, begin, ask.Files, func(e audit.Event) {
		if e.Kind == audit.KindDecision && e.Time.After(begin) {
			add(access.Recorded{Time: e.Time, User: e.User, Name: e.UserName, Route: e.Route, Method: e.Method, Host: e.Host, Path: e.Path, Address: e.Address,
				Allow: e.Decision == "allow", Rule: e.Rule, Reason: e.Reason, ReportRule: e.Detail["report_rule"], BreakGlass: e.Detail["session"] == audit.BreakGlass})
		}
	})
}

// events calls add with the events of the record, in their order; those of files that have none since a time are left out.
// It returns when the record begins.
func (q *questions) events(ctx context.Context, since time.Time, files []string, add func(audit.Event)) (begins time.Time, from readFrom, err error) {
	record, err := q.openRecord(ctx, files)
	if err != nil {
		return begins, from, err
	}
	defer record.Close()
	from.Replica = record.Parts()[0].Replica()
	if from.NotRead, err = q.notRead(ctx, record, since); err != nil {
		return begins, from, err
	}
	begins, err = record.Read(since, func(e audit.Event) error { add(e); return nil })
	return begins, from, err
}
