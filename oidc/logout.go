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
	ID              string // jti; names the token among those of the provider
	Issued          time.Time
	Expires         time.Time // when it is no longer accepted
}

// maxLogoutAge is how old a logout token may be, whatever its exp says: for so long the
// caller must remember those that were used.
const maxLogoutAge = 24 * time.Hour

// logoutEvent is the member of events that every logout token has.
const logoutEvent = "http://schemas.openid.net/event/backchannel-logout"

// Logout verifies a logout token (OpenID Connect Back-Channel Logout 1.0 §2.6).
//
// The caller must reject a token that was used before (§2.6, 8): until clocks agree, it
// also names sessions that began a little after it was issued.
func (p *Provider) Logout(ctx context.Context, token string) (LogoutToken, error) {
	if _, err := p.verifying(ctx); err != nil {
		return LogoutToken{}, err
	}
	t, err := p.logoutToken(ctx, token)
	p.metrics.verified(err)
	return t, err
}

func (p *Provider) logoutToken(ctx context.Context, token string) (LogoutToken, error) {
	c, err := p.verify(ctx, token, "logout+jwt", "jwt")
	if err != nil {
		return LogoutToken{}, err
	}
	expires := earlier(c.Expires.Time, c.Issued.Add(maxLogoutAge))
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
	case !time.Now().Before(expires):
		return LogoutToken{}, refuse(Expired, "the logout token was issued more than a day ago")
	case c.Subject == "" && c.ProviderSession == "":
		return LogoutToken{}, refuse(ClaimMissing, "the logout token names neither a session nor a subject")
	}
	return LogoutToken{Subject: c.Subject, ProviderSession: c.ProviderSession, ID: c.text("jti"), Issued: c.Issued.Time, Expires: expires}, nil
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
