package oidc_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"sallyport/oidc"
)

const authorizePath = "/oauth2/v2.0/authorize"

// TestProbeRedirect_IsOnlyGoodIfTheProviderComparesRedirectURIs: whatever the provider responds, an address that is not
// registered is never found to be.
func TestProbeRedirect_IsOnlyGoodIfTheProviderComparesRedirectURIs(t *testing.T) {
	const ours = login + "/.sallyport/callback"
	back := func(change func(to string, q url.Values) string) override {
		return func(w http.ResponseWriter, r *http.Request) bool {
			in := r.URL.Query()
			q := url.Values{"state": {in.Get("state")}, "error": {"login_required"}}
			w.Header().Set("Location", change(in.Get("redirect_uri"), q))
			w.WriteHeader(http.StatusFound)
			return true
		}
	}
	page := func(status int, text string) override {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.WriteHeader(status)
			_, _ = w.Write([]byte("<p>" + text + " a-canary</p>"))
			return true
		}
	}
	only := func(o override) override { // for our redirect URI; others get an error page
		return func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Query().Get("redirect_uri") != ours {
				return page(http.StatusBadRequest, "unknown redirect URI")(w, r)
			}
			return o(w, r)
		}
	}
	query := func(base string) func(string, url.Values) string {
		return func(_ string, q url.Values) string { return base + "?" + q.Encode() }
	}
	for name, c := range map[string]struct {
		respond override // nil: as Entra does
		is      error    // nil: some other error
		code    string   // without an error
	}{
		"registered":          {nil, nil, "login_required"},
		"error_page":          {page(http.StatusBadRequest, "AADSTS50011"), oidc.ErrNotRegistered, ""},
		"error_page_with_200": {page(http.StatusOK, "AADSTS50011: The redirect URI"), oidc.ErrNotRegistered, ""},
		"login_page":          {page(http.StatusOK, "Sign in"), nil, ""},
		"provider_fails":      {page(http.StatusBadGateway, "oops"), nil, ""},
		"too_many_requests":   {page(http.StatusTooManyRequests, "wait"), nil, ""},
		"any_address":         {back(func(to string, q url.Values) string { return to + "?" + q.Encode() }), oidc.ErrAnyRedirect, ""},
		"fails_once": {func(w http.ResponseWriter, r *http.Request) bool {
			return r.URL.Query().Get("redirect_uri") != ours && page(http.StatusBadGateway, "oops")(w, r)
		}, nil, ""},
		"any_address_without_state": {func(w http.ResponseWriter, r *http.Request) bool {
			return r.URL.Query().Get("redirect_uri") != ours && back(func(to string, _ url.Values) string { return to })(w, r)
		}, oidc.ErrAnyRedirect, ""},
		"another_host":     {only(back(query("https://evil.test/.sallyport/callback"))), nil, ""},
		"longer_host":      {only(back(query(login + ".evil.test/.sallyport/callback"))), nil, ""},
		"another_path":     {only(back(query(ours + "/more"))), nil, ""},
		"in_the_clear":     {only(back(query(strings.Replace(ours, "https", "http", 1)))), nil, ""},
		"with_user":        {only(back(query(strings.Replace(ours, "://", "://u@", 1)))), nil, ""},
		"own_error_page":   {only(back(query("/error"))), nil, ""},
		"without_state":    {only(back(func(to string, q url.Values) string { return to + "?error=login_required" })), nil, ""},
		"wrong_state":      {only(back(func(to string, q url.Values) string { return to + "?error=login_required&state=x" })), nil, ""},
		"without_response": {only(back(func(to string, q url.Values) string { q.Del("error"); return to + "?" + q.Encode() })), nil, ""},
		"without_location": {only(back(func(string, url.Values) string { return "" })), nil, ""},
		"other_error": {only(back(func(to string, q url.Values) string {
			q.Set("error", "interaction_required")
			return to + "?" + q.Encode() + "#_=_"
		})), nil, "interaction_required"},
	} {
		t.Run(name, func(t *testing.T) {
			h := startFixture(t, nil)
			h.entra.SignIn("")
			if c.respond != nil {
				h.override(func(w http.ResponseWriter, r *http.Request) bool { return isFor(r, authorizePath) && c.respond(w, r) })
			}
			code, err := h.ProbeRedirect(t.Context())
			if c.code != "" {
				if err != nil || code != c.code {
					t.Errorf("the result is %q, %v", code, err)
				}
				return
			}
			known := errors.Is(err, oidc.ErrNotRegistered) || errors.Is(err, oidc.ErrAnyRedirect)
			if err == nil || code != "" || c.is != nil && !errors.Is(err, c.is) || c.is == nil && known || strings.Contains(err.Error(), "canary") {
				t.Errorf("the result is %q, %v, want %v", code, err, c.is)
			}
		})
	}
}
