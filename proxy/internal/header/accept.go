package header

import (
	"net/http"
	"strconv"
	"strings"
)

// Navigates reports whether a browser is opening a page, as opposed to a page, a script or a program that fetches
// something. Browsers say so (Fetch Metadata §2.2); without that, a GET for HTML that is no XMLHttpRequest counts.
func Navigates(r *http.Request, method string) bool {
	if method != http.MethodGet || first(r.Header["Upgrade"]) != "" {
		return false
	}
	if mode := r.Header["Sec-Fetch-Mode"]; len(mode) > 0 {
		return mode[0] == "navigate"
	}
	return WantsPage(r)
}

// OpensWindow reports whether a browser opens a page in a window or tab of its own, where our pages can run their scripts.
// Programs that only follow redirects do not look like one.
func OpensWindow(r *http.Request) bool {
	return r.Method == http.MethodGet && IsSingle(r.Header["Sec-Fetch-Mode"], "navigate") && IsSingle(r.Header["Sec-Fetch-Dest"], "document") &&
		strings.HasPrefix(r.UserAgent(), "Mozilla/")
}

// WantsPage reports whether a person would read the response: it is not for a script, and the client accepts HTML and
// does not prefer JSON to it.
func WantsPage(r *http.Request) bool {
	if first(r.Header["X-Requested-With"]) != "" || first(r.Header["Upgrade"]) != "" {
		return false
	}
	if mode := first(r.Header["Sec-Fetch-Mode"]); mode != "" && mode != "navigate" {
		return false
	}
	html := max(quality(r, "text/html"), quality(r, "application/xhtml+xml"))
	return html > 0 && html >= max(quality(r, "application/json"), quality(r, "application/problem+json"))
}

// first returns the first value of a header, or "". [http.Header.Get] takes longer, since it looks whether the name is canonical.
func first(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// quality returns the weight that the Accept header gives to a media type by its name, from 0 to 1 (RFC 9110 §12.5.1).
// Wildcards do not count: programs send them.
func quality(r *http.Request, media string) float64 {
	for _, line := range r.Header["Accept"] {
		for part := range strings.SplitSeq(line, ",") {
			name, params, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(name), media) {
				return weight(params)
			}
		}
	}
	return 0
}

// weight returns the q parameter; 1 if there is none, 0 if it is invalid.
func weight(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(param, "=")
		if strings.EqualFold(strings.TrimSpace(name), "q") {
			q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil || q < 0 || q > 1 {
				return 0
			}
			return q
		}
	}
	return 1
}

// IsPreflight reports whether r is a CORS preflight request (Fetch §3.3.2), which a browser sends without credentials.
func IsPreflight(r *http.Request) bool {
	return r.Method == http.MethodOptions && r.ContentLength == 0 && len(r.TransferEncoding) == 0 &&
		len(r.Header["Origin"]) == 1 && len(r.Header["Access-Control-Request-Method"]) == 1
}
