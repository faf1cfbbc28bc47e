package proxy

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
)

// TestSmuggling checks that a request that two parsers could end at different bytes is rejected or is the last on its
// connection, so that the bytes after it are never read as a request. The cases are those of CVE-2015-5739,
// CVE-2019-16276, CVE-2022-1705, CVE-2023-29406, CVE-2025-22871, CVE-2023-27491, CVE-2026-88008 and of James Kettle's
// articles of 2019 to 2025.
func TestSmuggling(t *testing.T) {
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: " + openHost + "\r\n\r\n"
	start := func(method string) string { return method + " /first HTTP/1.1\r\nHost: " + openHost + "\r\n" }
	for name, bytes := range map[string]string{
		"both lengths":                    start("POST") + "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
		"both lengths, reversed":          start("POST") + "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n" + smuggled,
		"two lengths":                     start("POST") + "Content-Length: 0\r\nContent-Length: 50\r\n\r\n" + smuggled,
		"a list of lengths":               start("POST") + "Content-Length: 0, 50\r\n\r\n" + smuggled,
		"a signed length":                 start("POST") + "Content-Length: +0\r\n\r\n" + smuggled,
		"a length in hex":                 start("POST") + "Content-Length: 0x0\r\n\r\n" + smuggled,
		"a length with a tab":             start("POST") + "Content-Length: 0\t50\r\n\r\n" + smuggled,
		"space before the colon":          start("POST") + "Content-Length : 50\r\n\r\n" + smuggled,
		"a tab before the colon":          start("POST") + "Transfer-Encoding\t: chunked\r\n\r\n" + smuggled,
		"a folded encoding":               start("POST") + "Transfer-Encoding:\r\n chunked\r\nContent-Length: 0\r\n\r\n" + smuggled,
		"an unknown encoding":             start("POST") + "Transfer-Encoding: xchunked\r\n\r\n" + smuggled,
		"two encodings":                   start("POST") + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + smuggled,
		"a list of encodings":             start("POST") + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + smuggled,
		"an encoding with a vertical tab": start("POST") + "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + smuggled,
		"an encoding in quotes":           start("POST") + "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\n" + smuggled,
		"an encoding in HTTP/1.0":         "POST /first HTTP/1.0\r\nHost: " + openHost + "\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n" + smuggled,
		"a chunk's size in decimal point": start("POST") + "Transfer-Encoding: chunked\r\n\r\n0.\r\n\r\n" + smuggled,
		"a chunk's size without end":      start("POST") + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n" + smuggled,
		"a negative chunk":                start("POST") + "Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + smuggled,
		"a bare LF in an extension":       start("POST") + "Transfer-Encoding: chunked\r\n\r\n0;a\nb\r\n\r\n" + smuggled,
		"a header without a name":         start("GET") + ": x\r\n\r\n" + smuggled,
		"a header with a NUL":             start("GET") + "X: a\x00b\r\n\r\n" + smuggled,
		"a header with a bare CR":         start("GET") + "X: a\rTransfer-Encoding: chunked\r\n\r\n" + smuggled,
		"a request line of four words":    "GET /first HTTP/1.1 x\r\nHost: " + openHost + "\r\n\r\n" + smuggled,
		"no host":                         "GET /first HTTP/1.1\r\n\r\n" + smuggled,
		"two hosts":                       start("GET") + "Host: " + appHost + "\r\n\r\n" + smuggled,
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			var mu sync.Mutex
			var saw []string
			w.setUpstream(func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				mu.Lock()
				saw = append(saw, r.RequestURI)
				mu.Unlock()
			})
			conn := w.sendRaw(bytes)
			br := bufio.NewReader(conn)
			responses := 0
			for {
				resp, err := http.ReadResponse(br, nil)
				if err != nil {
					break
				}
				responses++
				_, _ = io.Copy(io.Discard, resp.Body)
				if resp.Close {
					break
				}
			}
			mu.Lock()
			defer mu.Unlock()
			if responses > 1 || strings.Contains(strings.Join(saw, " "), "smuggled") {
				t.Errorf("%d responses; the upstream sees %q", responses, saw)
			}
		})
	}
}

