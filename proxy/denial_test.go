package proxy

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"sallyport/console"
	"sallyport/proxy/internal/header"
	"sallyport/proxy/internal/response"
)

// The Accept headers of browsers.
const (
	chromeAccept  = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8,application/signed-exchange;v=b3;q=0.7"
	firefoxAccept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
)

func TestNavigates_ByMethodAndHeaders(t *testing.T) {
	for _, c := range []struct {
		name      string
		method    string
		header    map[string]string
		navigates bool
		page      bool
	}{
		{"Chrome opens a page", "GET", map[string]string{"Accept": chromeAccept, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}, true, true},
		{"Firefox opens a page", "GET", map[string]string{"Accept": firefoxAccept, "Sec-Fetch-Mode": "navigate"}, true, true},
		{"an old browser opens a page", "GET", map[string]string{"Accept": firefoxAccept}, true, true},
		{"a browser posts a form", "POST", map[string]string{"Accept": chromeAccept, "Sec-Fetch-Mode": "navigate"}, false, true},
		{"a script fetches", "GET", map[string]string{"Accept": "*/*", "Sec-Fetch-Mode": "cors"}, false, false},
		{"a script fetches HTML", "GET", map[string]string{"Accept": "text/html", "Sec-Fetch-Mode": "same-origin"}, false, false},
		{"a page loads an image", "GET", map[string]string{"Accept": "image/avif,image/webp,*/*", "Sec-Fetch-Mode": "no-cors"}, false, false},
		{"a page opens a socket", "GET", map[string]string{"Upgrade": "websocket", "Connection": "Upgrade", "Sec-Fetch-Mode": "websocket"}, false, false},
		{"an old page opens a socket", "GET", map[string]string{"Upgrade": "websocket", "Accept": "text/html"}, false, false},
		{"jQuery asks for HTML", "GET", map[string]string{"Accept": "text/html, */*; q=0.01", "X-Requested-With": "XMLHttpRequest"}, false, false},
		{"an old script asks for JSON", "GET", map[string]string{"Accept": "application/json, text/javascript, */*; q=0.01"}, false, false},
		{"an API client prefers JSON", "GET", map[string]string{"Accept": "application/json, text/html;q=0.5"}, false, false},
		{"curl", "GET", map[string]string{"Accept": "*/*"}, false, false},
		{"Go's client", "GET", nil, false, false},
		{"HTML with weight 0", "GET", map[string]string{"Accept": "text/html;q=0, application/json"}, false, false},
		{"HTML with an invalid weight", "GET", map[string]string{"Accept": "text/html;q=NaN"}, false, false},
		{"HTML in capitals", "GET", map[string]string{"Accept": "TEXT/HTML; Q=0.3"}, true, true},
		{"an event stream", "GET", map[string]string{"Accept": "text/event-stream"}, false, false},
		{"HEAD for a page", "HEAD", map[string]string{"Accept": firefoxAccept}, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, "/x", nil)
			for name, value := range c.header {
				r.Header.Set(name, value)
			}
			if got := header.Navigates(r, c.method); got != c.navigates {
				t.Errorf("navigates: %v", got)
			}
			if got := header.WantsPage(r); got != c.page {
				t.Errorf("wants a page: %v", got)
			}
		})
	}
}

// newPagesProxy returns a proxy that can only write denials.
func newPagesProxy(t *testing.T) *Proxy {
	t.Helper()
	pages, err := console.New()
	if err != nil {
		t.Fatal(err)
	}
	return &Proxy{pages: pages}
}

// everyDenial returns a denial for every reason.
func everyDenial() (all []*denial) {
	for reason := range meanings {
		all = append(all, deny(reason, "for the log: s3cret"))
	}
	return all
}

const (
	loginOrigin = "https://login.example.com"
	appOrigin   = "https://app.example.com"
)

// testRouting has two hosts, at the default port of https.
var testRouting = &routing{public: &url.URL{Scheme: "https", Host: "login.example.com"}, host: "login.example.com",
	hosts: map[string][]*route{"app.example.com": {{name: "app"}}}}

