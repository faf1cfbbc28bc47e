package main

import (
	"crypto/tls"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestReach_PairsEndAndAreBounded: a pair is good for a minute, and is forgotten when too many others were asked for.
func TestReach_PairsEndAndAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r reach
		pair := r.begin(time.Now())
		for _, strange := range []string{"", "x", pair.Response, pair.Request + "x", strings.ToLower(pair.Request)} {
			if got, ok := r.response(strange, time.Now()); ok || got != "" {
				t.Errorf("the response to %q is %q", strange, got)
			}
		}
		if got, ok := r.response(pair.Request, time.Now()); !ok || got != pair.Response || got == pair.Request {
			t.Errorf("the response is %q, %v", got, ok)
		}
		time.Sleep(reachLifetime)
		if _, ok := r.response(pair.Request, time.Now()); ok {
			t.Error("the pair does not end")
		}
		first := r.begin(time.Now())
		for range maxReach {
			r.begin(time.Now())
		}
		if _, ok := r.response(first.Request, time.Now()); ok || len(r.pairs) != maxReach {
			t.Errorf("%d pairs are kept", len(r.pairs))
		}
	})
}

// TestDoctor_SCIMAddressMustLeadToThisServer, and not to whatever responds there.
func TestDoctor_SCIMAddressMustLeadToThisServer(t *testing.T) {
	s := newStage(t)
	t.Setenv("SSL_CERT_FILE", filepath.Join(s.dir, "ca.pem")) // the doctor trusts the tests' authority
	serve := func(lasting time.Duration, names []string, h http.HandlerFunc) string {
		t.Helper()
		other := httptest.NewUnstartedServer(h)
		other.TLS = s.ca.config(t, lasting, names...)
		other.StartTLS()
		t.Cleanup(other.Close)
		return "https://localhost:" + portOf(other.Listener.Addr().String())
	}
	repeat := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(reachHeader, r.Header.Get(reachHeader))
		w.Header().Set(reachedHeader, r.Header.Get(reachHeader))
		w.WriteHeader(http.StatusUnauthorized)
	}
	back, _ := url.Parse("https://" + s.server.addrs["scim"])
	forward := &httputil.ReverseProxy{Transport: newClient(t, s.ca, nil).Transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(back) }}
	away := func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, back.String()+r.URL.Path, http.StatusTemporaryRedirect)
	}
	here := "https://127.0.0.1:" + portOf(s.server.addrs["scim"])
	quarter := 90 * 24 * time.Hour
	for name, c := range map[string]struct{ address, state, text string }{
		"this_server":         {here, stateOK, "leads to this server"},
		"through_a_proxy":     {serve(quarter, []string{"localhost"}, forward.ServeHTTP), stateOK, "leads to this server"},
		"expires_soon":        {serve(24*time.Hour, []string{"localhost"}, forward.ServeHTTP), stateWarn, "expires on"},
		"expired":             {serve(-time.Minute, []string{"localhost"}, forward.ServeHTTP), stateFail, "expired"},
		"for_another_name":    {serve(quarter, []string{"other.test"}, forward.ServeHTTP), stateFail, "other.test"},
		"repeats_headers":     {serve(quarter, []string{"localhost"}, repeat), stateWarn, "not this server"},
		"redirects":           {serve(quarter, []string{"localhost"}, away), stateWarn, "not this server"},
		"does_not_resolve":    {"https://nowhere.invalid:8444", stateWarn, "correct the name"},
		"nobody_listens":      {"https://" + freeAddr(t), stateWarn, "refused"},
		"in_the_clear":        {"http://127.0.0.1:1", stateWarn, "in the clear"},
		"public_listener":     {"https://127.0.0.1:" + portOf(s.server.addrs["public"]), stateWarn, "not this server"},
		"nothing_is_known_of": {"", stateUnknown, "no key of the configuration names it"},
	} {
		t.Run(name, func(t *testing.T) {
			args := []string{"doctor", "-o", "json"}
			if c.address != "" {
				args = append(args, "--scim-url", c.address+"/scim/v2")
			}
			out, _ := s.server.try(args...)
			d := new(doctor)
			decodeJSON(t, out, &d.results)
			d.demandResult(t, "SCIM address", c.state, c.text)
		})
	}
	for _, strange := range []string{"localhost", "https://u:secret@localhost/scim/v2", "https://localhost/", "ftp://localhost/scim/v2", "https://localhost/scim/v2?x"} {
		if err := checkSCIMURL(strange); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: the error is %v", strange, err)
		}
	}
}

// TestDoctor_GuessedSCIMAddressIsNeverAFault, since the identity provider may have another.
func TestDoctor_GuessedSCIMAddressIsNeverAFault(t *testing.T) {
	d := new(doctor)
	d.judgeReach(scimAddress{"https://login.test:8444/scim/v2", true}, time.Time{}, errors.New("refused"))
	d.demandResult(t, "SCIM address", stateUnknown, "the best guess, https://login.test:8444/scim/v2")
}

// config returns the settings of a test server, whose certificate for names lasts for a time.
func (a *authority) config(t *testing.T, lasting time.Duration, names ...string) *tls.Config {
	t.Helper()
	cert, key := a.issueFor(t, lasting, names...)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

// TestDoctor_KnowsTheSCIMAddressOnPublic: with scim.on_public it is on the host of public_url.
func TestDoctor_KnowsTheSCIMAddressOnPublic(t *testing.T) {
	w := newWorld(t)
	t.Setenv("SSL_CERT_FILE", filepath.Join(w.dir, "ca.pem"))
	cert, key := w.ca.issue(t, "localhost")
	writeFile(t, w.dir, "tls.crt", cert)
	writeFile(t, w.dir, "tls.key", key)
	addr := freeAddr(t)
	w.rewrite("public_url: https://"+loginHost, "scim: {on_public: true}\npublic_url: https://localhost:"+portOf(addr))
	w.rewrite("public: 127.0.0.1:0", "public: "+addr)
	s := w.start("--init")
	diagnose := func(state, text string) {
		t.Helper()
		out, _ := s.try("doctor", "-o", "json")
		d := new(doctor)
		decodeJSON(t, out, &d.results)
		d.demandResult(t, "SCIM address", state, text)
	}
	diagnose(stateOK, "https://localhost:"+portOf(addr)+"/scim/v2 resolves")
	s.kill()
	diagnose(stateUnknown, "no server is running; start the server")
}
