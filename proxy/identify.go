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
	maxTokenBytes = 16 << 10        // bytes; Entra's largest are a tenth of it
	bearerTimeout = 5 * time.Second // keys may have to be fetched
)

// identify finds out who proves to be calling, in a way the route accepts: a bearer token if there is one, else the
// session of a cookie. Nobody proving anything is no refusal yet; a proof that fails is.
func (p *Proxy) identify(r *http.Request, req *request) *denial {
	if req.route.bearer {
		token, sent, err := bearerToken(r.Header)
		switch {
		case err != nil:
			return deny(tokenRefused, err.Error())
		case sent:
			return p.identifyBearer(r.Context(), req, token)
		}
	}
	if req.route.session {
		return p.identifySession(r.Header, req)
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
	if token == "" || len(token) > maxTokenBytes {
		return "", true, errors.New("no token, or too long a one")
	}
	return token, true, nil
}

func (p *Proxy) identifyBearer(ctx context.Context, req *request, token string) *denial {
	if who, ok := p.provider.Remembered(token); ok {
		req.caller = &caller{token: &who}
		return nil
	}
	patience, exhausted := bearerTimeout, p.authFailures.Exhausted(req.address)
	if exhausted {
		patience = 0 // others at the address may have good ones, which known keys tell
	}
	ctx, stop := context.WithTimeout(ctx, patience)
	defer stop()
	who, err := p.provider.Bearer(ctx, token)
	switch {
	case err == nil:
		req.caller = &caller{token: &who}
		return nil
	case exhausted:
		return deny(tooMany, "bearer tokens that were refused")
	case errors.Is(err, oidc.ErrRefused):
		p.authFailures.Allow(req.address)
		return invalidToken(err)
	}
	return deny(providerUnavailable, err.Error())
}

// tellable are the reasons for which a token is refused that its sender is told of: mistakes in setting up, of which
// nobody learns anything that the token does not say.
var disclosable = map[oidc.Reason]bool{oidc.WrongVersion: true, oidc.NotForAPIs: true, oidc.Expired: true}

func invalidToken(err error) *denial {
	denied := deny(tokenRefused, err.Error())
	if why := (*oidc.Refusal)(nil); errors.As(err, &why) && disclosable[why.Reason] {
		denied.disclosed = why.Detail
	}
	return denied
}

func (p *Proxy) identifySession(h http.Header, req *request) *denial {
	cookie, ok := session.Cookie(h)
	if !ok {
		return nil
	}
	current, err := p.sessions.Read(cookie, req.host)
	if err == nil {
		req.caller = &caller{session: current}
		return nil
	}
	if !isGone(err) {
		return deny(directoryStale, err.Error())
	}
	req.sessionError = sessionErrorReason(err)
	return nil
}

// lapse is the reason for which a session that is over opens nothing.
func sessionErrorReason(err error) string {
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
func (p *Proxy) checkUser(c *caller, now time.Time) (*directory.User, *denial) {
	if c.app() != "" {
		return nil, p.checkCredential(c, nil, now) // an application is nobody whom the directory knows
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
		return nil, deny(unknownUser, "")
	case u.Damaged:
		return u, deny(damagedRecord, "")
	case u.Suspended != nil:
		return u, deny(suspendedUser, "")
	case !u.Active:
		return u, deny(inactiveUser, "")
	}
	return u, p.checkCredential(c, u, now)
}

// proof says whether the proof somebody gave still holds for the user it is of.
func (p *Proxy) checkCredential(c *caller, u *directory.User, now time.Time) *denial {
	switch {
	case c.token == nil:
	case !now.Before(c.token.Expires):
		return deny(tokenRefused, "expired")
	case u != nil && c.token.Issued.Before(u.Ended.Truncate(time.Second)): // tokens know no parts of one
		return deny(tokenRefused, "issued before the user was deactivated")
	default:
		return nil
	}
	switch _, err := p.sessions.Live(c.session.ID); {
	case err != nil && !isGone(err):
		return deny(directoryStale, err.Error())
	case errors.Is(err, session.ErrExpired):
		return deny(sessionExpired, "")
	case err != nil:
		return deny(sessionEnded, "")
	case c.session.Epoch != u.Epoch:
		return deny(sessionEnded, "begun before the user was deactivated")
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