func TestDenial_Response(t *testing.T) {
	p := newPagesProxy(t)
	respond := func(denied *denial, req *request, header ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(req.method, "https://app.example.com"+req.path, nil)
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		req.id, req.routing, req.host = "4f0c2a", testRouting, "app.example.com"
		p.writeDenial(w, r, req, denied)
		return w
	}
	api := func() *request {
		return &request{method: "GET", path: "/a/b", query: "?token=s3cret", route: &route{bearer: true, owner: "owner@example.com"}}
	}
	withSessions := func() *request { req := api(); req.route.session = true; return req }

	t.Run("program_gets_problem", func(t *testing.T) {
		for _, denied := range everyDenial() {
			w := respond(denied, api(), "Accept", "application/json")
			var got response.Problem
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			want := response.Problem{Title: http.StatusText(denied.status()), Status: denied.status(), Detail: meanings[denied.reason].text, Reason: string(denied.reason), Request: "4f0c2a"}
			if w.Code != denied.status() || got != want || w.Header().Get("Content-Type") != "application/problem+json" {
				t.Errorf("%s: %d %+v", denied.reason, w.Code, got)
			}
			checkCommon(t, denied, w)
		}
	})
	t.Run("person_gets_page", func(t *testing.T) {
		for _, denied := range everyDenial() {
			w := respond(denied, api(), "Accept", chromeAccept)
			if w.Code != denied.status() || !strings.Contains(w.Body.String(), meanings[denied.reason].title) || !strings.Contains(w.Body.String(), "4f0c2a") {
				t.Errorf("%s: %d %s", denied.reason, w.Code, w.Body)
			}
			if denied.status() == http.StatusForbidden && !(strings.Contains(w.Body.String(), "owner@example.com") && strings.Contains(w.Body.String(), "https://app.example.com/a/b")) {
				t.Errorf("%s: the page does not say what was asked for and whom to ask", denied.reason)
			}
			checkCommon(t, denied, w)
		}
	})
	t.Run("only_sent_token_is_called_invalid", func(t *testing.T) {
		for reason, m := range meanings {
			got := respond(deny(reason, ""), api()).Header().Get("WWW-Authenticate")
			want := ""
			if m.status == 401 {
				want = `Bearer realm="sallyport"`
			}
			if reason == tokenRefused {
				want += `, error="invalid_token", error_description="It is invalid, has expired, or is meant for another service."`
			}
			if reason == loginTooOld {
				want += `, error="insufficient_user_authentication", error_description="This asks for a more recent sign-in than yours. Sign in again to go on."`
			}
			if reason == loginTooWeak {
				want += `, error="insufficient_user_authentication", error_description="This asks for a stronger sign-in than yours, such as one with a second factor. Sign in again to go on."`
			}
			if got != want {
				t.Errorf("%s: %q", reason, got)
			}
		}
	})
	t.Run("browser_is_redirected_to_login", func(t *testing.T) {
		for _, reason := range []Reason{notSignedIn, sessionEnded, sessionExpired} {
			w := respond(deny(reason, ""), withSessions(), "Accept", chromeAccept)
			to, err := url.Parse(w.Header().Get("Location"))
			if err != nil || w.Code != http.StatusFound || to.Scheme+"://"+to.Host+to.Path != loginOrigin+loginPath {
				t.Fatalf("%s: %d to %v", reason, w.Code, to)
			}
			if back := to.Query().Get("return_to"); back != appOrigin+"/a/b?token=s3cret" {
				t.Errorf("return_to is %q", back)
			}
			if len(w.Result().Cookies()) != 0 || to.Query().Get("bind") != "" {
				t.Errorf("binds the browser before it is signed in: %v", w.Header())
			}
			if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Referrer-Policy") != "no-referrer" {
				t.Errorf("headers %v", w.Header())
			}
		}
	})
	t.Run("no_redirect_where_login_would_not_help", func(t *testing.T) {
		for name, w := range map[string]*httptest.ResponseRecorder{
			"a route for tokens only": respond(deny(notSignedIn, ""), api(), "Accept", chromeAccept),
			"a token that is invalid": respond(deny(tokenRefused, ""), withSessions(), "Accept", chromeAccept),
			"a script":                respond(deny(notSignedIn, ""), withSessions(), "Accept", "application/json"),
			"a form": func() *httptest.ResponseRecorder {
				req := withSessions()
				req.method = "POST"
				return respond(deny(notSignedIn, ""), req, "Accept", chromeAccept)
			}(),
		} {
			if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("%s: %d %v", name, w.Code, w.Header())
			}
		}
	})
	t.Run("return_to_escapes_query_and_drops_long_one", func(t *testing.T) {
		for query, want := range map[string]string{
			`?a="b"<c>\é`:                        "/a/b?a=%22b%22%3Cc%3E%5C%C3%A9",
			"?" + strings.Repeat("x", 12000):     "/a/b?" + strings.Repeat("x", 12000),
			"?" + strings.Repeat("x", 17000):     "/a/b",
			"?ok=1|2{3}":                         "/a/b?ok=1|2{3}",
			"?next=//evil.example&x=/../..%2f%0": "/a/b?next=//evil.example&x=/../..%2f%0",
		} {
			req := withSessions()
			req.query = query
			to, _ := url.Parse(respond(deny(notSignedIn, ""), req, "Accept", chromeAccept).Header().Get("Location"))
			if back := to.Query().Get("return_to"); back != appOrigin+want {
				t.Errorf("%q: return_to is %q", query, back)
			}
		}
	})
}

// checkCommon checks the headers that the response of every denial has, and that its body does not disclose the detail.
func checkCommon(t *testing.T, denied *denial, w *httptest.ResponseRecorder) {
	t.Helper()
	if w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("%s: the response may be cached", denied.reason)
	}
	if (denied.status() == 401) != (w.Header().Get("WWW-Authenticate") != "") {
		t.Errorf("%s: WWW-Authenticate %q", denied.reason, w.Header().Get("WWW-Authenticate"))
	}
	if (denied.status() == 503 || denied.status() == 429) != (w.Header().Get("Retry-After") != "") {
		t.Errorf("%s: Retry-After %q", denied.reason, w.Header().Get("Retry-After"))
	}
	if (denied.status() == 405) != (w.Header().Get("Allow") != "") {
		t.Errorf("%s: Allow %q", denied.reason, w.Header().Get("Allow"))
	}
	if strings.Contains(w.Body.String(), "for the log") {
		t.Errorf("%s: the body discloses the detail for the log", denied.reason)
	}
}

// TestDenial_DisclosesTokenVersion checks that the response to a token of the wrong version says what to change.
func TestDenial_DisclosesTokenVersion(t *testing.T) {
	w := newWorld(t, nil)
	w.token("alice", nil) // waits until the provider was discovered
	text := w.tenant.AccessTokenV1(w.person("alice"), audience, nil)
	resp, body := w.get(w.client(false), "https://"+apiHost+"/v1/x", "Authorization", "Bearer "+text)
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("status %d", resp.StatusCode)
	}
	for where, text := range map[string]string{"the problem": body, "WWW-Authenticate": resp.Header.Get("WWW-Authenticate")} {
		if !strings.Contains(text, "it is a v1.0 token; set api.requestedAccessTokenVersion to 2") {
			t.Errorf("%s: %q", where, text)
		}
	}
}
