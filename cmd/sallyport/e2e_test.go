package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sallyport/entratest"
)

// cutWithin is how soon live requests must end after the response to the push.
const cutWithin = 100 * time.Millisecond

// stage is a world with a running server, where Alice is a member of the group and signed in.
type stage struct {
	*world
	server  *running
	push    *pusher
	alice   string // SCIM id of Alice
	group   string // SCIM id of the group
	person  entratest.Person
	browser *browser // Alice's
}

func newStage(t testing.TB) *stage {
	t.Helper()
	w := newWorld(t)
	return w.settle(w.start("--init"))
}

// settle pushes Alice and the group to server, and signs her in.
func (w *world) settle(server *running) *stage {
	w.t.Helper()
	s := &stage{world: w, server: server}
	s.push = s.pusher(s.server)
	s.person = s.entra.Add(entratest.Person{UPN: "alice@example.com", Name: "Alice"})
	s.entra.SignIn(s.person.OID)
	s.alice = s.push.hire("alice", s.person.OID)
	s.group = s.push.form("Members", s.world.group)
	s.push.member("Add", s.group, s.alice)
	s.browser = s.newBrowser(s.server)
	s.browser.signIn()
	return s
}

// liveRequest is a request without an end of its own. ended is closed when the client reads its end.
type liveRequest struct {
	name  string
	ended chan struct{}
	when  *time.Time // set before ended is closed
}

func newLiveRequest(name string) liveRequest {
	return liveRequest{name, make(chan struct{}), new(time.Time)}
}

// end says that the request has ended.
func (l liveRequest) end() {
	*l.when = time.Now()
	close(l.ended)
}

// at returns when the request ended.
func (l liveRequest) at() time.Time { return *l.when }

// openAll opens a WebSocket, an event stream and a download, and demands that data flows on each.
func (s *stage) openAll(t testing.TB) []liveRequest {
	return []liveRequest{s.openSocket(t), s.openStream(t, "/events"), s.openStream(t, "/download")}
}

func (s *stage) openSocket(t testing.TB) liveRequest {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	t.Cleanup(stop)
	c, _, err := websocket.Dial(ctx, "wss://"+appHost+"/socket", &websocket.DialOptions{HTTPClient: s.browser.client})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.CloseNow() })
	if err := c.Write(ctx, websocket.MessageText, []byte("are you there?")); err != nil {
		t.Fatal(err)
	}
	if _, data, err := c.Read(ctx); err != nil || string(data) != "are you there?" {
		t.Fatalf("the socket echoes %q, %v", data, err)
	}
	l := newLiveRequest("socket")
	go func() {
		defer l.end()
		for {
			if _, _, err := c.Read(ctx); err != nil {
				return
			}
		}
	}()
	return l
}

func (s *stage) openStream(t testing.TB, path string) liveRequest {
	t.Helper()
	resp := s.browser.get("https://"+appHost+path, "")
	t.Cleanup(func() { _ = resp.Body.Close() })
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s gives %s", path, resp.Status)
	}
	if _, err := io.ReadFull(resp.Body, make([]byte, 32)); err != nil {
		t.Fatal(err)
	}
	l := newLiveRequest(path)
	go func() {
		defer l.end()
		_, _ = io.Copy(io.Discard, resp.Body)
	}()
	return l
}

// demandCut demands that the next request gets the status denied, and that the live requests end. It returns how long
// after the response to the push the last of them ended.
func (s *stage) demandCut(t *testing.T, requests []liveRequest, denied int) (slowest time.Duration) {
	t.Helper()
	pushed := time.Now()
	if code := s.browser.fetch("/"); code != denied {
		t.Errorf("the next request gives %d, want %d", code, denied)
	}
	deadline := time.After(5 * time.Second)
	for _, l := range requests {
		select {
		case <-l.ended:
			slowest = max(slowest, l.at().Sub(pushed))
		case <-deadline:
			t.Fatalf("the %s is not cut", l.name)
		}
	}
	return slowest
}

