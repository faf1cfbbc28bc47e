package admin_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/live"
)

// liveWorld is a world with live requests, which its Admin can list and end.
type liveWorld struct {
	*world
	requests  []live.Request
	unreached []string
	recorded  int // events before the last end
}

func newLiveWorld(t *testing.T, requests ...live.Request) *liveWorld {
	t.Helper()
	w := &liveWorld{world: newWorld(t), requests: requests}
	parts := w.parts()
	parts.Live = admin.LiveRequests{
		List: func(_ context.Context, f live.Filter) live.List {
			list := live.Choose(f, w.requests, func(r live.Request) (live.Key, bool) { return r.Key, true }, func(r live.Request, _ live.Key) live.Request { return r })
			list.Missing = w.unreached
			return list
		},
		End: func(_ context.Context, f live.Filter, by admin.Actor) (ended int, unreached []string) {
			w.recorded = len(w.events())
			if by != ada {
				t.Errorf("ended by %+v", by)
			}
			var rest []live.Request
			for _, r := range w.requests {
				if f.Matches(&r.Key) {
					ended++
				} else {
					rest = append(rest, r)
				}
			}
			w.requests = rest
			return ended, w.unreached
		},
	}
	w.Admin = admin.New(parts)
	return w
}

func TestLive_EndsOneAfterRecordingIt(t *testing.T) {
	one := live.Request{Key: live.Key{ID: "aa", User: "u1", UserName: "bob@example.com", Route: "wiki"}, Session: "s1"}
	w := newLiveWorld(t, one, live.Request{Key: live.Key{ID: "bb", User: "u1"}})
	must(t, w.EndLive(t.Context(), ada, "aa"))
	e := w.lastEvents(1)[0]
	if e.Kind != audit.KindLive || e.Reason != "one" || e.Request != "aa" || e.User != "u1" || e.UserName != "bob@example.com" || e.Route != "wiki" || e.Session != "s1" || w.recorded != 1 {
		t.Errorf("%+v, with %d events before it was done", e, w.recorded)
	}
	for _, id := range []string{"aa", "", "b"} {
		if err := w.EndLive(t.Context(), ada, id); err == nil || !strings.Contains(err.Error(), "no live request has the number") {
			t.Errorf("ending %q: %v", id, err)
		}
	}
	if len(w.requests) != 1 || len(w.events()) != 1 {
		t.Errorf("%d are live, and %d events recorded", len(w.requests), len(w.events()))
	}
}

func TestLive_EndsAllOfUser(t *testing.T) {
	w := newLiveWorld(t)
	bob := w.createUser("bob@example.com")
	w.requests = []live.Request{{Key: live.Key{ID: "aa", User: bob}}, {Key: live.Key{ID: "bb", UserName: "app:x"}}, {Key: live.Key{ID: "cc", User: bob}}}
	if n, err := w.EndUserLive(t.Context(), ada, bob); n != 2 || err != nil {
		t.Errorf("%d ended, %v", n, err)
	}
	if e := w.lastEvents(1)[0]; e.Reason != "all" || e.User != bob || e.UserName != "bob@example.com" {
		t.Errorf("%+v", e)
	}
	if n, err := w.EndUserLive(t.Context(), ada, "app:x"); n != 1 || err != nil {
		t.Errorf("%d ended, %v", n, err)
	}
	if e := w.lastEvents(1)[0]; e.User != "" || e.UserName != "app:x" {
		t.Errorf("%+v", e)
	}
	if n, err := w.EndUserLive(t.Context(), ada, ""); n != 0 || err == nil {
		t.Errorf("nobody's: %d ended, %v", n, err)
	}
}

// TestLive_SaysWhatItCouldNotReach: a replica that does not reply may have requests that go on.
func TestLive_SaysWhatItCouldNotReach(t *testing.T) {
	w := newLiveWorld(t, live.Request{Key: live.Key{ID: "aa", User: "u1"}})
	w.unreached = []string{"replica-2 (it did not reply within a second)"}
	if err := w.EndLive(t.Context(), ada, "zz"); err == nil || !strings.Contains(err.Error(), "replica-2") {
		t.Errorf("an unknown one: %v", err)
	}
	if n, err := w.EndUserLive(t.Context(), ada, "u1"); n != 1 || err == nil || !strings.Contains(err.Error(), "replica-2") {
		t.Errorf("%d, %v", n, err)
	}
	if last := w.lastEvents(2); last[0].Reason != "all" || last[1].Reason != "failed" || last[1].Detail["action"] != "all" {
		t.Errorf("%+v", last)
	}
}

func TestLive_IsForThoseWhoMay(t *testing.T) {
	w := newLiveWorld(t, live.Request{Key: live.Key{ID: "aa", User: "u1"}})
	auditor := admin.Actor{Kind: audit.ActorUser, Name: "otto@example.com", Role: audit.RoleAuditor}
	if list, err := w.Live(t.Context(), auditor, live.Filter{Limit: 1}); err != nil || len(list.Requests) != 1 {
		t.Errorf("an auditor sees %+v, %v", list, err)
	}
	if err := w.EndLive(t.Context(), auditor, "aa"); !errors.Is(err, admin.ErrAuditor) {
		t.Error(err)
	}
	if _, err := w.EndUserLive(t.Context(), auditor, "u1"); !errors.Is(err, admin.ErrAuditor) {
		t.Error(err)
	}
	must(t, w.log.Close())
	if err := w.EndLive(t.Context(), ada, "aa"); !errors.Is(err, admin.ErrNotRecorded) {
		t.Error(err)
	}
	if len(w.requests) != 1 {
		t.Error("it was ended all the same")
	}
	none := newWorld(t)
	if _, err := none.Live(t.Context(), ada, live.Filter{}); !errors.Is(err, admin.ErrNoServer) {
		t.Error(err)
	}
	if _, err := none.EndUserLive(t.Context(), ada, "u1"); !errors.Is(err, admin.ErrNoServer) {
		t.Error(err)
	}
}
