// Package origin says when a page of another origin may use a person's session.
//
// A session is sent by the browser, whichever page asks for it, so a session alone does not show that the person wants
// what another page sends (cross-site WebSocket hijacking, CSRF). SameSite keeps the cookie from pages of other sites, but
// not from pages of other hosts of the same site, such as another application behind the proxy. Every function is pure.
package origin

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"sallyport/proxy/internal/canonical"
	"sallyport/proxy/internal/header"
)

// Request is how a request crosses from the origin of one page to that of its route.
type Request struct {
	crossing crossing
	named    string // by Origin; "" if it names none, or more than one
}

type crossing uint8

const (
	noCrossing     crossing = iota // nothing that needs the route's consent
	socketCrossing                 // a WebSocket handshake by a page of another origin
	siteCrossing                   // a change that a page of another host of the same site sends
	foreignChange                  // a change that any other page sends
)

// Of returns how a request with headers h crosses origins; own is the origin of its host. Requests without the headers
// that browsers send are those of programs, which choose what they send.
func Of(method string, h http.Header, own string) (r Request) {
	named := h["Origin"]
	if len(named) == 1 {
		r.named = named[0]
	}
	foreign := len(named) > 0 && r.named != own
	switch site := h["Sec-Fetch-Site"]; {
	case foreign && opensWebSocket(h):
		r.crossing = socketCrossing
	case isSafe(method):
	case len(site) == 0 && !foreign, len(site) == 1 && (site[0] == "same-origin" || site[0] == "none"):
	case len(site) == 1 && site[0] == "same-site":
		r.crossing = siteCrossing
	default:
		r.crossing = foreignChange
	}
	return r
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

// Rules are the origins whose pages may use a route with a person's session.
type Rules struct {
	Allowed      map[string]bool // by origin, as browsers write it
	AllowSite    bool            // changes that pages of other hosts of the same site send
	AllowForeign bool            // changes that any page sends
}

// Allow reports whether a request with a session may cross origins as r says.
func (rules Rules) Allow(r Request) bool {
	switch {
	case r.crossing == noCrossing, r.named != "" && rules.Allowed[r.named]:
		return true
	case r.crossing == siteCrossing:
		return rules.AllowSite
	}
	return r.crossing == foreignChange && rules.AllowForeign
}

// LetRead lets the script of an allowed origin read a denial with headers h (Fetch §3.3, the CORS protocol).
func (rules Rules) LetRead(h, request http.Header) {
	if len(rules.Allowed) == 0 {
		return
	}
	h.Add("Vary", "Origin")
	if named := request["Origin"]; len(named) == 1 && rules.Allowed[named[0]] {
		h.Set("Access-Control-Allow-Origin", named[0])
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After")
	}
}

// Check returns an error unless text is an origin as browsers write it, since the two are compared byte for byte.
func Check(text string) error {
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
	if u.Scheme == "https" && u.Port() == "443" || u.Scheme == "http" && u.Port() == "80" {
		return fmt.Errorf("browsers leave out the default port; write %s://%s", u.Scheme, u.Hostname())
	}
	return nil
}
