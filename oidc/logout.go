package oidc

import (
	"context"
	"time"
)

// LogoutToken says that one session at the provider has ended, or all sessions of a
// subject.
type LogoutToken struct {
	Subject         string // "" if only the session is named
	ProviderSession string // sid; "" for all sessions of the subject
	Issued          time.Time
}

// logoutEvent is the member of events that every logout token has.
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// Logout verifies a logout token (OpenID Connect Back-Channel Logout 1.0 §2.6).
//
// Replays need no detection: a token only ends sessions that began before it was
// issued.
func (p *Provider) Logout(ctx context.Context, token string) (LogoutToken, error) {
	m, err := p.discovered(ctx)
	if err != nil {
		return LogoutToken{}, err
	}
	t, err := p.logoutToken(ctx, m, token)
	p.metrics.verified(err)
	return t, err
}

func (p *Provider) logoutToken(ctx context.Context, m *metadata, token string) (LogoutToken, error) {
	c, err := p.verify(ctx, m, token, "logout+jwt", "jwt")
	if err != nil {
		return LogoutToken{}, err
	}
	events, _ := c.all["events"].(map[string]any)
	_, ok := events[logoutEvent].(map[string]any)
	switch {
	case !c.Audience.has(p.settings.ClientID):
		return LogoutToken{}, refuse(WrongAudience, "the logout token is for another application")
	case !ok:
		return LogoutToken{}, refuse(WrongType, "the token has no logout event")
	case c.hasAny("nonce"):
		return LogoutToken{}, refuse(WrongType, "the token has a nonce, which logout tokens must not have")
	case c.Issued.IsZero() || c.text("jti") == "":
		return LogoutToken{}, refuse(ClaimMissing, "the logout token has no iat or no jti")
	case c.Subject == "" && c.ProviderSession == "":
		return LogoutToken{}, refuse(ClaimMissing, "the logout token names neither a session nor a subject")
	}
	return LogoutToken{c.Subject, c.ProviderSession, c.Issued.Time}, nil
}
