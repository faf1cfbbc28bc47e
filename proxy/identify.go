package proxy

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"sallyport/directory"
	"sallyport/oidc"
	"sallyport/session"
)

const (
	longestToken  = 16 << 10        // bytes; Entra's largest are a tenth of it
	provingWithin = 5 * time.Second // keys may have to be fetched
)

// identify finds out who proves to be calling, in a way the route accepts: a bearer token if there is one, else the
// session of a cookie. Nobody proving anything is no refusal yet; a proof that fails is.
func (p *Proxy) identify(r *http.Request, v *visit) *refusal {
	if v.route.bearer {
		token, sent, err := bearerToken(r.Header)
		switch {
		case err != nil:
			return refused(tokenRefused, err.Error())
		case sent:
			return p.identifyBearer(r.Context(), v, token)
		}
	}
	if v.route.session {
		return p.identifySession(r.Header, v)
	}
	return nil
}

// bearerToken is the token of the Authorization header (RFC 6750 §2.1), if that is of the scheme Bearer.
func bearerToken(h http.Header) (token string, sent bool, err error) {
	lines := h["Authorization"]
	if len(lines) == 0 {
		return "", false, nil
	}
	if len(lines) > 1 {
		return "", true, errors.New("more than one Authorization header")
	}
	scheme, token, _ := strings.Cut(lines[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", false, nil
	}
	token = strings.Trim(token, " ")
	if token == "" || len(token) > longestToken {
		return "", true, errors.New("no token, or too long a one")
	}
	return token, true, nil
}

func (p *Proxy) identifyBearer(ctx context.Context, v *visit, token string) *refusal {
	if who, ok := p.provider.Remembered(token); ok {
		v.caller = &caller{token: &who}
		return nil
	}
	patience, exhausted := provingWithin, p.failures.Exhausted(v.address)
	if exhausted {
		patience = 0 // others at the address may have good ones, which known keys tell
	}
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	who, err := p.provider.Bearer(ctx, token)
	switch {
	case err == nil:
		v.caller = &caller{token: &who}
		return nil
	case exhausted:
		return refused(tooMany, "bearer tokens that were refused")
	case errors.Is(err, oidc.ErrRefused):
		p.failures.Take(v.address)
		return refusedToken(err)
	}
	return refused(providerUnavailable, err.Error())
}

// tellable are the reasons for which a token is refused that its sender is told of: mistakes in setting up, of which
// nobody learns anything that the token does not say.
var tellable = map[oidc.Reason]bool{oidc.WrongVersion: true, oidc.NotForAPIs: true, oidc.Expired: true}

func refusedToken(err error) *refusal {
	x := refused(tokenRefused, err.Error())
	if why := (*oidc.Refusal)(nil); errors.As(err, &why) && tellable[why.Reason] {
		x.tell = why.Detail
	}
	return x
}

func (p *Proxy) identifySession(h http.Header, v *visit) *refusal {
	cookie, ok := session.Cookie(h)
	if !ok {
		return nil
	}
	one, err := p.sessions.Read(cookie, v.host)
	if err == nil {
		v.caller = &caller{session: one}
		return nil
	}
	if !over(err) {
		return refused(directoryStale, err.Error())
	}
	v.lapsed = lapse(err)
	return nil
}

// lapse is the reason for which a session that is over opens nothing.
func lapse(err error) string {
	switch {
	case errors.Is(err, session.ErrExpired):
		return sessionExpired
	case errors.Is(err, session.ErrEnded):
		return sessionEnded
	}
	return notSignedIn
}

// user is what the directory says now of somebody who proved who they are, or why they are refused whatever the
// rules say; nil for an application. It reads memory only.
func (p *Proxy) user(c *caller, now time.Time) (*directory.User, *refusal) {
	if c.app() != "" {
		return nil, p.proof(c, nil, now) // an application is nobody whom the directory knows
	}
	var u *directory.User
	var ok bool
	if c.session != nil {
		u, ok = p.directory.ByID(c.session.User)
	} else {
		u, ok = p.directory.Lookup(c.token.Key)
	}
	switch {
	case !ok:
		return nil, refused(unknownUser, "")
	case u.Damaged:
		return u, refused(damagedRecord, "")
	case u.Suspended != nil:
		return u, refused(suspendedUser, "")
	case !u.Active:
		return u, refused(inactiveUser, "")
	}
	return u, p.proof(c, u, now)
}

// proof says whether the proof somebody gave still holds for the user it is of.
func (p *Proxy) proof(c *caller, u *directory.User, now time.Time) *refusal {
	switch {
	case c.token == nil:
	case !now.Before(c.token.Expires):
		return refused(tokenRefused, "expired")
	case u != nil && c.token.Issued.Before(u.Ended.Truncate(time.Second)): // tokens know no parts of one
		return refused(tokenRefused, "issued before the user was deactivated")
	default:
		return nil
	}
	switch _, err := p.sessions.Live(c.session.ID); {
	case err != nil && !over(err):
		return refused(directoryStale, err.Error())
	case errors.Is(err, session.ErrExpired):
		return refused(sessionExpired, "")
	case err != nil:
		return refused(sessionEnded, "")
	case c.session.Epoch != u.Epoch:
		return refused(sessionEnded, "begun before the user was deactivated")
	}
	return nil
}

// expires is when the proof ends by itself.
func (c *caller) expires() time.Time {
	if c.session != nil {
		return c.session.Expires
	}
	return c.token.Expires
}
