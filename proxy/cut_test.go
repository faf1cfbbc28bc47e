package proxy

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"sallyport/audit"
	"sallyport/directory"
	"sallyport/entratest"
	"sallyport/policy"
	"sallyport/session"
)

// revocation is an event that takes the access of a user away.
type revocation struct {
	name   string
	do     func(w *world, name string, s session.Session)
	reason Reason
}

var revocations = []revocation{
	{"deactivated", func(w *world, name string, _ session.Session) { w.setActive(name, false) }, inactiveUser},
	{"deleted", func(w *world, name string, _ session.Session) {
		id := w.user(name).ID
		w.update(func(tx *directory.Tx) error { return tx.DeleteUser(id) })
	}, unknownUser},
	{"left_group", func(w *world, name string, _ session.Session) { w.removeFromGroup(name, staff) }, noRule},
	{"signed_out", func(w *world, _ string, s session.Session) {
		w.must(w.sessions.End(w.ctx, s.ID, session.ReasonLogout))
	}, sessionEnded},
	{"lost_rule", func(w *world, _ string, _ session.Session) {
		s := w.settings
		s.Policies = slices.Clone(s.Policies)
		s.Policies[0] = policy.Named{Name: "staff", Rules: []policy.Rule{{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: admins}}}}}}
		w.must(w.proxy.Load(s))
	}, noRule},
	{"lost_route", func(w *world, _ string, _ session.Session) {
		s := w.settings
		s.Routes = s.Routes[1:]
		w.must(w.proxy.Load(s))
	}, noRoute},
}

// TestCut checks that every revocation ends every kind of live request, and is counted and recorded.
func TestCut(t *testing.T) {
	for _, k := range streamKinds {
		for protocol, h2 := range map[string]bool{"": false, "_http2": true} {
			if h2 && k.h1 {
				continue
			}
			t.Run(k.name+protocol, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, nil)
				revoked := make([]time.Time, len(revocations))
				for i, r := range revocations {
					t.Run(r.name, func(t *testing.T) { revoked[i] = testCut(t, w, k, r, fmt.Sprintf("person%d", i), w.client(h2)) })
					w.must(w.proxy.Load(w.settings))
				}
				w.eventually("every cut is recorded", func() bool { return len(w.events(audit.KindCut)) == len(revocations) })
				for i, line := range w.events(audit.KindCut) {
					if !strings.Contains(line, `"reason":"`+string(revocations[i].reason)+`"`) || !strings.Contains(line, `"route":"app"`) {
						t.Errorf("recorded for %s: %s", revocations[i].name, line)
					}
					var e audit.Event
					w.must(json.Unmarshal([]byte(line), &e))
					if e.Time.Before(revoked[i]) {
						t.Errorf("%s after %s is recorded at %s", revocations[i].name, revoked[i].UTC(), e.Time)
					}
				}
			})
		}
	}
}

// testCut returns a time between the beginning of the request and its cut.
func testCut(t *testing.T, w *world, k streamKind, r revocation, name string, c *http.Client) (revoked time.Time) {
	reached, gone := w.serveStreams()
	w.addUser(name, staff)
	started, cookie := w.signIn(name, appHost)
	before := w.metric("sallyport_cuts_total", "route", "app", "reason", string(r.reason))
	s := k.open(w, c, "https://"+appHost, "Cookie", cookie)
	await(t, "the upstream is reached", reached)
	if n := w.metric("sallyport_live_requests", "route", "app"); n != 1 {
		t.Fatalf("%v requests are live", n)
	}

	revoked = time.Now()
	r.do(w, name, started)
	await(t, "the client sees the end", s.done)
	if s.err == nil {
		t.Error("the response looks complete to the client")
	}
	await(t, "the upstream sees the end", gone)
	w.eventually("nothing is live", func() bool { return w.metric("sallyport_live_requests") == 0 })
	w.eventually("the cut is counted", func() bool {
		return w.metric("sallyport_cuts_total", "route", "app", "reason", string(r.reason)) == before+1
	})
	if res, _ := w.get(c, "https://"+appHost+"/pending", "Cookie", cookie, "Accept", "application/json"); res.StatusCode < 400 {
		t.Errorf("the next request: %d", res.StatusCode)
	}
	return revoked
}

