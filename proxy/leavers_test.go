package proxy

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sallyport/directory"
	"sallyport/session"
)

// sessionMetrics returns the metrics of sessions that are not zero, sorted, without their prefix.
func (w *world) sessionMetrics() string {
	w.t.Helper()
	list := []string{fmt.Sprintf("active %v", testutil.ToFloat64(w.sessions.Collectors()[0]))}
	ended := w.sessions.Collectors()[1].(*prometheus.CounterVec)
	for _, reason := range session.Reasons() {
		if n := testutil.ToFloat64(ended.WithLabelValues(string(reason))); n != 0 {
			list = append(list, fmt.Sprintf("%s %v", reason, n))
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// TestSessionMetrics_FollowUsers checks that a session which ends with its user is neither live in the metrics nor counted
// twice, and that the next request is told the same as before.
func TestSessionMetrics_FollowUsers(t *testing.T) {
	suspend := func(w *world, id string) {
		w.update(func(tx *directory.Tx) error { return tx.Suspend(id, "lost laptop") })
	}
	for name, c := range map[string]struct {
		end    func(w *world, id string)
		status int
		reason Reason
	}{
		"deactivated": {func(w *world, _ string) { w.setActive("alice", false) }, 403, inactiveUser},
		"suspended":   {suspend, 403, suspendedUser},
		"deleted": {func(w *world, id string) {
			w.update(func(tx *directory.Tx) error { return tx.DeleteUser(id) })
		}, 403, unknownUser},
		"deactivated and activated": {func(w *world, _ string) { w.setActive("alice", false); w.setActive("alice", true) }, 401, sessionEnded},
		"suspended as operators do": {func(w *world, id string) {
			suspend(w, id)
			if n, err := w.sessions.EndUser(w.ctx, id, session.ReasonUser); n != 2 || err != nil {
				w.t.Errorf("%d sessions ended, %v", n, err)
			}
		}, 401, sessionEnded},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			first, cookie := w.signIn("alice", appHost)
			w.signIn("alice", appHost)
			_, other := w.signIn("bob", appHost)
			if got := w.sessionMetrics(); got != "active 3" {
				t.Fatal(got)
			}
			c.end(w, first.User)
			w.eventually("the metrics say so", func() bool { return w.sessionMetrics() == "active 1, user 2" })
			if list := w.sessions.List(); len(list) != 1 || list[0].UserName != "bob@example.com" {
				t.Errorf("listed as live: %+v", list)
			}
			res, text := w.get(w.client(false), "https://"+appHost+"/", "Cookie", cookie, "Accept", "application/json")
			if res.StatusCode != c.status || !strings.Contains(text, `"`+string(c.reason)+`"`) {
				t.Errorf("the next request: %d %s", res.StatusCode, text)
			}
			if res, _ := w.get(w.client(false), "https://"+appHost+"/", "Cookie", other, "Accept", "application/json"); res.StatusCode != 403 { // bob is in no group
				t.Errorf("another user's request: %d", res.StatusCode)
			}
			w.must(w.sessions.End(w.ctx, w.sessions.List()[0].ID, session.ReasonProvider))
			if got := w.sessionMetrics(); got != "active 0, provider 1, user 2" {
				t.Error(got)
			}
		})
	}
}
