package oidc

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
)

// Workloads checks the tokens by which applications, not people, prove who they
// are: access tokens of client credentials (RFC 6749 §4.4, RFC 9068) and the
// assertions of federated workloads (RFC 7523 §2.2).
type Workloads struct {
	provider  *Provider
	audiences []string
	clients   []string
}

// WorkloadSettings names the applications that are taken.
type WorkloadSettings struct {
	Issuer    string
	Audiences []string // a token names one of these
	ClientIDs []string // its application, or its subject, is one of these
	CAFile    string
}

// Check reports every fault of s that the issuer's settings can have.
func (s WorkloadSettings) Check(fault func(path, problem string)) {
	if problem := issuerProblem(s.Issuer); problem != "" {
		fault("issuer", problem)
	}
	if _, err := roots(s.CAFile); err != nil {
		fault("ca_file", err.Error())
	}
}

// NewWorkloads contacts nobody.
func NewWorkloads(s WorkloadSettings, log *slog.Logger) (*Workloads, error) {
	client, err := newClient(s.CAFile)
	if err != nil {
		return nil, err
	}
	p := &Provider{settings: Settings{Issuer: s.Issuer}, tenant: tenantOf(s.Issuer), client: client, log: log, metrics: newMetrics(), tried: make(chan struct{})}
	return &Workloads{p, s.Audiences, s.ClientIDs}, nil
}

// Run finds the issuer and keeps its keys fresh until ctx ends.
func (w *Workloads) Run(ctx context.Context) error { return w.provider.Run(ctx) }

// Client is the application that a token proves; "" with no error is a token that
// is not taken. An error means that we could not tell.
func (w *Workloads) Client(ctx context.Context, token string) (string, error) {
	k, err := w.provider.found(ctx)
	if err != nil {
		return "", err
	}
	c, err := w.provider.verify(ctx, k, token, "jwt", "at+jwt")
	if errors.Is(err, ErrRefused) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	client := cmp.Or(c.Party, c.App, c.text("client_id"), c.text("cid"))
	switch {
	case !slices.ContainsFunc(w.audiences, c.Audience.has), c.Nonce != "", c.AccessTokenHash != "", c.CodeHash != "":
		return "", nil
	case c.Subject != "" && slices.Contains(w.clients, c.Subject):
		return c.Subject, nil
	case client != "" && slices.Contains(w.clients, client) && (c.Subject == client || c.app() != ""):
		return client, nil
	}
	return "", nil
}

// text is a claim that is a text, or "".
func (c *claims) text(name string) string {
	s, _ := c.all[name].(string)
	return s
}
