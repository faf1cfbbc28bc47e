package proxy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/oidc"
	"sallyport/session"
)

// flow is a login that was started and whose callback has not arrived. It is stored in sealed cookies on the login host, so
// that abandoned logins use no memory of the server. The names of the cookies hold the beginning of state, so that logins
// in several tabs do not overwrite each other.
//
// Where the login leads travels in the parameter state, sealed too, so that a browser that lost the flow still continues
// there. A target that is too long for a URL is in the flow instead, and state has the path of it alone.
type flow struct {
	oidc.Flow
	To string `json:"to,omitempty"` // "": the target in state
	At int64  `json:"at"`           // nanoseconds since 1970
}

const (
	flowCookie    = session.CookieName + "-flow-"
	flowPurpose   = "flow"
	flowLifetime  = 2 * time.Hour // people leave the provider's page open
	maxFlowBytes  = 6 << 10       // of all flows in a browser but the newest: many servers read 8 KiB of cookies
	maxCookie     = 3500          // bytes of the value of one cookie; browsers accept 4096 with its name
	statePurpose  = "state"
	stateLifetime = 24 * time.Hour
	maxStateTo    = 1024 // bytes of a target that travels in state
)

// loginOptions say what a login asks for beyond who the person is.
type loginOptions struct {
	maxAge        time.Duration // how recent the sign-in must be; 0 for any
	selectAccount bool          // the provider shall ask for the account
}

// beginLogin redirects the browser to the identity provider.
func (p *Proxy) beginLogin(w http.ResponseWriter, r *http.Request, req *request, target redirectTarget, o loginOptions) *denial {
	if !p.throttles.logins.Allow(req.address) {
		return deny(tooMany, "logins started")
	}
	carry, complete, err := p.sealTarget(req, target)
	if err != nil {
		return deny(sessionUnavailable, err.Error())
	}
	location, f, err := p.provider.BeginWith(r.Context(), oidc.LoginOptions{MaxAge: o.maxAge, SelectAccount: o.selectAccount, Carry: carry})
	if err != nil {
		return deny(providerUnavailable, err.Error())
	}
	started := flow{Flow: f, At: req.received.UnixNano()}
	if !complete {
		started.To = target.String()
	}
	if err := p.storeFlow(w, r, req, started); err != nil {
		return deny(sessionUnavailable, err.Error())
	}
	redirect(w, http.StatusFound, location)
	return nil
}

// sealTarget seals target for the parameter state. It reports whether the whole target is in it; of one that is too long
// only the path is, or only the origin.
func (p *Proxy) sealTarget(req *request, target redirectTarget) (sealed string, complete bool, err error) {
	text := target.String()
	if complete = len(text) <= maxStateTo; !complete {
		path, _, _ := strings.Cut(text, "?")
		if text, _, _ = strings.Cut(path, "#"); len(text) > maxStateTo {
			text = target.origin + "/"
		}
	}
	sealed, err = p.sessions.Seal(statePurpose, req.host, []byte(text), stateLifetime)
	return sealed, complete, err
}

// targetOf returns where the login with a state leads; to, if it is not "", takes precedence. The root of the login host
// is for a state that is not ours.
func (p *Proxy) targetOf(req *request, to, state string) redirectTarget {
	if to == "" {
		_, carry, _ := strings.Cut(state, ".")
		text, err := p.sessions.Unseal(statePurpose, req.host, carry)
		if err == nil {
			to = string(text)
		}
	}
	target, _ := req.routing.resolve(to, req.routing.origin(req.host))
	return target
}

