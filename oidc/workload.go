package oidc

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"

	"sallyport/pemfile"
)

// Workloads verifies tokens of applications: access tokens of client credentials (RFC
// 6749 §4.4, RFC 9068) and assertions of federated workloads (RFC 7523 §2.2).
type Workloads struct {
	provider  *Provider
	audiences []string
	clients   []string
}

// WorkloadSettings says which applications are accepted.
type WorkloadSettings struct {
	Issuer    string
	Audiences []string // a token must name one of these
	ClientIDs []string // its application or its subject must be one of these
	CAFile    string
}

// Check reports the faults of Issuer and CAFile.
func (s WorkloadSettings) Check(fault func(path, problem string)) {
	if problem := issuerProblem(s.Issuer); problem != "" {
		fault("issuer", problem)
	}
	if _, err := pemfile.Pool(s.CAFile); err != nil {
		fault("ca_file", err.Error())
	}
}

// NewWorkloads does not contact the issuer; [Workloads.Run] does.
func NewWorkloads(s WorkloadSettings, log *slog.Logger) (*Workloads, error) {
	return newWorkloads(s, &common{log: log, metrics: newMetrics(), changed: new(signal)}, nil)
}

// With returns what verifies tokens by other settings, to take the place of w, in the manner of [Provider.With].
func (w *Workloads) With(s WorkloadSettings) (*Workloads, error) {
	next, err := newWorkloads(s, w.provider.common, w.provider.issuers())
	if err == nil && next.provider.issuer == w.provider.issuer && slices.Equal(next.audiences, w.audiences) && slices.Equal(next.clients, w.clients) {
		return w, nil
	}
	return next, err
}

func newWorkloads(s WorkloadSettings, c *common, known []*issuer) (*Workloads, error) {
	published, err := c.issuerOf(s.Issuer, s.CAFile, known)
	if err != nil {
		return nil, err
	}
	return &Workloads{&Provider{settings: Settings{Issuer: s.Issuer}, issuer: published}, s.Audiences, s.ClientIDs}, nil
}

// Prepare is [Provider.Prepare].
func (w *Workloads) Prepare(ctx context.Context) error { return w.provider.Prepare(ctx) }

// Run discovers the issuer and keeps its keys fresh until ctx ends.
func (w *Workloads) Run(ctx context.Context) error { return w.provider.Run(ctx) }

// Client returns the client ID or subject of the application that a token proves; ""
// if the token is rejected. An error means that the token could not be checked.
func (w *Workloads) Client(ctx context.Context, token string) (string, error) {
	if _, err := w.provider.verifying(ctx); err != nil {
		return "", err
	}
	c, err := w.provider.verify(ctx, token, "jwt", "at+jwt")
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
	case client != "" && slices.Contains(w.clients, client) && (c.Subject == client || Applications{}.clientOf(c) != ""):
		return client, nil
	}
	return "", nil
}

// text returns the value of a claim that is a string, or "".
func (c *claims) text(name string) string {
	s, _ := c.all[name].(string)
	return s
}
