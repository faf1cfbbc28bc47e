package proxy

import (
	"net/http"

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
	if err := p.endSession(r, v); err != nil {
		p.turnDown(w, r, v, refusal{status: http.StatusServiceUnavailable, reason: sessionUnavailable, detail: err.Error()})
		return
	}
	http.SetCookie(w, session.ClearCookie())
	p.signedOut(w, r, v)
}

// endSession ends the session of the browser's cookie, if there is one. That the record cannot be written is no
// reason to keep somebody signed in.
func (p *Proxy) endSession(r *http.Request, v *visit) error {
	cookie, ok := session.Cookie(r.Header)
	if !ok {
		return nil
	}
	one, err := p.sessions.Read(cookie, v.host)
	switch {
	case over(err):
		return nil
	case err != nil:
		return err
	}
	p.record(v, audit.Event{Kind: audit.KindLogout, User: one.User, UserName: one.UserName, Session: one.ID, Reason: string(session.ReasonLogout)})
	if err := p.sessions.End(r.Context(), one.ID, session.ReasonLogout); err != nil && !over(err) {
		return err
	}
	return nil
}

// signedOut sends the browser where it asked to go, or says that it is done.
func (p *Proxy) signedOut(w http.ResponseWriter, r *http.Request, v *visit) {
	if to, ok := v.table.resolve(returnTo(w, r, v), v.table.origin(v.host)); ok {
		redirect(w, http.StatusSeeOther, to.String())
		return
	}
	if !wantsPage(r) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	p.pages.SignedOut(w, console.SignedOut{SignIn: "/", Provider: p.provider.LogoutURL(v.table.public.String() + "/")})
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

// askLogout shows the button.
func (p *Proxy) askLogout(w http.ResponseWriter, r *http.Request, v *visit) {
	ask := console.SignOut{Action: logoutPath}
	if _, err := p.standing(r, v); err == nil {
		ask.Who = p.who(v)
	}
	if to, ok := v.table.resolve(queryOf(v).Get("return_to"), v.table.origin(v.host)); ok {
		ask.ReturnTo = to.String()
	}
	p.pages.SignOut(w, ask)
}
