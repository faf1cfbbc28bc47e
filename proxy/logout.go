package proxy

import (
	"net/http"
	"net/url"

	"sallyport/audit"
	"sallyport/console"
	"sallyport/session"
)

// logout ends the session on every host. A link only shows the button that does it: pressing it is a POST from this
// very site, so that no other site can sign anybody out.
func (p *Proxy) logout(w http.ResponseWriter, r *http.Request, req *request) {
	if req.method != http.MethodPost {
		p.askLogout(w, r, req)
		return
	}
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		p.turnDown(w, r, req, denial{status: http.StatusForbidden, reason: crossOrigin, detail: err.Error()})
		return
	}
	ended, err := p.endSession(r, req)
	if err != nil {
		p.turnDown(w, r, req, denial{status: http.StatusServiceUnavailable, reason: sessionUnavailable, detail: err.Error()})
		return
	}
	http.SetCookie(w, session.ClearCookie())
	target, ok := req.routing.resolve(returnTo(w, r, req), req.routing.origin(req.host))
	switch {
	case !wantsPage(r) && !ok:
		w.WriteHeader(http.StatusNoContent)
	case !ended && req.host != req.routing.host: // the login host may know of a session that this host's cookie is not of
		redirect(w, http.StatusSeeOther, req.routing.public.String()+logoutPath+"?"+url.Values{"return_to": {target.String()}}.Encode())
	case ok:
		redirect(w, http.StatusSeeOther, target.String())
	default:
		p.signedOut(w, req, "/")
	}
}

// endSession ends the session of the browser's cookie, and says whether there was one. That the record cannot be
// written is no reason to keep somebody signed in.
func (p *Proxy) endSession(r *http.Request, req *request) (ended bool, err error) {
	cookie, ok := session.Cookie(r.Header)
	if !ok {
		return false, nil
	}
	current, err := p.sessions.Read(cookie, req.host)
	switch {
	case isGone(err):
		return false, nil
	case err != nil:
		return false, err
	}
	_ = p.record(req, audit.Event{Kind: audit.KindLogout, User: current.User, UserName: current.UserName, Session: current.ID, Reason: string(session.ReasonLogout)})
	if err := p.sessions.End(r.Context(), current.ID, session.ReasonLogout); err != nil && !isGone(err) {
		return false, err
	}
	return true, nil
}

// signedOut says that it is done.
func (p *Proxy) signedOut(w http.ResponseWriter, req *request, signIn string) {
	p.pages.SignedOut(w, console.SignedOut{SignIn: signIn, Provider: p.provider.LogoutURL(req.routing.public.String() + "/")})
}

// returnTo is where a logout asks to go, in its form or its query.
func returnTo(w http.ResponseWriter, r *http.Request, req *request) string {
	const most = 8 << 10
	r.Body = http.MaxBytesReader(w, r.Body, most)
	if r.ParseForm() == nil {
		if text := r.PostForm.Get("return_to"); text != "" {
			return text
		}
	}
	return queryOf(req).Get("return_to")
}

// askLogout shows the button, or says that there is nothing to sign out of. Only the login host can be sure of that.
func (p *Proxy) askLogout(w http.ResponseWriter, r *http.Request, req *request) {
	target, ok := req.routing.resolve(queryOf(req).Get("return_to"), req.routing.origin(req.host))
	_, err := p.currentSession(r, req)
	switch {
	case err != nil && req.host == req.routing.host:
		p.signedOut(w, req, target.String())
	case ok:
		p.pages.SignOut(w, console.SignOut{Who: p.who(req), Action: logoutPath, ReturnTo: target.String()})
	default:
		p.pages.SignOut(w, console.SignOut{Who: p.who(req), Action: logoutPath})
	}
}
