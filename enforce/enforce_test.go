package enforce_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/audit"
	"sallyport/enforce"
	"sallyport/store"
)

// leaser is a store whose replicas make of a change what a test says.
type leaser struct {
	store.Store
	store.Leaser
	enforced func(ctx context.Context, revision store.Revision) (store.Enforcement, error)
}

func (l leaser) Enforced(ctx context.Context, revision store.Revision) (store.Enforcement, error) {
	return l.enforced(ctx, revision)
}

// deactivation is the event of a push.
func deactivation(user string) audit.Event {
	return audit.Event{Kind: audit.KindSCIM, Actor: audit.Actor{Kind: audit.ActorToken, Name: "entra"}, User: user, UserName: user + "@example.com", Reason: "patch", Revision: 7}
}

// run calls f with an Enforcer of replicas with a lease, and with what is recorded.
func run(t *testing.T, lease time.Duration, enforced func(context.Context, store.Revision) (store.Enforcement, error), f func(e *enforce.Enforcer, recorded func() []audit.Event)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		var events []audit.Event
		record := func(e audit.Event) error {
			if err := e.Check(); err != nil {
				t.Error(err)
			}
			events = append(events, e)
			return nil
		}
		e := enforce.New(leaser{enforced: enforced}, lease, record, slog.New(slog.DiscardHandler))
		f(e, func() []audit.Event { list := events; events = nil; return list })
	})
}

func TestEnforcer_RecordsWhatReplicasMadeOfAChange(t *testing.T) {
	for name, c := range map[string]struct {
		after   time.Duration
		outcome store.Enforcement
		reason  string
		text    string
	}{
		"everywhere": {4200 * time.Microsecond, store.Enforcement{Applied: []string{"replica-1", "replica-2", "replica-3"}}, "everywhere", "enforced on 3/3 replicas in 5 ms"},
		"fenced":     {15500 * time.Millisecond, store.Enforcement{Applied: []string{"replica-1"}, Fenced: []string{"replica-2"}}, "fenced", "enforced on 1/2 replicas, replica-2 fenced after 15.5 s"},
		"alone":      {0, store.Enforcement{Applied: []string{"replica-1"}}, "everywhere", "enforced on 1/1 replicas in 0 ms"},
	} {
		t.Run(name, func(t *testing.T) {
			run(t, 15*time.Second, func(_ context.Context, revision store.Revision) (store.Enforcement, error) {
				if revision != 0 {
					t.Errorf("it waits for revision %d, not for the newest", revision)
				}
				time.Sleep(c.after)
				return c.outcome, nil
			}, func(e *enforce.Enforcer, recorded func() []audit.Event) {
				outcome, err := e.Wait(context.Background(), deactivation("ada"), deactivation("bob"))
				if err != nil || outcome.String() != c.text || outcome.Complete() != (c.reason == "everywhere") {
					t.Errorf("the outcome is %q, %v, complete %v", outcome, err, outcome.Complete())
				}
				events := recorded()
				if len(events) != 2 {
					t.Fatalf("%d events", len(events))
				}
				got := events[1]
				if got.User != "bob" || got.Reason != c.reason || got.Detail["text"] != c.text || got.Detail["change"] != "scim" || got.Detail["action"] != "patch" || got.Revision != 7 {
					t.Errorf("recorded %+v", got)
				}
			})
		})
	}
}

func TestEnforcer_UnknownIsAnError(t *testing.T) {
	var ended, unreachable bool
	run(t, 15*time.Second, func(ctx context.Context, _ store.Revision) (store.Enforcement, error) {
		switch {
		case unreachable:
			return store.Enforcement{}, store.ErrUnreachable
		case ended:
			return store.Enforcement{Applied: []string{"replica-1", "replica-2"}}, nil
		}
		<-ctx.Done()
		return store.Enforcement{Applied: []string{"replica-1"}, Waiting: []string{"replica-2"}}, ctx.Err()
	}, func(e *enforce.Enforcer, recorded func() []audit.Event) {
		gone, leave := context.WithCancel(context.Background())
		leave() // whoever asked has gone, and the wait goes on
		begun := time.Now()
		outcome, err := e.Wait(gone, deactivation("ada"))
		if took := time.Since(begun); took != 20*time.Second {
			t.Errorf("it waited for %v", took)
		}
		const text = "enforced on 1/2 replicas; after 20 s it is not known whether replica-2 decides by it"
		if !errors.Is(err, enforce.ErrUnknown) || !strings.Contains(err.Error(), text) || outcome.Complete() {
			t.Errorf("the outcome is %q, %v", outcome, err)
		}
		if events := recorded(); len(events) != 1 || events[0].Reason != "unknown" || events[0].Detail["unknown"] != "replica-2" || events[0].Detail["text"] != text {
			t.Errorf("recorded %+v", events)
		}
		ended = true
		if _, err := e.Again(context.Background(), deactivation("bob")); err != nil || len(recorded()) != 0 {
			t.Errorf("a request about somebody else: %v", err)
		}
		if _, err := e.Again(context.Background(), deactivation("ada")); err != nil {
			t.Error(err)
		}
		if events := recorded(); len(events) != 1 || events[0].Reason != "everywhere" || events[0].User != "ada" {
			t.Errorf("after the request is sent again: %+v", events)
		}
		if _, err := e.Again(context.Background(), deactivation("ada")); err != nil || len(recorded()) != 0 {
			t.Errorf("once it is recorded: %v", err)
		}
		unreachable = true
		if outcome, err := e.Wait(context.Background(), deactivation("ada")); !errors.Is(err, enforce.ErrUnknown) || !strings.HasSuffix(outcome.String(), "the database does not tell") {
			t.Errorf("without the database: %q, %v", outcome, err)
		}
		recorded()
	})
}

func TestEnforcer_BoundsEveryWait(t *testing.T) {
	run(t, 3*time.Minute, func(ctx context.Context, _ store.Revision) (store.Enforcement, error) {
		<-ctx.Done()
		return store.Enforcement{}, ctx.Err()
	}, func(e *enforce.Enforcer, _ func() []audit.Event) {
		begun := time.Now()
		if _, err := e.Wait(context.Background()); err == nil || time.Since(begun) != time.Minute {
			t.Errorf("with a long lease: %v after %v", err, time.Since(begun))
		}
	})
}

func TestCollect_ReturnsWhatIsIncomplete(t *testing.T) {
	fenced := store.Enforcement{Applied: []string{"a"}}
	run(t, time.Second, func(context.Context, store.Revision) (store.Enforcement, error) { return fenced, nil },
		func(e *enforce.Enforcer, _ func() []audit.Event) {
			ctx, incomplete := enforce.Collect(context.Background())
			_, _ = e.Wait(ctx)
			if list := incomplete(); len(list) != 0 {
				t.Errorf("incomplete: %v", list)
			}
			fenced.Fenced = []string{"b"}
			_, _ = e.Wait(ctx)
			if list := incomplete(); len(list) != 1 || list[0].Fenced[0] != "b" {
				t.Errorf("incomplete: %v", list)
			}
		})
}

func TestEnforcer_OfOneProcessDoesNothing(t *testing.T) {
	var alone struct{ store.Store }
	e := enforce.New(alone, time.Second, nil, nil)
	outcome, err := e.Wait(context.Background(), deactivation("ada"))
	again, againErr := e.Again(context.Background(), deactivation("ada"))
	if e != nil || err != nil || againErr != nil || outcome.String() != "" || !again.Complete() {
		t.Errorf("%v: %q, %v, %v", e, outcome, err, againErr)
	}
}
