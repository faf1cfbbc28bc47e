package admin_test

import (
	"context"
	"errors"
	"log/slog"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/enforce"
	"sallyport/store"
)

// replicas are others that use the store, of which it is not known what they decide by.
type replicas struct {
	store.Store
	store.Leaser
	asked int
}

func (r *replicas) Enforced(context.Context, store.Revision) (store.Enforcement, error) {
	r.asked++
	return store.Enforcement{Applied: []string{"replica-1"}, Waiting: []string{"replica-2"}}, context.DeadlineExceeded
}

// adds are the actions that take no access away: whoever asks for one gets what it gives, although it is not known what
// replicas make of it.
var adds = map[string]bool{"create token": true, "rotate token": true, "unsuspend": true, "approve request": true, "deny request": true, "reject": true}

// local are the actions that change nothing by which other replicas decide.
var local = map[string]bool{"reload": true, "backup": true}

// TestAdmin_WaitsForReplicas: every action is done, waits once for the replicas and is recorded as not known to be enforced;
// whoever takes access away is told so by an error.
func TestAdmin_WaitsForReplicas(t *testing.T) {
	each(t, func(t *testing.T, w *world, op operation) {
		others, parts := &replicas{}, w.parts()
		parts.Enforcer = enforce.New(others, 0, w.log.Write, slog.New(slog.DiscardHandler))
		w.Admin = admin.New(parts)
		before := len(w.events())
		name := strings.ReplaceAll(path.Base(t.Name()), "_", " ")
		err := op.do(t.Context(), ada)
		if !op.done() {
			t.Error("it is not done")
		}
		switch known := errors.Is(err, enforce.ErrUnknown); {
		case local[name]:
			if err != nil || others.asked != 0 {
				t.Errorf("the replicas are asked %d times, and the error is %v", others.asked, err)
			}
			return
		case adds[name] && err != nil || !adds[name] && !known:
			t.Errorf("the error is %v", err)
		}
		if others.asked != 1 {
			t.Errorf("the replicas are asked %d times", others.asked)
		}
		told := 0
		for _, e := range w.events()[before:] {
			if e.Kind == audit.KindEnforced {
				told++
				if e.Reason != "unknown" || e.Actor.Name != "ada" || e.Detail["change"] == "" {
					t.Errorf("recorded %+v", e)
				}
			}
		}
		if told != 1 {
			t.Errorf("%d events tell of the replicas", told)
		}
	})
}

// TestSweep_IsDoneByTheReplicaThatLeads: the record tells once that a grant ended by time.
func TestSweep_IsDoneByTheReplicaThatLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var leads atomic.Bool
		parts := w.parts()
		parts.Leads = func(context.Context) (bool, error) { return leads.Load(), nil }
		w.Admin = admin.New(parts)
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go func() { _ = w.Run(ctx) }()
		_, err := w.Approve(t.Context(), ada, w.request().ID, 0, "")
		must(t, err)
		ends := func() (n int) {
			for _, e := range w.events() {
				if e.Kind == audit.KindGrant && e.Reason == "ended" {
					n++
				}
			}
			return n
		}
		time.Sleep(2 * time.Hour)
		if n := ends(); n != 0 {
			t.Errorf("a replica that does not lead records %d ends", n)
		}
		leads.Store(true)
		time.Sleep(3 * time.Minute)
		if n := ends(); n != 1 {
			t.Errorf("the replica that leads records %d ends", n)
		}
	})
}