// TestCut: every change that denies a caller also ends the caller's live requests, at once.
func TestCut(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*stage)
		denied int // the status of the next request
	}{
		{"deactivated", func(s *stage) { s.push.setActive(s.alice, "False") }, http.StatusForbidden},
		{"left_group", func(s *stage) { s.push.member("Remove", s.group, s.alice) }, http.StatusForbidden},
		{"deleted", func(s *stage) { s.push.send("DELETE", "/Users/"+s.alice, nil, http.StatusNoContent) }, http.StatusForbidden},
		{"group_deleted", func(s *stage) { s.push.send("DELETE", "/Groups/"+s.group, nil, http.StatusNoContent) }, http.StatusForbidden},
		{"signed_out", (*stage).signOut, http.StatusUnauthorized},
		{"session_ended_by_operator", func(s *stage) { s.server.verb("sessions", "end", "--user", s.alice) }, http.StatusUnauthorized},
		{"suspended", func(s *stage) {
			s.server.verb("users", "suspend", "Alice@example.com", "--reason", "under investigation")
		}, http.StatusUnauthorized},
		{"policy_reloaded", func(s *stage) {
			s.configure("61503835-0000-0000-0000-000000000002")
			s.server.verb("reload")
		}, http.StatusForbidden},
	} {
		t.Run(c.name, func(t *testing.T) {
			// A busy machine may delay one attempt, but hardly three.
			var took time.Duration
			for range 3 {
				s := newStage(t)
				requests := s.openAll(t)
				c.change(s)
				took = s.demandCut(t, requests, c.denied)
				s.server.verb("audit", "verify")
				if took <= cutWithin {
					return
				}
			}
			t.Errorf("live requests end after %v", took)
		})
	}
}

// signOut sends the request of the sign-out button.
func (s *stage) signOut() {
	req, err := http.NewRequest(http.MethodPost, "https://"+appHost+"/.sallyport/logout", strings.NewReader(""))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", "https://"+appHost)
	req.Header.Set("Sec-Fetch-Site", "same-origin")
	once := *s.browser.client
	once.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	resp, err := once.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		s.t.Fatalf("signing out gives %s", resp.Status)
	}
}

// TestReactivation_OldCookieStaysInvalid: after active:"True", Alice has access again without a push of her memberships,
// but the cookie from before stays invalid.
func TestReactivation_OldCookieStaysInvalid(t *testing.T) {
	s := newStage(t)
	old := s.browser.cookies(appHost)
	s.push.setActive(s.alice, "False")
	fresh := s.newBrowser(s.server)
	if status, body := fresh.navigate("https://" + appHost + "/"); status != http.StatusForbidden {
		t.Errorf("a login while deactivated ends with %d:\n%s", status, body)
	}
	s.push.setActive(s.alice, "True")

	if code := s.browser.fetch("/"); code != http.StatusUnauthorized {
		t.Errorf("the old cookie gives %d", code)
	}
	fresh = s.newBrowser(s.server)
	fresh.signIn()
	for _, c := range fresh.cookies(appHost) {
		for _, o := range old {
			if c.Value == o.Value {
				t.Error("the new session has the old cookie")
			}
		}
	}
	s.restart()
	other := s.newBrowser(s.server)
	other.client.Jar.SetCookies(mustParseURL(t, "https://"+appHost+"/"), secure(old))
	if code := other.fetch("/"); code != http.StatusUnauthorized {
		t.Errorf("after a restart the old cookie gives %d", code)
	}
}

// restart kills the server and starts it again on the same files.
func (s *stage) restart() {
	s.server.kill()
	s.server = s.start()
}

