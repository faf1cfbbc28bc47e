package proxy

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"

	"sallyport/proxy/internal/identity"
)

// FuzzCheck checks that a check is allowed only if it comes from a trusted proxy and the rules allow the request that the
// standard library's parsers read in it, and that the response then has every identity header once.
func FuzzCheck(f *testing.F) {
	for _, seed := range [][6]string{
		{"GET", "https", appHost, "/", checkPath, ""},
		{"GET", "https", appHost, "/secret/x", checkPath, ""},
		{"POST", "http", openHost + ":443", "/a%20b?c=d", checkPath, ""},
		{"GET", "https", "APP.example.com.", "/%73ecret/x", checkPath, "X-Forwarded-User: admin"},
		{"GET", "https", appHost, "/a/../secret/x", checkPath, "X_Forwarded_Uri: /"},
		{"GET", "https", lenientHost, "/a%2F..%2fsecret/x", checkPath, "X-Original-URL: /"},
		{"DELETE", "", "", "", checkPath + "/secret/x", ""},
		{"DELETE", "", "", "", checkPath + "/a;b//c", ""},
		{"GET", "https", apiHost, "/v1", checkPath + "?redirect=false", "Authorization: Bearer x"},
	} {
		for who := range uint8(6) {
			f.Add(seed[0], seed[1], seed[2], seed[3], seed[4], seed[5], who)
		}
	}
	w := newWorld(f, trustLoopback)
	cookies := map[string][]string{"": nil}
	for _, name := range []string{"alice", "bob"} {
		for _, host := range []string{appHost, lenientHost} {
			_, cookie := w.signIn(name, host)
			cookies[name] = append(cookies[name], cookie)
		}
	}
	f.Fuzz(func(t *testing.T, method, proto, host, uri, target, extra string, who uint8) {
		name, peer := []string{"", "alice", "bob"}[who%3], []string{"127.0.0.1:1", "192.0.2.1:1"}[who/3%2]
		r := &http.Request{Method: "GET", ProtoMajor: 1, ProtoMinor: 1, Host: loginHost, RequestURI: target, RemoteAddr: peer, Header: http.Header{}, Body: http.NoBody}
		r.URL = &url.URL{Path: "/"} // nothing reads it
		rawPath, _, _ := strings.Cut(target, "?")
		byPath := strings.HasPrefix(rawPath, checkPath+"/")
		if byPath {
			r.Method, r.Host = method, appHost
			host, uri = appHost, strings.TrimPrefix(target, checkPath)
		} else {
			r.Header[hdrForwardedMethod], r.Header[hdrForwardedProto], r.Header[hdrForwardedHost], r.Header[hdrForwardedURI] = []string{method}, []string{proto}, []string{host}, []string{uri}
		}
		if key, value, ok := strings.Cut(extra, ": "); ok {
			key = http.CanonicalHeaderKey(key)
			r.Header[key] = append(r.Header[key], value)
		}
		if name != "" {
			index := 0
			if strings.HasPrefix(strings.ToLower(host), "files") {
				index = 1
			}
			r.Header["Cookie"] = append(r.Header["Cookie"], cookies[name][index])
		}
		resp := httptest.NewRecorder()
		func() {
			defer func() {
				if fault := recover(); fault != nil && fault != http.ErrAbortHandler { //nolint:errorlint // net/http compares it with ==
					panic(fault)
				}
			}()
			w.proxy.ServeHTTP(resp, r)
		}()
		if resp.Code/100 != 2 || !strings.HasPrefix(rawPath, internalPrefix+"check") {
			return
		}
		for _, header := range identity.Names() {
			if len(resp.Header()[header]) != 1 {
				t.Errorf("allowed without %s: %v", header, resp.Header())
			}
		}
		switch {
		case !byPath && rawPath != checkPath:
			t.Errorf("allowed at %q", target)
		case peer != "127.0.0.1:1":
			t.Error("allowed for a peer that is not trusted")
		case !stdlibAllows(method, host, uri, name):
			t.Errorf("allowed for %q: %q %q %q", name, method, host, uri)
		}
	})
}

// stdlibAllows reports whether the usual rules allow the request that the parsers of the standard library read.
func stdlibAllows(method, host, uri, who string) bool {
	u, err := url.ParseRequestURI(uri)
	if err != nil || u.Host != "" || !strings.HasPrefix(uri, "/") {
		return false
	}
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	usual := slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}, method)
	clean := path.Clean(u.Path)
	switch host {
	case openHost:
		return usual
	case appHost, lenientHost:
		return usual && who == "alice" && !strings.HasPrefix(clean, "/secret/") && !strings.HasPrefix(clean, "/.sallyport")
	}
	return false
}
