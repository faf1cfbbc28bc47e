package console

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"

	"sallyport/admin"
	"sallyport/grant"
	"sallyport/session"
)

// CodePath is the path of the page where a break-glass code is entered.
const CodePath = "/.sallyport/breakglass"

const (
	loginPath   = "/.sallyport/login" // leads a browser that is signed in to return_to
	maxCodeForm = 8 << 10             // bytes
)

// How often one address may enter a code that is not valid. Valid ones are accepted all the same.
const wrongPerSecond, wrongBurst = 0.2, 20

// Code is the page where a break-glass code is entered.
type Code struct {
	Action   string
	ReturnTo string // where the session leads when it has begun
	Wrong    bool   // the code that was entered is not valid
	Request  string
}

// Code writes c. The Content-Security-Policy does not restrict form-action, as on the page [SignOut].
func (p *Pages) Code(w http.ResponseWriter, c Code) {
	status := http.StatusOK
	if c.Wrong {
		status = http.StatusForbidden
	}
	p.headers(w.Header(), "code", false)
	p.write(w, status, "code", c)
}

// AcceptsCodes reports whether a break-glass code may be entered now. A nil Handler accepts none.
func (h *Handler) AcceptsCodes() bool { return h != nil && h.admin != nil && h.admin.BreakGlassArmed() }

// code serves the page where a break-glass code is entered, and begins the session of a valid one. While no code is armed
// there is no such page, so that nobody learns from it whether there ever is.
func (h *Handler) code(w http.ResponseWriter, r *http.Request, query url.Values, c Caller) error {
	if !h.AcceptsCodes() {
		return ErrNoPage
	}
	page := Code{Action: CodePath, ReturnTo: cmp.Or(query.Get("return_to"), "/"), Request: c.Request}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		h.pagesFor(c).Code(w, page)
		return nil
	case http.MethodPost:
	default:
		return &MethodError{[]string{http.MethodGet, http.MethodHead, http.MethodPost}}
	}
	if err := http.NewCrossOriginProtection().Check(r); err != nil {
		return errors.Join(ErrCrossOrigin, err)
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxCodeForm)
	if r.ParseForm() == nil { // otherwise there is no code, which is not valid
		page.ReturnTo = cmp.Or(r.PostForm.Get("return_to"), page.ReturnTo)
	}
	return h.redeem(w, r, page, c)
}

// redeem begins the session of the code in the form, or shows the page again.
func (h *Handler) redeem(w http.ResponseWriter, r *http.Request, page Code, c Caller) error {
	in := admin.Browser{Host: c.Host, Address: c.Address, Agent: r.UserAgent(), Request: c.Request}
	if c.Session != nil {
		in.Session = c.Session.ID
	}
	exhausted := h.wrong.Exhausted(c.Address)
	_, token, err := h.admin.RedeemBreakGlass(r.Context(), r.PostForm.Get("code"), in)
	switch {
	case errors.Is(err, grant.ErrCode) && exhausted:
		return ErrTooMany
	case errors.Is(err, grant.ErrCode):
		h.wrong.Allow(c.Address)
		page.Wrong = true
		h.pagesFor(c).Code(w, page)
		return nil
	case err != nil:
		return err
	}
	http.SetCookie(w, session.SetCookie(token))
	next := page.ReturnTo
	if next != "/" {
		next = loginPath + "?" + url.Values{"return_to": {next}}.Encode()
	}
	w.Header().Set("Location", next)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}
