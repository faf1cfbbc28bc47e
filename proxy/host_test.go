package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"sallyport/proxy/internal/canonical"
)

// TestServe_HostsOnTheWire sends hosts and targets in every form. Each request is either denied or decided by the route
// of the host that the upstream receives.
func TestServe_HostsOnTheWire(t *testing.T) {
	w := newWorld(t, nil)
	send := func(lines string) (code int, host string) {
		t.Helper()
		conn := w.sendRaw(lines + "Accept: application/json\r\nConnection: close\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		w.must(err)
		io.Copy(io.Discard, res.Body)
		return res.StatusCode, res.Header.Get("X-Saw-Host")
	}
	for _, c := range []struct {
		lines string
		code  int
	}{
		{"GET / HTTP/1.1\r\nHost: open.example.com\r\n", 200},
		{"GET / HTTP/1.1\r\nHost: OPEN.example.COM.:9\r\n", 200},
		{"GET https://open.example.com/ HTTP/1.1\r\nHost: app.example.com\r\n", 200}, // RFC 9112 §3.2.2
		{"GET http://open.example.com HTTP/1.1\r\nHost: open.example.com\r\n", 200},
		{"GET http://open.example.com?x HTTP/1.1\r\nHost: open.example.com\r\n", 200},
		{"GET https://app.example.com/ HTTP/1.1\r\nHost: open.example.com\r\n", 401},
		{"GET / HTTP/1.1\r\nHost: app.example.com\r\nX-Forwarded-Host: open.example.com\r\n", 401},
		{"GET / HTTP/1.1\r\nHost: app.example.com\r\nForwarded: host=open.example.com\r\n", 401},
		{"GET / HTTP/1.1\r\nHost: app.example.com\r\nX-Host: open.example.com\r\n", 401},
		{"GET https://user@open.example.com/ HTTP/1.1\r\nHost: open.example.com\r\n", 400},
		{"GET https://open.example.com@app.example.com/ HTTP/1.1\r\nHost: open.example.com\r\n", 400},
		{"GET ftp://open.example.com/ HTTP/1.1\r\nHost: open.example.com\r\n", 400},
		{"GET https:/open.example.com/ HTTP/1.1\r\nHost: open.example.com\r\n", 400},
		{"GET https:open.example.com/ HTTP/1.1\r\nHost: open.example.com\r\n", 400},
		{"GET //open.example.com/ HTTP/1.1\r\nHost: open.example.com\r\n", 400},
		{"GET https://open.example.com/#x HTTP/1.1\r\nHost: open.example.com\r\n", 400},
		{"GET https://open.example.com#x HTTP/1.1\r\nHost: open.example.com\r\n", 400},
		{"GET open.example.com HTTP/1.1\r\nHost: open.example.com\r\n", 400},
		{"GET * HTTP/1.1\r\nHost: open.example.com\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: open.example.com, app.example.com\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: open.example.com/x\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: open.example.com:99999\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: open.example.com\r\nHost: app.example.com\r\n", 400},
		{"GET / HTTP/1.1\r\nHost:\r\n", 400},
		{"GET / HTTP/1.1\r\n", 400},
		{"GET / HTTP/1.1\r\nHost: open.example.com.evil.example\r\n", 404},
		{"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n", 404},
		{"GET / HTTP/1.0\r\n", 400},
		{"GET /?a#b HTTP/1.1\r\nHost: open.example.com\r\n", 400},
		{"CONNECT open.example.com:443 HTTP/1.1\r\nHost: open.example.com\r\n", 405},
		{"CONNECT / HTTP/1.1\r\nHost: open.example.com\r\n", 405},
		{"TRACE / HTTP/1.1\r\nHost: open.example.com\r\n", 401},
		{"get / HTTP/1.1\r\nHost: open.example.com\r\n", 401},
		{"FOO / HTTP/1.1\r\nHost: open.example.com\r\n", 401},
		{strings.Repeat("A", 40) + " / HTTP/1.1\r\nHost: open.example.com\r\n", 405},
	} {
		code, host := send(c.lines)
		if code != c.code || (host != "") != (c.code == 200) || host != "" && host != "open.example.com" {
			t.Errorf("%q: %d, upstream saw host %q; want %d", c.lines, code, host, c.code)
		}
	}
}

// TestRouting_ManyHosts checks that hosts are compared in the same way if there are a thousand of them.
func TestRouting_ManyHosts(t *testing.T) {
	w := newWorld(t, func(s *Settings) {
		for i := range 1000 {
			r := s.Routes[1]
			r.Name, r.Host = fmt.Sprintf("r%d", i), fmt.Sprintf("R%d.example.com", i)
			s.Routes = append(s.Routes, r)
		}
	})
	for _, host := range []string{"r0.example.com", "R999.EXAMPLE.com", "r500.example.com.:1"} {
		if got, err := canonical.Host(host); err != nil || w.proxy.routing.Load().find(got, "/x") == nil {
			t.Errorf("%s has no route", host)
		}
	}
	if w.proxy.routing.Load().find("r1000.example.com", "/") != nil {
		t.Error("r1000.example.com has a route")
	}
}