// storeFlow seals f into cookies and deletes the cookies of the oldest flows beyond maxFlowBytes.
func (p *Proxy) storeFlow(w http.ResponseWriter, r *http.Request, req *request, f flow) error {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false) // or each & of a long target would take six bytes
	if err := encoder.Encode(f); err != nil {
		return err
	}
	sealed, err := p.sessions.Seal(flowPurpose, req.host, text.Bytes(), flowLifetime)
	if err != nil {
		return err
	}
	name, _ := flowName(f.State)
	clearCookies(w, surplusCookies(r, flowCookie, maxFlowBytes-len(name)-min(len(sealed), maxCookie), func(name, _ string) int64 { return p.flowAge(r, req, name) }))
	for i, part := range slices.Collect(slices.Chunk([]byte(sealed), maxCookie)) {
		http.SetCookie(w, withMaxAge(newCookie(partName(name, i), string(part)), int(flowLifetime/time.Second)))
	}
	return nil
}

// partName returns the name of the cookie with a part of a flow.
func partName(name string, i int) string {
	if i == 0 {
		return name
	}
	return name + "." + strconv.Itoa(i)
}

// flowAge returns when the flow began to which a cookie belongs; 0 if it cannot be unsealed.
func (p *Proxy) flowAge(r *http.Request, req *request, cookie string) int64 {
	name, _, _ := strings.Cut(cookie, ".")
	sealed, _ := readParts(r, name)
	f, _ := p.unsealFlow(req, sealed)
	return f.At
}

// maxParts is the number of cookies of the longest flow.
const maxParts = 10

// readParts returns the sealed flow that the cookies of a name hold together, and their names.
func readParts(r *http.Request, name string) (sealed string, names []string) {
	var all strings.Builder
	for i := range maxParts {
		part, ok := session.OneCookie(r.Header, partName(name, i))
		if !ok {
			break
		}
		all.WriteString(part)
		names = append(names, partName(name, i))
	}
	return all.String(), names
}

func withMaxAge(c *http.Cookie, seconds int) *http.Cookie {
	c.MaxAge = seconds
	return c
}

// clearCookies makes the browser delete cookies.
func clearCookies(w http.ResponseWriter, names []string) {
	for _, name := range names {
		http.SetCookie(w, withMaxAge(newCookie(name, ""), -1))
	}
}

// surplusCookies returns the names of the cookies with a prefix to delete, so that the rest have at most limit bytes: those
// whose age is 0, and the oldest.
func surplusCookies(r *http.Request, prefix string, limit int, age func(name, value string) int64) (names []string) {
	type stored struct {
		name  string
		bytes int
		at    int64
	}
	var all []stored
	for _, c := range r.Cookies() {
		if strings.HasPrefix(c.Name, prefix) {
			all = append(all, stored{c.Name, len(c.Name) + len(c.Value), age(c.Name, c.Value)})
		}
	}
	slices.SortStableFunc(all, func(a, b stored) int { return cmp.Compare(b.at, a.at) })
	for _, s := range all {
		if limit -= s.bytes; s.at == 0 || limit < 0 {
			names = append(names, s.name)
		}
	}
	return names
}

// flowName returns the name of the first cookie for the flow with a state. It reports false if the state cannot be ours.
func flowName(state string) (name string, ok bool) {
	const characters = 8
	if len(state) < characters {
		return "", false
	}
	head := state[:characters]
	return flowCookie + head, strings.Trim(head, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

func (p *Proxy) unsealFlow(req *request, sealed string) (f flow, ok bool) {
	text, err := p.sessions.Unseal(flowPurpose, req.host, sealed)
	if err != nil || json.Unmarshal(text, &f) != nil {
		return flow{}, false
	}
	return f, true
}

// consumeFlow returns the flow of this browser with a state, and deletes its cookies: a flow is valid once, whatever
// comes of the login.
func (p *Proxy) consumeFlow(w http.ResponseWriter, r *http.Request, req *request, state string) (flow, bool) {
	name, ok := flowName(state)
	if !ok {
		return flow{}, false
	}
	sealed, names := readParts(r, name)
	clearCookies(w, names)
	f, ok := p.unsealFlow(req, sealed)
	own, _, _ := strings.Cut(state, ".")
	return f, ok && f.State == own
}
