package notice_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/listen"
	"sallyport/notice"
	"sallyport/scim"
)

const day = 24 * time.Hour

// watch is a running Expiring, inside a bubble of synctest.
type watch struct {
	mu           sync.Mutex // guards the fields below
	certificates []listen.InUse
	tokens       []scim.Token
	failing      error
	follows      bool // another replica leads
	got          []string
}

// change calls f while nothing else looks at w.
func (w *watch) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

func (w *watch) send(event string, data any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch n := data.(type) {
	case notice.CertificateNotice:
		w.got = append(w.got, fmt.Sprintf("%s %s %d", event, n.Names[0], n.Days))
	case notice.TokenNotice:
		w.got = append(w.got, fmt.Sprintf("%s %s %d", event, n.Name, n.Days))
	}
}

// after returns what is told until d has passed.
func (w *watch) after(d time.Duration) []string {
	time.Sleep(d)
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	got := w.got
	w.got = nil
	return got
}

// watching runs f with a running Expiring in a bubble. prepare is called in the bubble before.
func watching(t *testing.T, prepare func(*watch), f func(t *testing.T, w *watch)) {
	synctest.Test(t, func(t *testing.T) {
		w := new(watch)
		prepare(w)
		x := &notice.Expiring{Leads: func(context.Context) (leads bool, err error) {
			w.change(func() { leads = !w.follows })
			return leads, nil
		}, Certificates: func() (list []listen.InUse) { w.change(func() { list = w.certificates }); return list },
			Tokens: func(context.Context) (list []scim.Token, err error) {
				w.change(func() { list, err = w.tokens, w.failing })
				return list, err
			}, Send: w.send, Log: slog.New(slog.DiscardHandler)}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); _ = x.Run(ctx) }()
		f(t, w)
		cancel()
		<-ended
	})
}

// TestExpiring_TellsAtEachThreshold: of a certificate and of a token, until they expire or are replaced.
func TestExpiring_TellsAtEachThreshold(t *testing.T) {
	watching(t, func(w *watch) {
		now := time.Now()
		w.certificates = []listen.InUse{{Names: []string{"a.example"}, NotBefore: now, NotAfter: now.Add(40 * day)}}
		w.tokens = []scim.Token{{ID: "1", Name: "entra", Expires: now.Add(41 * day)}, {ID: "2", Name: "for ever"}, {ID: "3", Damaged: true},
			{ID: "4", Name: "issued", Parent: "1", Expires: now.Add(time.Hour)}}
	}, func(t *testing.T, w *watch) {
		demand := func(d time.Duration, want ...string) {
			t.Helper()
			if got := w.after(d); !slices.Equal(got, want) {
				t.Errorf("told is %q, want %q", got, want)
			}
		}
		demand(9*day, []string{}...)
		demand(3*day, "certificate.expiring a.example 30", "token.expiring entra 30")
		w.change(func() { w.failing = errors.New("the store is closed") })
		demand(day)
		w.change(func() { w.failing = nil })
		demand(13*day, "certificate.expiring a.example 14")
		demand(2*day, "token.expiring entra 14")
		w.change(func() {
			w.certificates = []listen.InUse{{Names: []string{"a.example"}, NotAfter: time.Now().Add(5 * day)}}
		})
		demand(time.Hour, "certificate.expiring a.example 7")
		demand(5*day, "certificate.expiring a.example 3", "certificate.expiring a.example 1")
		demand(day, "token.expiring entra 7")
		w.change(func() {
			w.certificates = nil
			w.tokens = []scim.Token{w.tokens[0], {ID: "5", Name: "entra", Expires: time.Now().Add(365 * day)}}
		})
		demand(30 * day)
	})
}

// TestExpiring_TellsOnceOfWhatIsNear: what expires soon when the server starts is told of by one event, and what has
// expired by none.
func TestExpiring_TellsOnceOfWhatIsNear(t *testing.T) {
	watching(t, func(w *watch) {
		now := time.Now()
		w.certificates = []listen.InUse{{Names: []string{"near.example"}, NotAfter: now.Add(2 * day)}, {Names: []string{"old.example"}, NotAfter: now.Add(-day)}}
		w.tokens = []scim.Token{{ID: "1", Name: "old", Expires: now.Add(-day)}}
	}, func(t *testing.T, w *watch) {
		if got := w.after(time.Hour); !slices.Equal(got, []string{"certificate.expiring near.example 3"}) {
			t.Errorf("told is %q", got)
		}
	})
}

// TestExpiring_WaitsForRenewals: a certificate by ACME is told of once it should have been renewed.
func TestExpiring_WaitsForRenewals(t *testing.T) {
	watching(t, func(w *watch) {
		now := time.Now()
		w.certificates = []listen.InUse{
			{Names: []string{"quarter.example"}, NotBefore: now, NotAfter: now.Add(90 * day), Renewed: true},
			{Names: []string{"week.example"}, NotBefore: now, NotAfter: now.Add(6 * day), Renewed: true}}
	}, func(t *testing.T, w *watch) {
		got := w.after(91 * day)
		want := []string{"certificate.expiring week.example 1", "certificate.expiring quarter.example 14", "certificate.expiring quarter.example 7",
			"certificate.expiring quarter.example 3", "certificate.expiring quarter.example 1"}
		if !slices.Equal(got, want) {
			t.Errorf("told is %q, want %q", got, want)
		}
	})
}

// TestExpiring_OnlyTheLeaderTells: another replica tells of what was due lately if it comes to lead, and not of what the
// former one must have told.
func TestExpiring_OnlyTheLeaderTells(t *testing.T) {
	watching(t, func(w *watch) {
		w.follows = true
		w.certificates = []listen.InUse{{Names: []string{"a.example"}, NotAfter: time.Now().Add(31 * day)}}
	}, func(t *testing.T, w *watch) {
		if got := w.after(2 * day); len(got) > 0 {
			t.Errorf("without leading it tells %q", got)
		}
		w.change(func() { w.follows = false })
		if got := w.after(day); len(got) > 0 {
			t.Errorf("of what was told long ago it tells %q", got)
		}
		if got := w.after(14 * day); !slices.Equal(got, []string{"certificate.expiring a.example 14"}) {
			t.Errorf("leading, it tells %q", got)
		}
		w.change(func() {
			w.follows = true
			w.certificates = []listen.InUse{{Names: []string{"b.example"}, NotAfter: time.Now().Add(2 * day)}}
		})
		if got := w.after(3 * time.Minute); len(got) > 0 {
			t.Errorf("without leading it tells %q", got)
		}
		w.change(func() { w.follows = false })
		if got := w.after(time.Minute); !slices.Equal(got, []string{"certificate.expiring b.example 3"}) {
			t.Errorf("after it took over it tells %q", got)
		}
	})
}
