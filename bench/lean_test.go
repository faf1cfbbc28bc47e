package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// startLeanTest starts a lean proxy, and an upstream that responds with the headers it was sent.
func startLeanTest(t *testing.T) *httptest.Server {
	t.Helper()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Seen", r.Header.Get("X-Forwarded-User")+" "+r.Header.Get("X-Forwarded-For")+" "+r.Header.Get("Cookie")+r.Header.Get("Accept"))
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write([]byte(strings.Repeat("x", 2000)))
	}))
	t.Cleanup(upstream.Close)
	proxy := httptest.NewServer(newLean(upstream.Listener.Addr().String()))
	t.Cleanup(proxy.Close)
	return proxy
}

func TestLean_ForwardsWithASession(t *testing.T) {
	proxy := startLeanTest(t)
	for range 3 { // the connection to the upstream is used again
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, proxy.URL+"/a?b=c", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header = http.Header{"Cookie": {leanCookie + leanToken}, "Accept": {"text/plain"}, "X-Forwarded-User": {"mallory"}, "X-Forwarded-For": {"192.0.2.1"}}
		resp, err := proxy.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if got := resp.Header.Get("X-Seen"); err != nil || resp.StatusCode != http.StatusTeapot || len(body) != 2000 || got != "alice 127.0.0.1 text/plain" {
			t.Errorf("%s, %d bytes, %q, %v", resp.Status, len(body), got, err)
		}
	}
}

func TestLean_RefusesWithoutASession(t *testing.T) {
	proxy := startLeanTest(t)
	for _, cookie := range []string{"", leanCookie, leanCookie + "x", "other=" + leanToken} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, proxy.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", cookie)
		resp, err := proxy.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%q: %s", cookie, resp.Status)
		}
	}
}

// TestAllocationMeter_SubtractsWhatAskingCosts measures this process while it allocates some, and while it allocates nothing.
func TestAllocationMeter_SubtractsWhatAskingCosts(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(serveAllocations))
	t.Cleanup(server.Close)
	measureTwice := func(objects int) allocations {
		meter, err := newAllocationMeter(t.Context(), server.URL)
		if err != nil {
			t.Fatal(err)
		}
		for range objects {
			sink = new([1024]byte)
		}
		got, err := meter.since(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	measureTwice(0) // dials
	if got := measureTwice(100_000); got.objects < 99_000 || got.objects > 120_000 || got.bytes < 99e6 || got.bytes > 120e6 {
		t.Errorf("%+v", got)
	}
}

var sink *[1024]byte // keeps what is allocated from the stack
