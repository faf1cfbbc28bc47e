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
	"sallyport/store"
)

// recordRequest asks about the decisions in the record.
type recordRequest struct {
	Since   time.Duration // how far back
	New     namedText     // rules; none for the rules in force
	Request string        // the id of one request
	Files   []string      // of the records of other replicas
}

func (q *questions) replay(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[recordRequest](r)
	if err != nil {
		return nil, err
	}
	rules, err := parseRules(body.New.Name, body.New.Text)
	if err != nil {
		return nil, err
	}
	return q.admin.Replay(ctx, actor, rules, body.query(), 0)
}

func (q *questions) unused(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[recordRequest](r)
	if err != nil {
		return nil, err
	}
	return q.admin.UnusedRules(ctx, actor, body.query())
}

// query returns which decisions are asked about.
func (b recordRequest) query() admin.RecordQuery {
	return admin.RecordQuery{Since: time.Now().Add(-b.Since), Files: b.Files}
}

// explainRecorded responds with the events of one request, as they are in the record.
func (q *questions) explainRecorded(ctx context.Context, _ admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[recordRequest](r)
	if err != nil {
		return nil, err
	}
	var found []audit.Event
	from, err := q.events(ctx, admin.RecordQuery{Files: body.Files}, func(e audit.Event) error {
		if e.Request == body.Request {
			found = append(found, e)
		}
		return nil
	})
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("the record %s has nothing about a request %q; requests of nobody who is signed in are denied without a line in it", q.path, body.Request)
		if len(from.NotRead) > 0 {
			err = fmt.Errorf("%w; the records of %s were not read, which another replica may have: ask there", err, strings.Join(from.NotRead, ", "))
		}
	}
	return found, err
}

// recordReader reads the audit record of this server, and files of those of other replicas.
type recordReader struct {
	path  string
	store store.Store
}

// decisions calls add with every decision in the record that is not older than asked.
func (r recordReader) decisions(ctx context.Context, q admin.RecordQuery, add func(access.Recorded) error) (admin.RecordRead, error) {
	return r.events(ctx, q, func(e audit.Event) error {
		if e.Kind != audit.KindDecision || !e.Time.After(q.Since) {
			return nil
		}
		return add(access.Recorded{Time: e.Time, User: e.User, Name: e.UserName, Route: e.Route, Method: e.Method, Host: e.Host, Path: e.Path, Address: e.Address,
			Allow: e.Decision == "allow", Rule: e.Rule, Reason: e.Reason, ReportRule: e.Detail["report_rule"], BreakGlass: e.Detail["session"] == audit.BreakGlass})
	})
}

// events calls add with the events of the record, in their order; those of files that have none since a time are left out.
func (r recordReader) events(ctx context.Context, q admin.RecordQuery, add func(audit.Event) error) (read admin.RecordRead, err error) {
	record, err := r.openRecord(ctx, q.Files)
	if err != nil {
		return read, err
	}
	defer record.Close()
	read.Replica = record.Parts()[0].Replica()
	if read.NotRead, err = r.notRead(ctx, record, q.Since); err != nil {
		return read, err
	}
	read.Begins, err = record.Read(q.Since, add)
	return read, err
}
