package proxy

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"sallyport/proxy/internal/header"
)

func TestCookies_OursAreNotForwarded(t *testing.T) {
	w := newWorld(t, nil)
	_, alice := w.signIn("alice", appHost)
	binding := "__Host-sallyport-door=" + strings.Repeat("A", 43)
	flow := "__Host-sallyport-flow-12345678=sealed"
	for _, c := range []struct{ sent, want string }{
		{alice, ""},
		{"a=1; " + alice, "a=1"},
		{alice + "; a=1", "a=1"},
		{"a=1; " + alice + "; b=2", "a=1; b=2"},
		{"a=1;" + alice + ";b=2", "a=1;b=2"},
		{`a="x y, z"; ` + alice + `; =nameless; b=2=3; c`, `a="x y, z"; =nameless; b=2=3; c`},
		{"a=1; " + alice + "; " + binding + "; b=2; " + flow, "a=1; b=2"},
		{"host-sallyport=mine; " + alice, "host-sallyport=mine"},
		{"a=%20\xe9; " + alice, "a=%20\xe9"},
		{`a="x; ` + alice + `; y"`, `a="x; y"`},
	} {
		res, seen := w.get(w.client(false), "https://"+appHost+"/", "Cookie", c.sent) // over HTTP/2, the client would split the header
		line := ""
		for l := range strings.Lines(seen) {
			if rest, ok := strings.CutPrefix(l, "Cookie: "); ok {
				line = strings.TrimRight(rest, "\r\n")
			}
		}
		if res.StatusCode != 200 || line != c.want {
			t.Errorf("%q: %d, upstream saw %q, want %q", c.sent, res.StatusCode, line, c.want)
		}
	}
	t.Run("in_any_spelling", func(t *testing.T) {
		for _, sent := range []string{"__host-SALLYPORT=x", " __Host-sallyport =x", "__Host-sallyport-door", "=__Host-sallyport=x", "\t__Host-sallyport\t=x", `"__Host-sallyport"=x`} {
			if got := header.StripCookies([]string{"a=1; " + sent, sent, "b=2"}); !slices.Equal(got, []string{"a=1", "b=2"}) {
				t.Errorf("%q: %q", sent, got)
			}
		}
		others := []string{`a="b; c"; $Version=1`, "x=__Host-", "_=_; __=__"}
		if got := header.StripCookies(others); !slices.Equal(got, others) {
			t.Errorf("%q", got)
		}
	})
}

// TestCookies_UpstreamCannotSetOurs checks that an upstream can set its own cookies but none of ours.
func TestCookies_UpstreamCannotSetOurs(t *testing.T) {
	w := newWorld(t, nil)
	w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
		for _, c := range []string{"app=1; Path=/", "__Host-sallyport=evil; Path=/; Secure", "__host-Sallyport-door=evil", " __Host-sallyport =x", "=__Host-sallyport=x", "__Host-sallyport", "b=__Host-sallyport"} {
			rw.Header().Add("Set-Cookie", c)
		}
		rw.Header().Add("Link", "</style.css>; rel=preload")
		rw.WriteHeader(http.StatusEarlyHints)
	})
	res, _ := w.get(w.client(true), "https://"+openHost+"/")
	if got := res.Header["Set-Cookie"]; !slices.Equal(got, []string{"app=1; Path=/", "b=__Host-sallyport"}) {
		t.Errorf("%q", got)
	}
}
