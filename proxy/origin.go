package proxy

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"sallyport/proxy/internal/header"

	"sallyport/proxy/internal/canonical"
)

// origins is how a request crosses from the origin of one page to that of its route. A session is sent by the browser,
// whichever page asks for it, so a session alone does not show that the person wants what another page sends
// (cross-site WebSocket hijacking, CSRF). SameSite keeps the cookie from pages of other sites, but not from pages of
// other hosts of the same site, such as another application behind the proxy.
type origins struct {
	crossing crossing
	origin   string // the one that Origin names; "" if it names none, or more than one
}

type crossing uint8

const (
	noCrossing     crossing = iota // nothing that needs the route's consent
	socketCrossing                 // a WebSocket handshake by a page of another origin
	siteCrossing                   // a change that a page of another host of the same site sends
	foreignChange                  // a change that any other page sends
)

// originsOf returns how a request with headers h crosses origins. Requests without the headers that browsers send are
// those of programs, which choose what they send.
func (req *request) originsOf(h http.Header) (o origins) {
	named := h["Origin"]
	if len(named) == 1 {
		o.origin = named[0]
	}
	foreign := len(named) > 0 && o.origin != req.routing.origin(req.host)
	switch site := h["Sec-Fetch-Site"]; {
	case foreign && opensWebSocket(h):
		o.crossing = socketCrossing
	case isSafe(req.method):
	case len(site) == 0 && !foreign, len(site) == 1 && (site[0] == "same-origin" || site[0] == "none"):
	case len(site) == 1 && site[0] == "same-site":
		o.crossing = siteCrossing
	default:
		o.crossing = foreignChange
	}
	return o
}

// opensWebSocket reports whether the request may become a WebSocket. The headers of a check need not hold all of a
// handshake: front proxies remove those that concern the connection.
func opensWebSocket(h http.Header) bool {
	return header.HasToken(h["Upgrade"], "websocket") || len(h["Sec-Websocket-Key"]) > 0 || header.IsSingle(h["Sec-Fetch-Mode"], "websocket")
}

// isSafe reports whether a method asks for no change (RFC 9110 §9.2.1).
func isSafe(method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodOptions || method == http.MethodTrace
}

// originRules are the origins whose pages may use a route with a person's session.
type originRules struct {
	allowed      map[string]bool // by origin, as browsers write it
	allowSite    bool            // changes that pages of other hosts of the same site send
	allowForeign bool            // changes that any page sends
}

const (
	rejectCrossOrigin = "reject"
	allowCrossOrigin  = "allow"
)

// compileOrigins returns the rules of a route. A route that lets CORS preflight requests pass is made for scripts of
// other hosts, which have worked without being named; it goes on to accept those of the same site until it names some.
func (r Route) compileOrigins() originRules {
	allow := r.CrossOrigin == allowCrossOrigin
	forScripts := r.CrossOrigin == "" && r.Preflight == passPreflight && len(r.AllowedOrigins) == 0
	return originRules{allowed: setOf(r.AllowedOrigins), allowSite: allow || forScripts, allowForeign: allow}
}

// allow reports whether a request with a session may cross origins as o says.
func (rules originRules) allow(o origins) bool {
	switch {
	case o.crossing == noCrossing, o.origin != "" && rules.allowed[o.origin]:
		return true
	case o.crossing == siteCrossing:
		return rules.allowSite
	}
	return o.crossing == foreignChange && rules.allowForeign
}

// letRead lets the script of an allowed origin read a denial (Fetch §3.3, the CORS protocol).
func (rules originRules) letRead(h, request http.Header) {
	if len(rules.allowed) == 0 {
		return
	}
	h.Add("Vary", "Origin")
	if named := request["Origin"]; len(named) == 1 && rules.allowed[named[0]] {
		h.Set("Access-Control-Allow-Origin", named[0])
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After")
	}
}

func (r Route) checkOrigins(fault func(path, problem string)) {
	for i, text := range r.AllowedOrigins {
		if err := checkOrigin(text); err != nil {
			fault(fmt.Sprintf("allowed_origins[%d]", i), err.Error())
		}
	}
	if r.CrossOrigin != "" && r.CrossOrigin != rejectCrossOrigin && r.CrossOrigin != allowCrossOrigin {
		fault("cross_origin", fmt.Sprintf("%q is unknown; write reject or allow", r.CrossOrigin))
	}
}

// checkOrigin checks that text is an origin as browsers write it, since the two are compared byte for byte.
func checkOrigin(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Hostname() == "" || u.Scheme+"://"+u.Host != text || text != strings.ToLower(text) || !canonical.IsPrintable(text) {
		return fmt.Errorf("%q is not an origin; write scheme and host in small letters, such as https://shop.example.com, with a port unless it is the default", text)
	}
	if u.Scheme != "https" && u.Scheme != "http" {
		return nil // that of an app, such as capacitor://localhost
	}
	if _, err := canonical.HostName(u.Hostname()); err != nil {
		return err
	}
	if port := u.Port(); port == defaultPort(u.Scheme) {
		return fmt.Errorf("browsers leave out the default port; write %s://%s", u.Scheme, u.Hostname())
	}
	return nil
}
