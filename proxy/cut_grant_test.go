package proxy

import (
	"testing"
	"time"

	"sallyport/grant"
	"sallyport/policy"
)

// TestCut_GrantEnds checks that a WebSocket that only a grant let in is cut when the grant runs out, and when somebody
// ends it.
func TestCut_GrantEnds(t *testing.T) {
	for name, length := range map[string]time.Duration{"expired": 1500 * time.Millisecond, "revoked": time.Hour} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(s *Settings) {
				s.Policies[0].Requestable = &policy.Requestable{By: policy.Requesters{Anyone: true}, Approvers: policy.Approvers{Manager: true}, Max: time.Hour}
			})
			reached, gone := w.serveStreams()
			_, cookie := w.signIn("bob", appHost)
			if res, _ := w.get(w.client(false), "https://"+appHost+"/", "Cookie", cookie); res.StatusCode != 403 {
				t.Fatalf("without a grant: %d", res.StatusCode)
			}
			g := w.grant("bob", length)
			s := openWebSocket(w, w.client(false), "https://"+appHost, "Cookie", cookie)
			await(t, "the upstream is reached", reached)
			if name == "revoked" {
				_, err := w.grants.Revoke(w.ctx, g.Person.ID, g.ID, "an operator", "the incident is over", time.Now())
				w.must(err)
			}
			await(t, "the client sees the end", s.done)
			t.Logf("the client saw the end %v after the grant", time.Since(g.Until).Round(time.Millisecond))
			if ended := time.Now(); name == "expired" && ended.Before(g.Until) {
				t.Errorf("it was cut at %s, before the grant ended at %s", ended, g.Until)
			}
			await(t, "the upstream sees the end", gone)
			w.eventually("the cut is counted", func() bool {
				return w.metric("sallyport_cuts_total", "route", "app", "reason", string(noRule)) == 1
			})
			if res, _ := w.get(w.client(false), "https://"+appHost+"/", "Cookie", cookie); res.StatusCode != 403 {
				t.Errorf("afterwards: %d", res.StatusCode)
			}
		})
	}
}

// grant lets a user in by the policy staff.
func (w *world) grant(name string, length time.Duration) grant.Grant {
	w.t.Helper()
	u, now := w.user(name), time.Now().UTC()
	request := grant.NewRequest(grant.Person{ID: u.ID, UserName: u.UserName, Epoch: u.Epoch}, now)
	request.Policy, request.Route = "staff", "app"
	ok := func() error { return nil }
	_, err := w.grants.Ask(w.ctx, request, ok)
	w.must(err)
	approval := grant.Approval{By: w.user("alice").ID, Name: "alice@example.com", At: now, For: length}
	id := grant.NewID()
	_, err = w.grants.Approve(w.ctx, request.ID, grant.Approving{Count: []grant.Approval{approval}, Grant: id, For: length, At: now, Check: ok})
	w.must(err)
	g, err := w.grants.Grant(id)
	w.must(err)
	return g
}
