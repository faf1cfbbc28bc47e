package origin

import "net/http"

// Named returns the origin that the request names; "" if it names none, or more than one.
func (r Request) Named() string { return r.named }

// IsChange reports whether a page of another origin sent the request, and it asks for a change.
func (r Request) IsChange() bool { return r.crossing == siteCrossing || r.crossing == foreignChange }

// IsForeign reports whether a page of another site sent a change, with which browsers send no session.
func (r Request) IsForeign() bool { return r.crossing == foreignChange }

// IsOwn reports whether the browser says that a page of its own origin sent a request with headers h.
func IsOwn(h http.Header, own string) bool {
	if site := h["Sec-Fetch-Site"]; len(site) > 0 {
		return len(site) == 1 && site[0] == "same-origin"
	}
	return len(h["Origin"]) == 1 && h["Origin"][0] == own
}
