package main

import (
	"strings"
	"testing"
)

func TestChoose_FindsRowsByTheirKeys(t *testing.T) {
	for patterns, want := range map[string]string{
		"":              keysOf(rows),
		"session,stock": "stock, session",
		"stock, stock":  "stock",
		"*-h2":          "stock-h2, lean-h2, nginx-h2, session-h2",
		"nginx*,ope?":   "nginx, nginx-tls, nginx-h2, open",
	} {
		chosen, err := choose(rows, patterns)
		if got := keysOf(chosen); err != nil || got != want {
			t.Errorf("%q: %s, %v; want %s", patterns, got, err, want)
		}
	}
	for _, patterns := range []string{"sesion", "stock,", "[", "stock,sallyport"} {
		if chosen, err := choose(rows, patterns); err == nil || !strings.Contains(err.Error(), "-only") {
			t.Errorf("%q: %s, %v", patterns, keysOf(chosen), err)
		}
	}
}

func TestParsePeer(t *testing.T) {
	p, err := parsePeer("envoy,https://127.0.0.1:10000/,4711,Cookie: a=b,c")
	if want := (subject{key: "envoy", name: "envoy", transport: tlsHTTP1, address: "127.0.0.1:10000", pid: 4711, header: "Cookie: a=b,c"}); err != nil || p != want {
		t.Errorf("%+v, %v", p, err)
	}
	for _, text := range []string{"", "envoy,http://127.0.0.1:1", "envoy,127.0.0.1:1,1", "envoy,http://127.0.0.1:1/path,1", "envoy,ftp://127.0.0.1:1,1", "envoy,http://127.0.0.1:1,x"} {
		if p, err := parsePeer(text); err == nil {
			t.Errorf("%q: %+v", text, p)
		}
	}
}
