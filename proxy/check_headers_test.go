package proxy

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestCheck_RejectsInvalidHeaders sends checks in which one X-Forwarded header is missing, repeated, misspelled or invalid.
func TestCheck_RejectsInvalidHeaders(t *testing.T) {
	w := newWorld(t, trustLoopback)
	w.setUpstream(func(http.ResponseWriter, *http.Request) { t.Error("a check reached an upstream") })
	c := w.client(false)
	good := forwardedHeaders("GET", "https://"+openHost+"/a")
	if res, _ := w.get(c, checkURL, good...); res.StatusCode != 200 {
		t.Fatalf("the valid check: %d", res.StatusCode)
	}
	expectDenied := func(name string, headers ...string) {
		t.Helper()
		res, body := w.get(c, checkURL, headers...)
		if res.StatusCode != 400 && res.StatusCode != 405 {
			t.Errorf("%s: %d %s", name, res.StatusCode, body)
		}
	}
	for _, name := range []string{hdrForwardedMethod, hdrForwardedProto, hdrForwardedHost, hdrForwardedURI} {
		rest := without(good, name)
		value := good[slices.Index(good, name)+1]
		expectDenied(name+" missing", rest...)
		expectDenied(name+" empty", append(rest, name, "")...)
		expectDenied(name+" twice", append(good, name, value)...)
		expectDenied(name+" as a list", append(rest, name, value+", "+value)...)
		expectDenied(name+" not UTF-8", append(rest, name, value+"\xff")...)
		expectDenied(name+" with a control character", append(rest, name, value+"\u0085")...)
		for _, spelling := range spellings(name) {
			if !strings.EqualFold(spelling, name) {
				expectDenied(spelling+" beside it", append(good, spelling, value)...)
				expectDenied(spelling+" instead", append(rest, spelling, value)...)
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
			expectDenied(fmt.Sprintf("%s: %.40q", name, value), append(without(good, name), name, value)...)
		}
	}
	t.Run("other_method_path_or_host", func(t *testing.T) {
		for _, method := range []string{"POST", "PUT", "OPTIONS"} {
			if res, _ := w.send(c, method, checkURL, nil, good...); res.StatusCode != 405 {
				t.Errorf("%s: %d", method, res.StatusCode)
			}
		}
		if res, _ := w.get(c, "https://"+loginHost+"/.sallyport/%63heck", good...); res.StatusCode != 400 {
			t.Errorf("percent-encoded check path: %d", res.StatusCode)
		}
		if res, _ := w.get(c, "https://"+appHost+checkPath, good...); res.StatusCode != 400 {
			t.Errorf("at another host of ours than that of the request: %d", res.StatusCode)
		}
		if res, _ := w.get(c, "https://nowhere.example.com"+checkPath, good...); res.StatusCode != 404 {
			t.Errorf("at an unknown host: %d", res.StatusCode)
		}
	})
}

// TestCheck_RejectsSpoofedHeaders checks that a check is rejected if the client sent a header that the application could take
// for one of ours and that the front proxy would not overwrite.
func TestCheck_RejectsSpoofedHeaders(t *testing.T) {
	w := newWorld(t, func(s *Settings) {
		trustLoopback(s)
		s.IdentityHeaders.Email, s.IdentityHeaders.Login = new("X-Mail"), new("")
	})
	c := w.client(false)
	good := forwardedHeaders("GET", "https://"+openHost+"/a")
	statusWith := func(headers ...string) int {
		t.Helper()
		res, _ := w.get(c, checkURL, append(slices.Clone(good), headers...)...)
		if res.StatusCode == 200 {
			for _, name := range []string{"X-Forwarded-User", "X-Mail", "X-Forwarded-Groups", "X-Sallyport-Assertion"} {
				if got := res.Header[name]; !slices.Equal(got, []string{""}) {
					t.Errorf("%q: %s is %q", headers, name, got)
				}
			}
		}
		return res.StatusCode
	}
	for _, name := range []string{"X-Forwarded-User", "X-Mail", "X-Forwarded-Groups", "X-Sallyport-Assertion", "X-Forwarded-Anything", "X-Forwarded-For", "Cookie", "Authorization", "Host", "Content-Length"} {
		for _, spelling := range spellings(name) {
			if !strings.EqualFold(spelling, name) && statusWith(spelling, forged) != 400 {
				t.Errorf("%s is accepted", spelling)
			}
		}
	}
	for _, name := range []string{"X-Forwarded-User", "X-Mail", "X-Forwarded-Groups", "X-Sallyport-Assertion"} {
		if got := statusWith(name, forged); got != 200 {
			t.Errorf("%s, which the front proxy overwrites: %d", name, got)
		}
		if got := statusWith(name, forged, name, forged); got != 400 {
			t.Errorf("%s twice: %d", name, got)
		}
	}
	overriding := []string{"X-Original-Url", "X-Original-Uri", "X-Original-Method", "X-Rewrite-Url", "X-Http-Method", "X-Http-Method-Override", "X-Method-Override",
		"X-Host", "X-Http-Host-Override", "X-Original-Host", "X-Http-Path-Override", "X-Envoy-Original-Path", "X-Script-Name", "X-Method", "X-Url-Scheme"}
	for _, name := range append([]string{"X-Forwarded-Email", "X-Forwarded-Preferred-Username"}, overriding...) {
		if got := statusWith(name, forged); got != 400 {
			t.Errorf("%s, which the front proxy would forward: %d", name, got)
		}
	}
	for _, name := range overriding {
		for _, spelling := range spellings(name) {
			if got := statusWith(spelling, forged); got != 400 {
				t.Errorf("%s, which a CGI application reads as %s: %d", spelling, name, got)
			}
		}
	}
	for _, name := range []string{"X-Envoy-Internal", "X-Envoy-Expected-Rq-Timeout-Ms", "X-Real-Ip", "Cf-Connecting-Ip"} {
		if got := statusWith(name, "192.0.2.1"); got != 200 {
			t.Errorf("%s, which front proxies set: %d", name, got)
		}
	}
	if got := statusWith("X-Forwarded-For", "1.1.1.1"); got != 400 {
		t.Errorf("X-Forwarded-For twice: %d", got)
	}
}