// TestRoute_ChosenByHostAndPathAlone checks that no query, fragment, header or spelling of the method makes a denied
// request match another route or rule (CVE-2025-54576, CVE-2026-41059, CVE-2026-34457, CVE-2026-9800, CVE-2026-55430,
// CVE-2026-40910, CVE-2020-14359).
func TestRoute_ChosenByHostAndPathAlone(t *testing.T) {
	w := newWorld(t, nil)
	var saw int
	w.setUpstream(func(http.ResponseWriter, *http.Request) { saw++ })
	for name, request := range map[string]string{
		"a query that names an open path":   "GET /x?y=/.proxy/denied&z=/public/ HTTP/1.1\r\nHost: " + appHost + "\r\n",
		"a fragment":                        "GET /x#/public HTTP/1.1\r\nHost: " + appHost + "\r\n",
		"a path that contains a known word": "GET /x/.proxy/denied HTTP/1.1\r\nHost: " + appHost + "\r\n",
		"a health check's user agent":       "GET /x HTTP/1.1\r\nHost: " + appHost + "\r\nUser-Agent: GoogleHC/1.0\r\n",
		"another host by a header":          "GET /x HTTP/1.1\r\nHost: " + appHost + "\r\nX-Forwarded-Host: " + openHost + "\r\nX-Host: " + openHost + "\r\nForwarded: host=" + openHost + "\r\n",
		"another path by a header":          "GET /x HTTP/1.1\r\nHost: " + appHost + "\r\nX-Original-URL: /\r\nX-Rewrite-URL: /\r\nX-Forwarded-Uri: /\r\n",
		"another user by a header":          "GET /x HTTP/1.1\r\nHost: " + appHost + "\r\nX-Forwarded-User: alice@example.com\r\nX-Forwarded-Groups: staff\r\nRemote-User: alice\r\n",
		"a method in small letters":         "get /x HTTP/1.1\r\nHost: " + openHost + "\r\n",
		"an unknown method":                 "FOO /x HTTP/1.1\r\nHost: " + openHost + "\r\n",
		"TRACE":                             "TRACE /x HTTP/1.1\r\nHost: " + openHost + "\r\n",
		"metrics":                           "GET /metrics HTTP/1.1\r\nHost: " + loginHost + "\r\n",
		"pprof":                             "GET /debug/pprof/ HTTP/1.1\r\nHost: " + loginHost + "\r\n",
		"dot segments after an ACME path":   "GET /.well-known/acme-challenge/../../x HTTP/1.1\r\nHost: " + appHost + "\r\n",
		"an absolute target elsewhere":      "GET https://" + appHost + "/x HTTP/1.1\r\nHost: " + openHost + "\r\n",
		"an unknown host":                   "GET /x HTTP/1.1\r\nHost: nowhere.example.com\r\n",
	} {
		resp, err := http.ReadResponse(bufio.NewReader(w.sendRaw(request+"Connection: close\r\n\r\n")), nil)
		if err != nil {
			continue // no response is a rejection too
		}
		if resp.StatusCode < 300 {
			t.Errorf("%s: status %d", name, resp.StatusCode)
		}
	}
	if saw != 0 {
		t.Errorf("the upstream sees %d requests", saw)
	}
}

// TestSmuggling_TwoLengthsEndConnection checks that a request with Content-Length and Transfer-Encoding is the last on
// its connection (RFC 9112 §6.1).
func TestSmuggling_TwoLengthsEndConnection(t *testing.T) {
	w := newWorld(t, nil)
	var bodies []string
	w.setUpstream(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies = append(bodies, r.Method+" "+r.RequestURI+" "+string(body))
	})
	conn := w.sendRaw("POST /a HTTP/1.1\r\nHost: " + openHost + "\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" +
		"GET /smuggled HTTP/1.1\r\nHost: " + openHost + "\r\n\r\n")
	br := bufio.NewReader(conn)
	res, err := http.ReadResponse(br, nil)
	w.must(err)
	io.Copy(io.Discard, res.Body)
	if !res.Close {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	if rest, _ := io.ReadAll(br); len(rest) != 0 || len(bodies) != 1 || bodies[0] != "POST /a " {
		t.Errorf("a second response %q; the upstream saw %q", rest, bodies)
	}
}

// TestConnect_EndsConnection checks that nothing after a CONNECT is read as a request: the client may believe that it has
// a tunnel.
func TestConnect_EndsConnection(t *testing.T) {
	w := newWorld(t, nil)
	conn := w.sendRaw("CONNECT " + openHost + ":443 HTTP/1.1\r\nHost: " + openHost + ":443\r\n\r\nGET / HTTP/1.1\r\nHost: " + openHost + "\r\n\r\n")
	br := bufio.NewReader(conn)
	res, err := http.ReadResponse(br, &http.Request{Method: "CONNECT"})
	w.must(err)
	if res.StatusCode != 405 || !res.Close || w.metric("sallyport_decisions_total") != 0 {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
}
