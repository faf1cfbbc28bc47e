package proxy

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"time"

	"sallyport/audit"
	"sallyport/oidc"
	"sallyport/session"
)

const (
	maxLogoutForm = 32 << 10    // bytes
	clockSkew     = time.Minute // between the provider's clock and ours
)

// backchannel ends the sessions that the identity provider names in a logout token (OpenID Connect Back-Channel Logout
// 1.0 §2.5), on the login host alone. Apart from a denial, it responds in the form of §2.8. A rejected token is logged,
// but not recorded.
func (p *Proxy) backchannel(w http.ResponseWriter, r *http.Request, req *request) *denial {
	if req.host != req.routing.host {
		return deny(noRoute, "back-channel logout on a host other than the login host")
	}
	exhausted := p.throttles.failures.Exhausted(req.address)
	logout, err := req.routing.provider.Logout(r.Context(), logoutToken(w, r))
	switch {
	case exhausted && err != nil:
		return deny(tooMany, "logout tokens that were rejected")
	case errors.Is(err, oidc.ErrRefused):
		p.throttles.failures.Allow(req.address)
		p.logOf(req).InfoContext(r.Context(), "logout token rejected", "err", err)
		writeLogoutError(w, http.StatusBadRequest, "invalid_request", "The logout token was not accepted.")
		return nil
	case err != nil:
		p.logOf(req).WarnContext(r.Context(), "logout token not verified", "err", err)
		w.Header().Set("Retry-After", "5")
		writeLogoutError(w, http.StatusServiceUnavailable, "temporarily_unavailable", "The logout token cannot be verified at the moment.")
		return nil
	}
	acted, err := p.sessions.UseLogout(r.Context(), logout.ID, logout.Expires, func(ctx context.Context) error { return p.endSessionsOf(ctx, req, logout) })
	switch {
	case err != nil:
		p.logOf(req).ErrorContext(r.Context(), "sessions not ended by back-channel logout", "err", err)
		writeLogoutError(w, http.StatusServiceUnavailable, "temporarily_unavailable", "The sessions could not be ended at the moment.")
		return nil
	case !acted:
		p.logOf(req).InfoContext(r.Context(), "logout token rejected: it was used before")
		writeLogoutError(w, http.StatusBadRequest, "invalid_request", "The logout token was used before.")
		return nil
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// logoutToken returns the token in the form; "" if there is none or more than one.
func logoutToken(w http.ResponseWriter, r *http.Request) string {
	r.Body = http.MaxBytesReader(w, r.Body, maxLogoutForm)
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if media != "application/x-www-form-urlencoded" || r.ParseForm() != nil || len(r.PostForm["logout_token"]) != 1 {
		return ""
	}
	return r.PostForm.Get("logout_token")
}

// endSessionsOf ends every session that the logout token names and that started before it was issued. It returns once no
// replica lets anybody in by them.
func (p *Proxy) endSessionsOf(ctx context.Context, req *request, logout oidc.LogoutToken) error {
	var events []audit.Event
	for _, s := range p.sessions.List() {
		named := (logout.ProviderSession == "" || s.ProviderSession == logout.ProviderSession) && (logout.Subject == "" || s.Subject == logout.Subject)
		if !named || s.Began.After(logout.Issued.Add(clockSkew)) {
			continue
		}
		event := audit.Event{Kind: audit.KindLogout, Request: req.id, Actor: audit.Actor{Kind: audit.ActorProvider, Name: "back-channel logout"}, User: s.User, UserName: s.UserName, Session: s.ID, Reason: string(session.ReasonProvider)}
		events = append(events, event)
		_ = p.record(req, event)
		if err := p.sessions.End(ctx, s.ID, session.ReasonProvider); err != nil && !isGone(err) {
			return err
		}
	}
	_, err := p.enforcer.Wait(ctx, events...)
	return err
}

func writeLogoutError(w http.ResponseWriter, status int, code, description string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": code, "error_description": description})
}
