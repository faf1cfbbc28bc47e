package main

import (
	"context"
	"net/http"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/prometheus/client_golang/prometheus"

	"sallyport/access"
	"sallyport/admin"
	"sallyport/grant"
)

// reviewStart asks to start a review.
type reviewStart struct {
	Route    string
	Due      time.Duration
	Reviewer grant.ReviewerKind
	Files    []string // of the records of other replicas
}

// reviewDecision asks to decide about rows of a review.
type reviewDecision struct {
	Rows     []int
	Decision grant.Decision
	Reason   string
}

// signedReview is the body of the response to an export.
type signedReview struct {
	JWS string `json:"jws"`
}

// startReview reads the whole record for when rules were last used.
func (q *questions) startReview(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[reviewStart](r)
	if err != nil {
		return nil, err
	}
	rules := q.rules()
	route, ok := rules.Route(body.Route)
	if !ok {
		return nil, noSuchRoute(body.Route, rules.Routes())
	}
	last := &access.LastUse{Route: route.Name}
	read, err := q.decisions(ctx, admin.RecordQuery{Files: body.Files}, func(e access.Recorded) error { last.Add(e); return nil })
	if err != nil {
		return nil, err
	}
	last.Begins = read.Begins
	return q.admin.StartReview(ctx, actor, admin.NewReview{Route: route, Due: body.Due, Reviewer: body.Reviewer, LastUse: last})
}

func (c *control) review(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	return c.admin.Review(ctx, actor, r.PathValue("id"))
}

func (c *control) decideReview(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[reviewDecision](r)
	if err != nil {
		return nil, err
	}
	return c.admin.DecideRows(ctx, actor, admin.ReviewDecision{Review: r.PathValue("id"), Rows: body.Rows, Decision: body.Decision, Why: body.Reason})
}

func (c *control) closeReview(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	return c.admin.CloseReview(ctx, actor, r.PathValue("id"))
}

func (c *control) exportReview(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	signed, err := c.admin.ExportReview(ctx, actor, r.PathValue("id"))
	return signedReview{signed}, err
}

func (c *control) reviewKeys(ctx context.Context, actor admin.Actor) (jose.JSONWebKeySet, error) {
	return c.admin.ReviewKeys(ctx, actor)
}

// runReviews records what the identity provider did about reviews.
func (s *server) runReviews(ctx context.Context) error {
	return s.admin.RunReviews(ctx, func(err error) { s.log.Error("reviews are not up to date; it is tried again", "err", err) })
}

// overdueReviews returns the metric of reviews that are late.
func overdueReviews(grants *grant.Grants) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "sallyport_reviews_overdue", Help: "Reviews of access that are open beyond their time."},
		func() float64 { return float64(grants.Overdue(time.Now())) })
}
