package oidc

import (
	"context"
	"time"
)

// Ending is what a logout token says: that a session at the provider is over, or
// all of a subject's.
type Ending struct {
	Subject         string // "" where only the session is named
	ProviderSession string // sid; "" for all of the subject's
	Issued          time.Time
}

// logoutEvent is the member of events that makes a token one of logout.
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// Logout checks a logout token (OpenID Connect Back-Channel Logout 1.0 §2.6).
//
// A token that is sent again does no harm: it speaks of sessions that began before
// it was issued, so nothing is remembered of it.
func (p *Provider) Logout(ctx context.Context, token string) (Ending, error) {
	k, err := p.found(ctx)
	if err != nil {
		return Ending{}, err
	}
	e, err := p.ending(ctx, k, token)
	p.metrics.verified(err)
	return e, err
}

func (p *Provider) ending(ctx context.Context, k *known, token string) (Ending, error) {
	c, err := p.verify(ctx, k, token, "logout+jwt", "jwt")
	if err != nil {
		return Ending{}, err
	}
	events, _ := c.all["events"].(map[string]any)
	_, is := events[logoutEvent].(map[string]any)
	switch {
	case !c.Audience.has(p.settings.ClientID):
		return Ending{}, refuse(WrongAudience, "the logout token is for another application")
	case !is:
		return Ending{}, refuse(WrongType, "the token has no logout event")
	case c.hasAny("nonce"):
		return Ending{}, refuse(WrongType, "the token has a nonce, which no logout token has")
	case c.Issued.IsZero() || c.text("jti") == "":
		return Ending{}, refuse(ClaimMissing, "the logout token has no iat or no jti")
	case c.Subject == "" && c.ProviderSession == "":
		return Ending{}, refuse(ClaimMissing, "the logout token names neither a session nor a subject")
	}
	return Ending{c.Subject, c.ProviderSession, c.Issued.Time}, nil
}