// TestCut_DeniesUpload checks that an upload that is cut gets 403 at once, before its body has ended.
func TestCut_DeniesUpload(t *testing.T) {
	for _, k := range []streamKind{streamKinds[5], streamKinds[6]} {
		w := newWorld(t, nil)
		reached, _ := w.serveStreams()
		_, cookie := w.signIn("alice", appHost)
		s := k.open(w, w.client(false), "https://"+appHost, "Cookie", cookie)
		await(t, "the upstream is reached", reached)
		w.setActive("alice", false)
		await(t, "the client sees the end", s.done)
		if s.err.Error() != "status 403" {
			t.Errorf("%s: %v", k.name, s.err)
		}
	}
}

// TestCut_TokenExpires checks that a stream is cut when its bearer token expires.
func TestCut_TokenExpires(t *testing.T) {
	t.Parallel() // it waits
	w := newWorld(t, nil)
	w.serveStreams()
	text := w.token("alice", func(c entratest.Claims) { c["exp"] = time.Now().Add(4 * time.Second).Unix() }) // after the stream has begun, on a busy machine
	s := openEvents(w, w.client(true), "https://"+appHost, "Authorization", "Bearer "+text)
	await(t, "the client sees the end", s.done)
	w.eventually("the cut is counted", func() bool {
		return w.metric("sallyport_cuts_total", "route", "app", "reason", string(tokenRefused)) == 1
	})
}

// TestCut_SparesOthers checks that changes that do not revoke the access of a request do not end it.
func TestCut_SparesOthers(t *testing.T) {
	w := newWorld(t, nil)
	w.addUser("carol", staff)
	w.setUpstream(echo)
	_, cookie := w.signIn("carol", appHost)
	conn := dial(w, w.client(false), "https://"+appHost+"/socket", []string{"Cookie", cookie})
	echoOnce := func() {
		t.Helper()
		w.must(conn.Write(w.ctx, websocket.MessageText, []byte("still here")))
		if _, data, err := conn.Read(w.ctx); err != nil || string(data) != "still here" {
			t.Fatalf("%q, %v", data, err)
		}
	}
	echoOnce()
	w.setActive("alice", false)
	w.removeFromGroup("carol", admins) // she is no member
	w.must(w.proxy.Load(w.settings))
	echoOnce()
	if n := w.metric("sallyport_cuts_total"); n != 0 {
		t.Errorf("%v cuts", n)
	}
}

// TestCut_MissesNoRequest checks that no request survives a revocation that happens at the moment at which the request
// is let in.
func TestCut_MissesNoRequest(t *testing.T) {
	w := newWorld(t, nil)
	w.setUpstream(func(rw http.ResponseWriter, r *http.Request) {
		http.NewResponseController(rw).Flush()
		<-r.Context().Done()
	})
	const people, requests, rounds = 4, 8, 6
	for round := range rounds {
		var entering sync.WaitGroup
		ended := make(chan struct{}, people*requests)
		begin := make(chan struct{})
		c := w.client(round%2 == 0)
		for person := range people {
			name := fmt.Sprintf("round%dperson%d", round, person)
			w.addUser(name, staff)
			_, cookie := w.signIn(name, appHost)
			for range requests {
				entering.Go(func() {
					<-begin
					r, _ := http.NewRequestWithContext(w.ctx, "GET", "https://"+appHost+"/", nil)
					r.Header.Set("Cookie", cookie)
					res, err := c.Do(r)
					if err == nil {
						_, _ = io.Copy(io.Discard, res.Body)
						res.Body.Close()
					}
					ended <- struct{}{}
				})
			}
			entering.Go(func() {
				<-begin
				if person%2 == 0 {
					w.setActive(name, false)
				} else {
					w.removeFromGroup(name, staff)
				}
			})
		}
		close(begin)
		for range people * requests {
			select {
			case <-ended:
			case <-time.After(waitLimit):
				t.Fatalf("round %d: %v requests are live although the access of all users was revoked", round, w.metric("sallyport_live_requests"))
			}
		}
		entering.Wait()
	}
	w.eventually("nothing is live", func() bool { return w.metric("sallyport_live_requests") == 0 })
}

