package proxy

import (
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
	backchannelPath = internalPrefix + "backchannel-logout"
	maxLogoutForm   = 32 << 10    // bytes of the form
	clockSkew       = time.Minute // between the provider's clock and ours
)

// backchannel ends sessions on the identity provider's word (OpenID Connect
// Back-Channel Logout 1.0 §2.5). It happens on the login host alone. A token that
// is refused leaves nothing behind.
func (p *Proxy) backchannel(w http.ResponseWriter, r *http.Request, req *request) {
	if req.host != req.routing.host {
		p.turnDown(w, r, req, *deny(noRoute, "back-channel logout on a host other than the login host"))
		return
	}
	exhausted := p.authFailures.Exhausted(req.address)
	e, err := p.provider.Logout(r.Context(), logoutToken(w, r))
	switch {
	case exhausted && err != nil:
		p.turnDown(w, r, req, *deny(tooMany, "logout tokens that were refused"))
		return
	case errors.Is(err, oidc.ErrRefused):
		p.authFailures.Allow(req.address)
		p.log.InfoContext(r.Context(), "logout token refused", "err", err, "request", req.id)
		backchannelProblem(w, http.StatusBadRequest, "invalid_request", "The logout token was not accepted.")
		return
	case err != nil:
		p.log.WarnContext(r.Context(), "logout token not checked", "err", err, "request", req.id)
		w.Header().Set("Retry-After", "5")
		backchannelProblem(w, http.StatusServiceUnavailable, "temporarily_unavailable", "The logout token cannot be checked at the moment.")
		return
	}
	if err := p.endSessionsOf(r, req, e); err != nil {
		p.log.ErrorContext(r.Context(), "sessions not ended by back-channel logout", "err", err, "request", req.id)
		backchannelProblem(w, http.StatusServiceUnavailable, "temporarily_unavailable", "The sessions could not be ended at the moment.")
		return
	}
	w.WriteHeader(http.StatusOK)
}

// logoutToken is the token in the form, "" if there is none or more than one.
func logoutToken(w http.ResponseWriter, r *http.Request) string {
	r.Body = http.MaxBytesReader(w, r.Body, maxLogoutForm)
	media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if media != "application/x-www-form-urlencoded" || r.ParseForm() != nil || len(r.PostForm["logout_token"]) != 1 {
		return ""
	}
	return r.PostForm.Get("logout_token")
}

// endFor ends every session that e speaks of: those begun before it.
func (p *Proxy) endSessionsOf(r *http.Request, req *request, e oidc.Ending) error {
	for _, s := range p.sessions.List() {
		speaksOf := (e.ProviderSession == "" || s.ProviderSession == e.ProviderSession) && (e.Subject == "" || s.Subject == e.Subject)
		if !speaksOf || s.Began.After(e.Issued.Add(clockSkew)) {
			continue
		}
		_ = p.record(req, audit.Event{Kind: audit.KindLogout, User: s.User, UserName: s.UserName, Session: s.ID, Reason: string(session.ReasonProvider)})
		if err := p.sessions.End(r.Context(), s.ID, session.ReasonProvider); err != nil && !isGone(err) {
			return err
		}
	}
	return nil
}

func backchannelProblem(w http.ResponseWriter, status int, kind, description string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": kind, "error_description": description})
}