// TestBearer_EndsWithMembership: a user's access token is accepted while the user is a member of the group; invalid tokens
// are rejected.
func TestBearer_EndsWithMembership(t *testing.T) {
	s := newStage(t)
	token := s.entra.AccessToken(s.person, audience, nil)
	status := func(token string) int {
		resp := s.browser.get("https://"+apiHost+"/", token)
		defer resp.Body.Close()
		if resp.StatusCode == http.StatusUnauthorized && resp.Header.Get("WWW-Authenticate") == "" {
			t.Error("a 401 without WWW-Authenticate")
		}
		return resp.StatusCode
	}
	if code := status(token); code != http.StatusOK {
		t.Fatalf("a valid token gives %d", code)
	}
	for name, invalid := range map[string]string{
		"none":                 "",
		"another audience":     s.entra.AccessToken(s.person, "api://other", nil),
		"an ID token":          s.entra.IDToken(s.person, "nonce", nil),
		"unsigned":             s.entra.Unsigned(s.entra.Claims(s.person, audience)),
		"HS256 by public key":  s.entra.Confused(s.entra.Claims(s.person, audience)),
		"version 1":            s.entra.AccessTokenV1(s.person, audience, nil),
		"expired":              s.entra.AccessToken(s.person, audience, func(c entratest.Claims) { c["exp"] = time.Now().Add(-time.Hour).Unix() }),
		"another tenant":       s.entra.AccessToken(s.person, audience, func(c entratest.Claims) { c["tid"] = "00000000-0000-0000-0000-000000000000" }),
		"garbage":              "garbage",
		"a dot-separated mess": "a.b.c",
	} {
		if code := status(invalid); code != http.StatusUnauthorized {
			t.Errorf("%s gives %d", name, code)
		}
	}
	s.push.member("Remove", s.group, s.alice)
	if code := status(token); code != http.StatusForbidden {
		t.Errorf("after leaving the group the token gives %d", code)
	}
}

// TestInvalidRequests_ChangeNothing: requests for unknown hosts, invalid tokens and malformed pushes get the right status,
// and nothing changes.
func TestInvalidRequests_ChangeNothing(t *testing.T) {
	s := newStage(t)
	resp := s.browser.getHost("https://"+appHost+"/", "nowhere.test")
	if resp.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown host gives %s", resp.Status)
	}
	invalid := *s.push
	invalid.token = s.push.token[:len(s.push.token)-1] + "x"
	invalid.send("GET", "/Users", nil, http.StatusUnauthorized)

	for name, patch := range map[string]map[string]any{
		"no operations":     {"schemas": []string{"urn:ietf:params:scim:api:messages:2.0:PatchOp"}},
		"unknown operation": patchOf(map[string]any{"op": "frob", "path": "active", "value": false}),
		"no boolean":        patchOf(map[string]any{"op": "Replace", "path": "active", "value": "maybe"}),
		"bad filter":        patchOf(map[string]any{"op": "Replace", "path": "emails[type eq", "value": "x"}),
	} {
		if status, body, err := s.push.try("PATCH", "/Users/"+s.alice, patch); err != nil || status != http.StatusBadRequest || body["scimType"] == nil {
			t.Errorf("%s gives %d %v, %v", name, status, body, err)
		}
	}
	status, _, err := s.push.try("POST", "/Users", map[string]any{"userName": strings.Repeat("x", 5<<20)})
	if err == nil && status != http.StatusRequestEntityTooLarge {
		t.Errorf("an oversized body gives %d", status)
	}
	if code := s.browser.fetch("/"); code != http.StatusOK {
		t.Errorf("Alice, who was not changed, gets %d", code)
	}
}

func (b *browser) getHost(target, host string) *http.Response {
	b.t.Helper()
	req, err := http.NewRequest(http.MethodGet, target, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	req.Host = host
	resp, err := b.client.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp
}

// TestReload_InvalidFileKeepsSettings: a file with a mistake changes nothing, and does not prevent a later reload.
func TestReload_InvalidFileKeepsSettings(t *testing.T) {
	s := newStage(t)
	writeFile(t, s.dir, "sallyport.yaml", []byte("publik_url: https://login.test\n"))
	status, _, err := s.push.try("GET", "/Users", nil)
	if err != nil || status != http.StatusOK {
		t.Errorf("pushes get %d, %v", status, err)
	}
	if code := s.browser.fetch("/"); code != http.StatusOK {
		t.Errorf("with an invalid file, Alice gets %d", code)
	}
	s.configure(s.world.group)
	s.server.verb("reload")
	if code := s.browser.fetch("/"); code != http.StatusOK {
		t.Errorf("with the corrected file, Alice gets %d", code)
	}
}

// TestServer_SecondOnSameStoreIsRejected: the error names the process that holds the store.
func TestServer_SecondOnSameStoreIsRejected(t *testing.T) {
	s := newStage(t)
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := runCommand(path, "serve", "-c", s.dir+"/sallyport.yaml")
	var exit interface{ ExitCode() int }
	if !errors.As(err, &exit) || exit.ExitCode() != exitError || !strings.Contains(out, "held by another process (process ") {
		t.Errorf("a second server ends with %v:\n%s", err, out)
	}
}
