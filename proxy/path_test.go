package proxy

import (
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"sallyport/policy"
	"sallyport/proxy/internal/canonical"
)

// TestServe_RulesHoldForEverySpelling: a rule about a path holds for every spelling of it and, on a lenient route, for
// every reading.
func TestServe_RulesHoldForEverySpelling(t *testing.T) {
	w := newWorld(t, func(s *Settings) {
		s.Policies[0].Rules = append(s.Policies[0].Rules, policy.Rule{Deny: &policy.Match{Paths: []string{"/geheim/für alle/**"}}})
	})
	_, strict := w.signIn("alice", appHost)
	_, loose := w.signIn("alice", lenientHost)
	c := w.client(true)
	for host, cookie := range map[string]string{appHost: strict, lenientHost: loose} {
		for _, path := range []string{"/geheim/f%C3%BCr%20alle/x", "/g%65heim/f%c3%bcr%20alle/x", "/geheim/f\u00fcr%20alle/x", "/secret/x", "/%73ecret/x"} {
			if code, _ := w.try(c, host, path, cookie); code != 403 {
				t.Errorf("%s%s: %d", host, path, code)
			}
		}
	}
	for _, path := range []string{"/secret%2Fx", "/secret%5Cx", "/secret;v=1/x", "/secret//x", "/a%2F..%2Fsecret/x", "/secret%3Bv/x", "/%73ecret%2fx"} {
		if code, _ := w.try(c, lenientHost, path, loose); code != 403 && code != 400 {
			t.Errorf("%s: %d", path, code)
		}
	}
	if code, _ := w.try(c, lenientHost, "/group%2Fproject/-/blob/a%2Eb", loose); code != 200 {
		t.Errorf("a harmless one: %d", code)
	}
}

// TestServe_ForwardsWhatIsDecided: the upstream receives what was decided, byte for byte, and invalid paths are denied:
// over real connections, strict and lenient, HTTP/1.1 and HTTP/2.
func TestServe_ForwardsWhatIsDecided(t *testing.T) {
	w := newWorld(t, nil)
	var reached atomic.Pointer[string]
	w.setUpstream(func(_ http.ResponseWriter, r *http.Request) { reached.Store(&r.RequestURI) })
	_, strict := w.signIn("alice", appHost)
	_, loose := w.signIn("alice", lenientHost)
	raws := []string{"/", "/a/b?", "/a?x=1;y=2&z=%zz", "/caf%c3%a9?q=%E9", "/a%20b", "/secret", "/%73ecret/plan", "/secret%2Fplan", "/a%2fb", "/a//b", "/a;b/c", "/a?b=//c/../d", "/x?y?z"}
	for _, odd := range dotSegments(t) {
		raws = append(raws, "/public/"+odd+"/secret/plan", "/secret/"+odd, "/"+odd+"/secret/plan")
	}
	for protocol, h2 := range map[string]bool{"HTTP/1.1": false, "HTTP/2": true} {
		for host, cookie := range map[string]string{appHost: strict, lenientHost: loose} {
			c := w.client(h2)
			for _, raw := range raws {
				reached.Store(nil)
				code, sent := w.try(c, host, raw, cookie)
				if !sent {
					continue // the client's library refused to send it
				}
				target, query, _ := strings.Cut(raw, "?")
				want, lenient, err := canonical.Path(target)
				var readings []string
				if err == nil && lenient {
					readings, err = canonical.Readings(want)
				}
				denied := err == nil && slices.ContainsFunc(append(readings, want), func(reading string) bool { return canonical.Under(reading, "/secret") })
				if err == nil && !denied && readAs("/secret", want) {
					t.Errorf("%q has a reading below /secret that Readings does not return: %q", want, readings)
				}
				if strings.Contains(raw, "?") {
					want += "?" + query
				}
				refuse := err != nil || lenient && host == appHost
				got := reached.Load()
				switch {
				case got != nil && (refuse || *got != want || denied):
					t.Errorf("%s %s: %q reached the upstream as %q (%d)", protocol, host, raw, *got, code)
				case got == nil && !refuse && !denied, got == nil && refuse && code != http.StatusBadRequest:
					t.Errorf("%s %s: %q answered %d", protocol, host, raw, code)
				}
			}
		}
	}
}

// try sends a request for exactly raw. It reports false if the client's library refused to send it.
func (w *world) try(c *http.Client, host, raw, cookie string) (code int, sent bool) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.ctx, "GET", "https://"+host+"/", nil)
	w.must(err)
	if _, err := url.ParseRequestURI(raw); err != nil && c.Transport.(*http.Transport).Protocols.HTTP2() {
		return 0, false // net/http's server resets such streams, and its client tries again for a minute
	}
	at, query, found := strings.Cut(raw, "?")
	r.URL = &url.URL{Scheme: "https", Host: host, Opaque: at, RawQuery: query, ForceQuery: found}
	r.Header.Set("Cookie", cookie)
	res, err := c.Do(r)
	if err != nil {
		return 0, false
	}
	res.Body.Close()
	return res.StatusCode, true
}

// dotSegments returns spellings of a dot segment or of a separator that some server or framework understands.
func dotSegments(t testing.TB) (segments []string) {
	t.Helper()
	text, err := os.ReadFile("internal/canonical/testdata/dot_segments.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		segment, err := strconv.Unquote(strings.TrimSpace(line))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		segments = append(segments, segment)
	}
	return segments
}
