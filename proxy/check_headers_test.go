package proxy

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestCheck_RejectsInvalidHeaders sends the headers of a front proxy in every invalid way.
func TestCheck_RejectsInvalidHeaders(t *testing.T) {
	w := newWorld(t, trustLoopback)
	w.setUpstream(func(http.ResponseWriter, *http.Request) { t.Error("a check reached an upstream") })
	c := w.client(false)
	good := forwardedHeaders("GET", "https://"+openHost+"/a")
	if res, _ := w.get(c, checkURL, good...); res.StatusCode != 200 {
		t.Fatalf("the good one answers %d", res.StatusCode)
	}
	denied := func(says string, with ...string) {
		t.Helper()
		res, body := w.get(c, checkURL, with...)
		if res.StatusCode != 400 && res.StatusCode != 405 {
			t.Errorf("%s: %d %s", says, res.StatusCode, body)
		}
	}
	for _, name := range []string{hdrForwardedMethod, hdrForwardedProto, hdrForwardedHost, hdrForwardedURI} {
		rest := without(good, name)
		value := good[slices.Index(good, name)+1]
		denied(name+" missing", rest...)
		denied(name+" empty", append(rest, name, "")...)
		denied(name+" doubled", append(good, name, value)...)
		denied(name+" listed", append(rest, name, value+", "+value)...)
		denied(name+" not UTF-8", append(rest, name, value+"\xff")...)
		denied(name+" with a control", append(rest, name, value+"\u0085")...)
		for _, spelling := range spellings(name) {
			if !strings.EqualFold(spelling, name) {
				denied(spelling+" beside", append(good, spelling, value)...)
				denied(spelling+" instead", append(rest, spelling, value)...)
			}
		}
	}
	for name, values := range map[string][]string{
		hdrForwardedMethod: {"CONNECT", "GET POST", "G\u00c9T", strings.Repeat("A", 33), "GET,", "(GET)"},
		hdrForwardedProto:  {"HTTPS", "ftp", "https,http", "https:", "wss"},
		hdrForwardedHost:   {"a b", openHost + ",x", openHost + "/", "u@" + openHost, openHost + ":", openHost + ":0", openHost + "..", "[::1", "*", openHost + "#"},
		hdrForwardedURI: {"a", "*", "https://" + openHost + "/a", "//" + openHost + "/a", "/a b", "/a#b", "/a?b#c", "/a?b c", "/a?\xff", "/a?\u0085", "/../a", "/%2e%2e/a", "/a/%2E", "/%", "/%0a", "/%ff",
			"/a%00", "/a\\b", "/a;b", "/a%3Bb", "/a//b", "/a%2Fb", "/" + strings.Repeat("a", 9<<10)},
	} {
		for _, value := range values {
			denied(fmt.Sprintf("%s: %.40q", name, value), append(without(good, name), name, value)...)
		}
	}
	t.Run("in another form of asking", func(t *testing.T) {
		for _, method := range []string{"POST", "PUT", "OPTIONS"} {
			if res, _ := w.send(c, method, checkURL, nil, good...); res.StatusCode != 405 {
				t.Errorf("%s: %d", method, res.StatusCode)
			}
		}
		if res, _ := w.get(c, "https://"+loginHost+"/.sallyport/%63heck", good...); res.StatusCode != 400 {
			t.Errorf("a path spelt otherwise: %d", res.StatusCode)
		}
		if res, _ := w.get(c, "https://"+appHost+checkPath, good...); res.StatusCode != 400 {
			t.Errorf("at another host than it asks about: %d", res.StatusCode)
		}
		if res, _ := w.get(c, "https://nowhere.example.com"+checkPath, good...); res.StatusCode != 404 {
			t.Errorf("at a host that is not ours: %d", res.StatusCode)
		}
	})
}

// TestCheck_RejectsSpoofedHeaders: headers that could make the application believe what the proxy did not decide.
func TestCheck_RejectsSpoofedHeaders(t *testing.T) {
	w := newWorld(t, func(s *Settings) { trustLoopback(s); s.IdentityHeaders.Email, s.IdentityHeaders.Name = "X-Mail", "" })
	c := w.client(false)
	good := forwardedHeaders("GET", "https://"+openHost+"/a")
	code := func(with ...string) int {
		t.Helper()
		res, _ := w.get(c, checkURL, append(slices.Clone(good), with...)...)
		if res.StatusCode == 200 {
			for _, name := range []string{"X-Forwarded-User", "X-Mail", "X-Forwarded-Groups", "X-Sallyport-Assertion"} {
				if got := res.Header[name]; !slices.Equal(got, []string{""}) {
					t.Errorf("%q: %s is %q", with, name, got)
				}
			}
		}
		return res.StatusCode
	}
	for _, name := range []string{"X-Forwarded-User", "X-Mail", "X-Forwarded-Groups", "X-Sallyport-Assertion", "X-Forwarded-Anything", "X-Forwarded-For", "Cookie", "Authorization", "Host", "Content-Length"} {
		for _, spelling := range spellings(name) {
			if !strings.EqualFold(spelling, name) && code(spelling, forged) != 400 {
				t.Errorf("%s passes", spelling)
			}
		}
	}
	for _, name := range []string{"X-Forwarded-User", "X-Mail", "X-Forwarded-Groups", "X-Sallyport-Assertion"} {
		if got := code(name, forged); got != 200 {
			t.Errorf("%s, which the front overwrites: %d", name, got)
		}
		if got := code(name, forged, name, forged); got != 400 {
			t.Errorf("%s twice: %d", name, got)
		}
	}
	for _, name := range append([]string{"X-Forwarded-Email", "X-Forwarded-Preferred-Username"}, overrideHeaders...) {
		if got := code(name, forged); got != 400 {
			t.Errorf("%s, which the front would pass on: %d", name, got)
		}
	}
	if got := code("X-Forwarded-For", "1.1.1.1"); got != 400 {
		t.Errorf("X-Forwarded-For twice: %d", got)
	}
}
