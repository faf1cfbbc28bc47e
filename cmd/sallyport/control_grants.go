package main

import (
	"context"
	"net/http"
	"time"

	"sallyport/admin"
)

// approval approves a request for access.
type approval struct {
	Reason string        `json:"reason,omitempty"`
	For    time.Duration `json:"for,omitempty"` // nanoseconds; 0: the usual time
}

// refusal says why a request is denied, or a grant revoked.
type refusal struct {
	Reason string `json:"reason"`
}

func (c *control) request(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	return c.admin.Request(ctx, actor, r.PathValue("id"))
}

func (c *control) approve(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[approval](r)
	if err != nil {
		return nil, err
	}
	if _, err = c.admin.Approve(ctx, actor, r.PathValue("id"), body.For, body.Reason); err != nil {
		return nil, err
	}
	grants, err := c.admin.Grants(ctx, actor, false)
	for _, g := range grants {
		if g.Request == r.PathValue("id") {
			return g, err
		}
	}
	return admin.Grant{}, err
}

func (c *control) deny(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[refusal](r)
	if err != nil {
		return nil, err
	}
	return struct{}{}, c.admin.Deny(ctx, actor, r.PathValue("id"), body.Reason)
}

func (c *control) grants(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	return c.admin.Grants(ctx, actor, r.URL.Query().Has("all"))
}

func (c *control) revokeGrant(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[refusal](r)
	if err != nil {
		return nil, err
	}
	return struct{}{}, c.admin.RevokeGrant(ctx, actor, r.PathValue("id"), body.Reason)
}
