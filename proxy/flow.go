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

// flow is one login under way. It lives in a sealed cookie on the login host, so that whoever begins a million of
// them fills no memory of ours. The cookie's name carries the beginning of state: tabs do not disturb each other.
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

// begin sends the browser to the identity provider.
func (p *Proxy) beginLogin(w http.ResponseWriter, r *http.Request, req *request, target redirectTarget, bind string, maxAge time.Duration) {
	if !p.loginStarts.Allow(req.address) {
		p.turnDown(w, r, req, *deny(tooMany, "logins begun"))
		return
	}
	location, f, err := p.provider.Begin(r.Context(), maxAge)
	if err != nil {
		p.turnDown(w, r, req, *deny(providerUnavailable, err.Error()))
		return
	}
	if err := p.storeFlow(w, r, req, flow{Flow: f, To: target.String(), Bind: bind, At: req.received.UnixNano()}); err != nil {
		p.turnDown(w, r, req, denial{status: http.StatusServiceUnavailable, reason: sessionUnavailable, detail: err.Error()})
		return
	}
	redirect(w, http.StatusFound, location)
}

// keepFlow seals f into a cookie and takes away the oldest beyond those kept.
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
		http.SetCookie(w, withAge(newCookie(name, ""), -1))
	}
	name, _ := flowName(f.State)
	http.SetCookie(w, withAge(newCookie(name, sealed), int(flowLifetime/time.Second)))
	return nil
}

func withAge(c *http.Cookie, seconds int) *http.Cookie {
	c.MaxAge = seconds
	return c
}

// flowName is the name of the cookie of the flow with a state.
func flowName(state string) (name string, ok bool) {
	const characters = 8
	if len(state) < characters {
		return "", false
	}
	head := state[:characters]
	return flowCookie + head, strings.Trim(head, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// surplusFlows are the names of flow cookies that must go to make room for one more: those that open no more, and
// the oldest.
func (p *Proxy) surplusFlows(r *http.Request, req *request) (names []string) {
	type kept struct {
		name string
		at   int64
	}
	var all []kept
	for _, c := range r.Cookies() {
		if !strings.HasPrefix(c.Name, flowCookie) {
			continue
		}
		f, ok := p.openFlow(req, c.Value)
		if !ok {
			f.At = 0
		}
		all = append(all, kept{c.Name, f.At})
	}
	slices.SortFunc(all, func(a, b kept) int { return cmp.Compare(a.at, b.at) })
	for i, one := range all {
		if one.at == 0 || len(all)-i >= maxFlows {
			names = append(names, one.name)
		}
	}
	return names
}

func (p *Proxy) openFlow(req *request, sealed string) (f flow, ok bool) {
	text, err := p.sessions.Unseal(flowPurpose, req.host, sealed)
	if err != nil || json.Unmarshal(text, &f) != nil {
		return flow{}, false
	}
	return f, true
}

// takeFlow is the flow of this browser with a state; its cookie is taken away, whatever comes of it.
func (p *Proxy) consumeFlow(w http.ResponseWriter, r *http.Request, req *request, state string) (flow, bool) {
	name, ok := flowName(state)
	if !ok {
		return flow{}, false
	}
	sealed, ok := session.OneCookie(r.Header, name)
	if !ok {
		return flow{}, false
	}
	http.SetCookie(w, withAge(newCookie(name, ""), -1))
	f, ok := p.openFlow(req, sealed)
	return f, ok && f.State == state
}
