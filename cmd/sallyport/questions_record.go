package main

import (
	"context"
	"fmt"
	"net/http"
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
}

// replayResult is the body of the response to a replay.
type replayResult struct {
	Begins    time.Time     `json:"begins,omitzero"` // the first event of the record
	Decisions int           `json:"decisions"`
	Flips     []access.Flip `json:"flips"`
}

// unusedResult is the body of the response to which rules nobody used.
type unusedResult struct {
	Begins time.Time       `json:"begins,omitzero"` // the first event of the record
	Unused []access.Unused `json:"unused"`
}

func (q *questions) replay(_ context.Context, _ admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[recordRequest](r)
	if err != nil {
		return nil, err
	}
	rules, err := parseRules(body.New.Name, body.New.Text)
	if err != nil {
		return nil, err
	}
	again := access.Replay{New: rules.Target, InForce: q.rules().Target, User: q.directory.ByID, Organization: q.directory}
	begins, err := q.decisions(body.Since, again.Add)
	if err != nil {
		return nil, err
	}
	flips, decisions := again.Flips()
	return replayResult{begins, decisions, flips}, nil
}

func (q *questions) unused(_ context.Context, _ admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[recordRequest](r)
	if err != nil {
		return nil, err
	}
	usage := access.Usage{User: q.directory.ByID}
	begins, err := q.decisions(body.Since, usage.Add)
	if err != nil {
		return nil, err
	}
	return unusedResult{begins, usage.Unused(q.rules().Routes())}, nil
}

// explainRecorded responds with the events of one request, as they are in the record.
func (q *questions) explainRecorded(_ context.Context, _ admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[recordRequest](r)
	if err != nil {
		return nil, err
	}
	var found []audit.Event
	_, err = q.events(time.Time{}, func(e audit.Event) {
		if e.Request == body.Request {
			found = append(found, e)
		}
	})
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("the record %s has nothing about a request %q; requests of nobody who is signed in are denied without a line in it", q.record, body.Request)
	}
	return found, err
}

// decisions calls add with every decision in the record that is not older than since. It returns when the record begins:
// a former one may have been put aside.
func (q *questions) decisions(since time.Duration, add func(access.Recorded)) (begins time.Time, err error) {
	begin := time.Now().Add(-since)
	return q.events(begin, func(e audit.Event) {
		if e.Kind == audit.KindDecision && e.Time.After(begin) {
			add(access.Recorded{Time: e.Time, User: e.User, Name: e.UserName, Route: e.Route, Method: e.Method, Host: e.Host, Path: e.Path, Address: e.Address,
				Allow: e.Decision == "allow", Rule: e.Rule, Reason: e.Reason, ReportRule: e.Detail["report_rule"], BreakGlass: e.Detail["session"] == audit.BreakGlass})
		}
	})
}

// events calls add with the events of the record, in their order; those of files that have none since a time are left out.
// It returns when the record begins.
func (q *questions) events(since time.Time, add func(audit.Event)) (begins time.Time, err error) {
	record, err := audit.OpenRecord(q.record)
	if err != nil {
		return begins, err
	}
	defer record.Close()
	return record.Read(since, func(e audit.Event) error { add(e); return nil })
}
