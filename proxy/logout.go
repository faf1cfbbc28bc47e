package proxy

import (
	"net/http"
	"net/url"

	"sallyport/audit"
	"sallyport/console"
	"sallyport/proxy/internal/header"
	"sallyport/session"
)

// logout ends the session on every host. A GET only shows the button; pressing it sends a POST from this origin, so that
// no other site can sign anybody out.
func (p *Proxy) logout(w http.ResponseWriter, r *http.Request, req *request) *denial {
	if req.method != http.MethodPost {
		p.showLogout(w, r, req)
		return nil
	}
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		return deny(crossOrigin, err.Error())
	}
	ended, err := p.endSession(r, req)
	if err != nil {
		return deny(sessionUnavailable, err.Error())
	}
	http.SetCookie(w, session.ClearCookie())
	target, ok := req.routing.resolve(returnTo(w, r, req), req.routing.origin(req.host))
	switch {
	case !header.WantsPage(r) && !ok:
		w.WriteHeader(http.StatusNoContent)
	case !ended && req.host != req.routing.host: // the login host may have a session of which this host has no cookie
		redirect(w, http.StatusSeeOther, req.routing.public.String()+logoutPath+"?"+url.Values{"return_to": {target.String()}}.Encode())
	case ok:
		redirect(w, http.StatusSeeOther, target.String())
	default:
		p.showSignedOut(w, req, "/")
	}
	return nil
}

// endSession ends the session of the browser's cookie and reports whether there was one. It does so even if the event
// cannot be recorded: that is no reason to keep somebody signed in.
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

func (p *Proxy) showSignedOut(w http.ResponseWriter, req *request, signIn string) {
	p.pages.SignedOut(w, console.SignedOut{SignIn: signIn, Provider: p.provider.LogoutURL(req.routing.public.String() + "/")})
}

// returnTo returns the return_to of a logout, from its form or its query.
func returnTo(w http.ResponseWriter, r *http.Request, req *request) string {
	const maxForm = 8 << 10
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if r.ParseForm() == nil {
		if text := r.PostForm.Get("return_to"); text != "" {
			return text
		}
	}
	return queryOf(req).Get("return_to")
}

// showLogout shows the page with the button, or, if nobody is signed in, the page that says so. Only the login host can
// be sure that nobody is.
func (p *Proxy) showLogout(w http.ResponseWriter, r *http.Request, req *request) {
	target, valid := req.routing.resolve(queryOf(req).Get("return_to"), req.routing.origin(req.host))
	if _, ok := p.currentSession(r, req); !ok {
		if req.host != req.routing.host {
			redirect(w, http.StatusFound, req.routing.public.String()+logoutPath+"?"+url.Values{"return_to": {target.String()}}.Encode())
			return
		}
		p.showSignedOut(w, req, target.String())
		return
	}
	page := console.SignOut{Person: p.person(req), Action: logoutPath}
	if valid {
		page.ReturnTo = target.String()
	}
	p.pages.SignOut(w, page)
}
