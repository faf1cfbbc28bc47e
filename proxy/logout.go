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
func (p *Proxy) logout(w http.ResponseWriter, r *http.Request, v *visit) {
	if v.method != http.MethodPost {
		p.askLogout(w, r, v)
		return
	}
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		p.turnDown(w, r, v, refusal{status: http.StatusForbidden, reason: crossOrigin, detail: err.Error()})
		return
	}
	ended, err := p.endSession(r, v)
	if err != nil {
		p.turnDown(w, r, v, refusal{status: http.StatusServiceUnavailable, reason: sessionUnavailable, detail: err.Error()})
		return
	}
	http.SetCookie(w, session.ClearCookie())
	to, ok := v.table.resolve(returnTo(w, r, v), v.table.origin(v.host))
	switch {
	case !wantsPage(r) && !ok:
		w.WriteHeader(http.StatusNoContent)
	case !ended && v.host != v.table.host: // the login host may know of a session that this host's cookie is not of
		redirect(w, http.StatusSeeOther, v.table.public.String()+logoutPath+"?"+url.Values{"return_to": {to.String()}}.Encode())
	case ok:
		redirect(w, http.StatusSeeOther, to.String())
	default:
		p.signedOut(w, v, "/")
	}
}

// endSession ends the session of the browser's cookie, and says whether there was one. That the record cannot be
// written is no reason to keep somebody signed in.
func (p *Proxy) endSession(r *http.Request, v *visit) (ended bool, err error) {
	cookie, ok := session.Cookie(r.Header)
	if !ok {
		return false, nil
	}
	one, err := p.sessions.Read(cookie, v.host)
	switch {
	case over(err):
		return false, nil
	case err != nil:
		return false, err
	}
	_ = p.record(v, audit.Event{Kind: audit.KindLogout, User: one.User, UserName: one.UserName, Session: one.ID, Reason: string(session.ReasonLogout)})
	if err := p.sessions.End(r.Context(), one.ID, session.ReasonLogout); err != nil && !over(err) {
		return false, err
	}
	return true, nil
}

// signedOut says that it is done.
func (p *Proxy) signedOut(w http.ResponseWriter, v *visit, signIn string) {
	p.pages.SignedOut(w, console.SignedOut{SignIn: signIn, Provider: p.provider.LogoutURL(v.table.public.String() + "/")})
}

// returnTo is where a logout asks to go, in its form or its query.
func returnTo(w http.ResponseWriter, r *http.Request, v *visit) string {
	const most = 8 << 10
	r.Body = http.MaxBytesReader(w, r.Body, most)
	if r.ParseForm() == nil {
		if text := r.PostForm.Get("return_to"); text != "" {
			return text
		}
	}
	return queryOf(v).Get("return_to")
}

// askLogout shows the button, or says that there is nothing to sign out of. Only the login host can be sure of that.
func (p *Proxy) askLogout(w http.ResponseWriter, r *http.Request, v *visit) {
	to, ok := v.table.resolve(queryOf(v).Get("return_to"), v.table.origin(v.host))
	_, err := p.standing(r, v)
	switch {
	case err != nil && v.host == v.table.host:
		p.signedOut(w, v, to.String())
	case ok:
		p.pages.SignOut(w, console.SignOut{Who: p.who(v), Action: logoutPath, ReturnTo: to.String()})
	default:
		p.pages.SignOut(w, console.SignOut{Who: p.who(v), Action: logoutPath})
	}
}
