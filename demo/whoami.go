package demo

import (
	"net/http"
	"sort"
	"strings"
)

// whoami is the third upstream. It shows what Sallyport says about the caller.
type whoami struct {
	verifier *verifier
	pages    *pages
}

type header struct{ Name, Value string }

type whoamiPage struct {
	Caller    caller
	Headers   []header
	Cookies   bool // whether Sallyport's cookie reached us; it must not
	Assertion assertion
	Token     string // the assertion as received
	Problem   string // why the assertion is invalid; "" if it is valid
	Keys      string // URL of the keys of Sallyport
}

// Lifetime returns the lifetime of the assertion in seconds.
func (p whoamiPage) Lifetime() int64 { return p.Assertion.Expires - p.Assertion.Issued }

func (u *whoami) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", u.show)
	u.pages.assets(mux)
	return mux
}

func (u *whoami) show(w http.ResponseWriter, r *http.Request) {
	page := whoamiPage{Caller: callerOf(r), Headers: identityHeaders(r.Header), Token: r.Header.Get("X-Sallyport-Assertion"), Keys: u.verifier.keys}
	page.Cookies = len(r.CookiesNamed("__Host-sallyport")) > 0
	var err error
	if page.Assertion, err = u.verifier.verify(r.Context(), page.Token); err != nil {
		page.Problem = err.Error()
	}
	u.pages.write(w, "whoami.html", page)
}

// identityHeaders returns the headers about the caller, sorted, without the assertion.
func identityHeaders(h http.Header) []header {
	var found []header
	for name, values := range h {
		if name != "X-Sallyport-Assertion" && (strings.HasPrefix(name, "X-") || name == "Forwarded" || name == "Authorization") {
			found = append(found, header{name, strings.Join(values, ", ")})
		}
	}
	sort.Slice(found, func(i, j int) bool { return found[i].Name < found[j].Name })
	return found
}
