package proxy

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"sallyport/oidc"
	"sallyport/session"
)

// flow is a login that was started and whose callback has not arrived. It is stored in a sealed cookie on the login
// host, so that abandoned logins use no memory of the server. The name of the cookie holds the beginning of state, so
// that logins in several tabs do not overwrite each other.
type flow struct {
	oidc.Flow
	To   string `json:"to"`
	Bind string `json:"bind,omitempty"`
	At   int64  `json:"at"` // nanoseconds since 1970
}

const (
	flowCookie   = session.CookieName + "-flow-"
	flowPurpose  = "flow"
	flowLifetime = 15 * time.Minute
	maxFlows     = 5 // in one browser
)

// beginLogin redirects the browser to the identity provider.
func (p *Proxy) beginLogin(w http.ResponseWriter, r *http.Request, req *request, target redirectTarget, binding string, maxAge time.Duration) *denial {
	if !p.throttles.logins.Allow(req.address) {
		return deny(tooMany, "logins started")
	}
	location, f, err := p.provider.Begin(r.Context(), maxAge)
	if err != nil {
		return deny(providerUnavailable, err.Error())
	}
	if err := p.storeFlow(w, r, req, flow{Flow: f, To: target.String(), Bind: binding, At: req.received.UnixNano()}); err != nil {
		return deny(sessionUnavailable, err.Error())
	}
	redirect(w, http.StatusFound, location)
	return nil
}

// storeFlow seals f into a cookie and deletes the oldest flow cookies beyond maxFlows.
func (p *Proxy) storeFlow(w http.ResponseWriter, r *http.Request, req *request, f flow) error {
	text, err := json.Marshal(f)
	if err != nil {
		return err
	}
	sealed, err := p.sessions.Seal(flowPurpose, req.host, text, flowLifetime)
	if err != nil {
		return err
	}
	for _, name := range p.surplusFlows(r, req) {
		http.SetCookie(w, withMaxAge(newCookie(name, ""), -1))
	}
	name, _ := flowName(f.State)
	http.SetCookie(w, withMaxAge(newCookie(name, sealed), int(flowLifetime/time.Second)))
	return nil
}

func withMaxAge(c *http.Cookie, seconds int) *http.Cookie {
	c.MaxAge = seconds
	return c
}

// flowName returns the name of the cookie for the flow with a state. It reports false if the state cannot be ours.
func flowName(state string) (name string, ok bool) {
	const characters = 8
	if len(state) < characters {
		return "", false
	}
	head := state[:characters]
	return flowCookie + head, strings.Trim(head, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// surplusFlows returns the names of the flow cookies to delete before another is set: those that cannot be unsealed, and
// the oldest.
func (p *Proxy) surplusFlows(r *http.Request, req *request) (names []string) {
	type stored struct {
		name string
		at   int64
	}
	var all []stored
	for _, c := range r.Cookies() {
		if !strings.HasPrefix(c.Name, flowCookie) {
			continue
		}
		f, ok := p.unsealFlow(req, c.Value)
		if !ok {
			f.At = 0
		}
		all = append(all, stored{c.Name, f.At})
	}
	slices.SortFunc(all, func(a, b stored) int { return cmp.Compare(a.at, b.at) })
	for i, s := range all {
		if s.at == 0 || len(all)-i >= maxFlows {
			names = append(names, s.name)
		}
	}
	return names
}

func (p *Proxy) unsealFlow(req *request, sealed string) (f flow, ok bool) {
	text, err := p.sessions.Unseal(flowPurpose, req.host, sealed)
	if err != nil || json.Unmarshal(text, &f) != nil {
		return flow{}, false
	}
	return f, true
}

// consumeFlow returns the flow of this browser with a state, and deletes its cookie: a flow is valid once, whatever
// comes of the login.
func (p *Proxy) consumeFlow(w http.ResponseWriter, r *http.Request, req *request, state string) (flow, bool) {
	name, ok := flowName(state)
	if !ok {
		return flow{}, false
	}
	sealed, ok := session.OneCookie(r.Header, name)
	if !ok {
		return flow{}, false
	}
	http.SetCookie(w, withMaxAge(newCookie(name, ""), -1))
	f, ok := p.unsealFlow(req, sealed)
	return f, ok && f.State == state
}