// TestCut_MeasuresEnforcement checks that a cut because of a push is measured once by offboarding_enforcement_seconds, also
// if live requests are being decided again for another reason when the push comes.
func TestCut_MeasuresEnforcement(t *testing.T) {
	w := newWorld(t, nil)
	c := w.client(true)
	for n := range 40 {
		w.serveStreams()
		name := fmt.Sprintf("person%d", n)
		w.addUser(name, staff)
		_, cookie := w.signIn(name, appHost)
		s := openEvents(w, c, "https://"+appHost, "Cookie", cookie)
		var reload sync.WaitGroup
		reload.Go(func() { w.must(w.proxy.Load(w.settings)) })
		w.pushInactive(name, time.Now())
		await(t, "the client sees the end", s.done)
		reload.Wait()
		w.eventually("it is measured", func() bool { return w.metric("sallyport_offboarding_enforcement_seconds") >= float64(n+1) })
	}
	if n := w.metric("sallyport_offboarding_enforcement_seconds"); n != 40 {
		t.Errorf("measured %v times, not 40", n)
	}
}

// pushInactive deactivates a user by a push that was received at some time.
func (w *world) pushInactive(name string, received time.Time) {
	w.t.Helper()
	id := w.user(name).ID
	w.update(func(tx *directory.Tx) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		u.Active = false
		if err := tx.PutUser(&u); err != nil {
			return err
		}
		return tx.Record(directory.Record{Received: received, Event: []byte(`{}`)})
	})
}

// TestCut_ClosesConnection checks that a cut closes the connection of a client whose WebSocket is idle in both
// directions.
func TestCut_ClosesConnection(t *testing.T) {
	w := newWorld(t, nil)
	w.serveStreams()
	_, cookie := w.signIn("alice", appHost)
	conn := w.sendRaw("GET /socket HTTP/1.1\r\nHost: " + appHost + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: " + cookie + "\r\n\r\n")
	br := bufio.NewReader(conn)
	res, err := http.ReadResponse(br, nil)
	w.must(err)
	if res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("%d", res.StatusCode)
	}
	w.removeFromGroup("alice", staff)
	_, err = io.Copy(io.Discard, br)
	var slow net.Error
	if errors.As(err, &slow) && slow.Timeout() {
		t.Error("the connection is still open")
	}
}

// TestCut_IsRecordedWithItsTime: the event of a cut has the time of the cut, and not that of the request, which may have
// begun hours before.
func TestCut_IsRecordedWithItsTime(t *testing.T) {
	w := newWorld(t, nil)
	reached, _ := w.serveStreams()
	_, cookie := w.signIn("alice", appHost)
	s := streamKinds[0].open(w, w.client(false), "https://"+appHost, "Cookie", cookie)
	await(t, "the upstream is reached", reached)
	before := time.Now()
	w.setActive("alice", false)
	await(t, "the client sees the end", s.done)
	w.eventually("the cut is recorded", func() bool { return len(w.events(audit.KindCut)) == 1 })
	var e audit.Event
	w.must(json.Unmarshal([]byte(w.events(audit.KindCut)[0]), &e))
	if e.Time.Before(before) {
		t.Errorf("recorded at %s, but cut after %s", e.Time, before.UTC())
	}
}
