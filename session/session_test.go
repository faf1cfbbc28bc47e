package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"sallyport/session"
	"sallyport/store"
	"sallyport/store/bolt"
)

// testSessions is a store on disk with sessions running over it.
type testSessions struct {
	*session.Sessions
	t     testing.TB
	path  string
	store store.Store
	stop  func()
}

// open opens sessions over a new store, or over the one at path.
func open(t testing.TB, settings session.Settings, path string) *testSessions {
	t.Helper()
	h := &testSessions{t: t, path: path}
	if path == "" {
		h.path = filepath.Join(t.TempDir(), "s.db")
	}
	st, err := bolt.Open(h.path, bolt.Options{Init: path == ""})
	if err != nil {
		t.Fatal(err)
	}
	h.store = st
	if h.Sessions, err = session.Open(t.Context(), st, settings); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := h.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
	h.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(h.stop)
	return h
}

// again is the testSessions after a restart.
func (h *testSessions) again(settings session.Settings) *testSessions {
	h.t.Helper()
	h.stop()
	return open(h.t, settings, h.path)
}

func (h *testSessions) begin(user string) session.Session {
	h.t.Helper()
	one, err := h.Begin(context.Background(), session.Session{User: user, UserName: user + "@example.com", Epoch: 3})
	if err != nil {
		h.t.Fatal(err)
	}
	return one
}

func (h *testSessions) grant(id, host string) string {
	h.t.Helper()
	cookie, err := h.NewToken(context.Background(), id, host)
	if err != nil {
		h.t.Fatal(err)
	}
	return cookie
}

func (h *testSessions) ticket(id, host, bind string) string {
	h.t.Helper()
	ticket, err := h.Ticket(context.Background(), id, host, bind)
	if err != nil {
		h.t.Fatal(err)
	}
	return ticket
}

// reads checks what Read answers.
func (h *testSessions) reads(cookie, host string, want error) {
	h.t.Helper()
	if _, err := h.Read(cookie, host); !errors.Is(err, want) || (want == nil) != (err == nil) {
		h.t.Errorf("Read on %s: %v, want %v", host, err, want)
	}
}

func (h *testSessions) revision() store.Revision {
	h.t.Helper()
	var revision store.Revision
	if err := h.store.View(context.Background(), func(r store.Reader) error { revision = r.Revision(); return nil }); err != nil {
		h.t.Fatal(err)
	}
	return revision
}

// keys counts what is stored under prefix.
func (h *testSessions) keys(prefix string) (n int) {
	h.t.Helper()
	err := h.store.View(context.Background(), func(r store.Reader) error {
		for _, err := range r.Scan([]byte(prefix), nil) {
			if err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return n
}

const (
	app   = "grafana.example.com"
	login = "login.example.com"
)

func TestSession(t *testing.T) {
	ctx := t.Context()

	t.Run("is read where it was granted and nowhere else", func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		began := h.begin("u1")
		cookie := h.grant(began.ID, app)
		got, err := h.Read(cookie, app)
		if err != nil {
			t.Fatal(err)
		}
		if got.ID != began.ID || got.User != "u1" || got.Epoch != 3 || !got.Expires.Equal(began.Began.Add(12*time.Hour)) {
			t.Errorf("read %+v", got)
		}
		for _, host := range []string{login, "", "GRAFANA.example.com", app + ":443", "x" + app} {
			h.reads(cookie, host, session.ErrNone)
		}
		for _, other := range []string{"", cookie[1:], cookie + "A", strings.ToLower(cookie), began.ID, strings.Repeat("A", 43)} {
			h.reads(other, app, session.ErrNone)
		}
	})

	t.Run("ends on every host at once", func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		one, other := h.begin("u1"), h.begin("u1")
		a, b, c := h.grant(one.ID, app), h.grant(one.ID, login), h.grant(other.ID, app)
		changed := h.Changed()
		if err := h.End(ctx, one.ID, session.ReasonLogout); err != nil {
			t.Fatal(err)
		}
		h.reads(a, app, session.ErrEnded)
		h.reads(b, login, session.ErrEnded)
		h.reads(c, app, nil)
		if _, err := h.Live(one.ID); !errors.Is(err, session.ErrEnded) {
			t.Errorf("Live: %v", err)
		}
		select {
		case <-changed:
		default:
			t.Error("Changed is not closed though a session ended")
		}
		if err := h.End(ctx, one.ID, session.ReasonLogout); !errors.Is(err, session.ErrNone) {
			t.Errorf("ending it twice: %v", err)
		}
		if _, err := h.NewToken(ctx, one.ID, app); !errors.Is(err, session.ErrEnded) {
			t.Errorf("a grant of an ended session: %v", err)
		}
		if _, err := h.Ticket(ctx, one.ID, app, "b"); !errors.Is(err, session.ErrEnded) {
			t.Errorf("a ticket of an ended session: %v", err)
		}
	})

	t.Run("stays over after a restart", func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		one, other := h.begin("u1"), h.begin("u2")
		dead, alive := h.grant(one.ID, app), h.grant(other.ID, app)
		if err := h.End(ctx, one.ID, session.ReasonOperator); err != nil {
			t.Fatal(err)
		}
		h = h.again(session.Defaults())
		h.reads(dead, app, session.ErrEnded)
		h.reads(alive, app, nil)
	})

	t.Run("ends with its user and leaves others", func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		var cookies []string
		for range 3 {
			cookies = append(cookies, h.grant(h.begin("u1").ID, app))
		}
		neighbour := h.grant(h.begin("u10").ID, app)
		n, err := h.EndUser(ctx, "u1", session.ReasonUser)
		if err != nil || n != 3 {
			t.Errorf("ended %d, %v; want 3", n, err)
		}
		for _, cookie := range cookies {
			h.reads(cookie, app, session.ErrEnded)
		}
		h.reads(neighbour, app, nil)
		if n, err := h.EndUser(ctx, "u1", session.ReasonUser); err != nil || n != 0 {
			t.Errorf("ended %d, %v the second time", n, err)
		}
	})

	t.Run("makes room by ending the oldest", func(t *testing.T) {
		settings := session.Defaults()
		settings.MaxSessions = 3
		h := open(t, settings, "")
		var cookies []string
		for range 9 {
			cookies = append(cookies, h.grant(h.begin("u1").ID, app))
		}
		for i, cookie := range cookies {
			switch {
			case i < 3: // more than three that ended are forgotten
				h.reads(cookie, app, session.ErrNone)
			case i < 6:
				h.reads(cookie, app, session.ErrEnded)
			default:
				h.reads(cookie, app, nil)
			}
		}
		if n := len(h.List()); n != 3 {
			t.Errorf("%d sessions are live, want 3", n)
		}
		if n := h.keys("session/of/u1/"); n != 6 {
			t.Errorf("%d records are kept, want 6", n)
		}
		want := "# HELP sallyport_sessions_ended_total Sessions that ended, by the reason why.\n# TYPE sallyport_sessions_ended_total counter\n"
		for _, reason := range []string{"expired", "idle", "logout", "operator", "provider", "replaced", "user"} {
			n := 0
			if reason == "replaced" {
				n = 6
			}
			want += fmt.Sprintf("sallyport_sessions_ended_total{reason=%q} %d\n", reason, n)
		}
		if err := testutil.CollectAndCompare(h.Collectors()[1], strings.NewReader(want)); err != nil {
			t.Error(err)
		}
		if n := testutil.ToFloat64(h.Collectors()[0]); n != 3 {
			t.Errorf("sessions_active is %v, want 3", n)
		}
	})

	t.Run("keeps a few tokens a host, the newest", func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		one := h.begin("u1")
		first, elsewhere := h.grant(one.ID, app), h.grant(one.ID, login)
		for range 3 {
			h.reads(h.grant(one.ID, app), app, nil)
		}
		h.reads(first, app, nil)
		h.grant(one.ID, app)
		h.reads(first, app, session.ErrNone)
		h.reads(elsewhere, login, nil)
	})

	t.Run("never begins as one the caller names", func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		one := h.begin("u1")
		two, err := h.Begin(ctx, session.Session{ID: one.ID, User: "u1", Expires: time.Now().AddDate(1, 0, 0), Authenticated: time.Now().AddDate(1, 0, 0)})
		if err != nil {
			t.Fatal(err)
		}
		if two.ID == one.ID || two.Expires.After(time.Now().Add(12*time.Hour)) || two.Authenticated.After(time.Now()) {
			t.Errorf("began as it was told: %+v", two)
		}
		for _, user := range []string{"", "a/b"} {
			if _, err := h.Begin(ctx, session.Session{User: user}); err == nil {
				t.Errorf("began a session of user %q", user)
			}
		}
	})

	t.Run("is denied once memory follows the store no more", func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		one := h.begin("u1")
		cookie := h.grant(one.ID, app)
		changed := h.Changed()
		h.stop()
		<-changed
		h.reads(cookie, app, session.ErrStopped)
		if _, err := h.Live(one.ID); !errors.Is(err, session.ErrStopped) {
			t.Errorf("Live: %v", err)
		}
	})

	t.Run("is nobody's when its record is not what we wrote", func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		one, moved := h.begin("u1"), h.begin("u2")
		a, b := h.grant(one.ID, app), h.grant(moved.ID, app)
		_, err := h.store.Update(ctx, func(w store.Writer) error {
			text, err := w.Get([]byte("session/of/u1/" + one.ID))
			if err != nil {
				return err
			}
			return errors.Join(w.Put([]byte("session/of/u2/"+moved.ID), text), w.Put([]byte("session/of/u1/"+one.ID), []byte("{")))
		})
		if err != nil {
			t.Fatal(err)
		}
		h = h.again(session.Defaults())
		h.reads(a, app, session.ErrNone)
		h.reads(b, app, session.ErrNone)
	})

	t.Run("leaves no secret at rest", func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		one := h.begin("u1")
		cookie, ticket := h.grant(one.ID, app), h.ticket(one.ID, app, "b")
		h.stop()
		file, err := os.ReadFile(h.path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(file, []byte(one.ID)) {
			t.Fatal("the store does not even hold the session")
		}
		if bytes.Contains(file, []byte(cookie)) || bytes.Contains(file, []byte(ticket[32:])) {
			t.Error("the store holds a token or a ticket as text")
		}
	})

	t.Run("does not come back with an older copy of the store once cleared", func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		cookie := h.grant(h.begin("u1").ID, app)
		sealed, err := h.Seal("flow", login, []byte("x"), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.store.Update(ctx, session.Clear); err != nil {
			t.Fatal(err)
		}
		h = h.again(session.Defaults())
		h.reads(cookie, app, session.ErrNone)
		if _, err := h.Unseal("flow", login, sealed); !errors.Is(err, session.ErrSeal) {
			t.Errorf("unsealed what an older key sealed: %v", err)
		}
		if n := h.keys("session/"); n != 1 {
			t.Errorf("%d keys are left, want the new sealing key alone", n)
		}
	})
}

func TestEnd_IsVisibleWhenItReturns(t *testing.T) {
	h := open(t, session.Defaults(), "")
	for range 20 {
		one := h.begin("u1")
		cookie := h.grant(one.ID, app)
		var ended atomic.Bool
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				for {
					known := ended.Load()
					_, err := h.Read(cookie, app)
					if known && err == nil {
						t.Error("read a session after End returned")
					}
					if known {
						return
					}
				}
			})
		}
		if err := h.End(t.Context(), one.ID, session.ReasonLogout); err != nil {
			t.Fatal(err)
		}
		ended.Store(true)
		readers.Wait()
	}
}

func TestTicket(t *testing.T) {
	ctx := t.Context()
	h := open(t, session.Defaults(), "")
	one := h.begin("u1")

	t.Run("opens its host to its browser", func(t *testing.T) {
		cookie, got, err := h.Redeem(ctx, h.ticket(one.ID, app, "mine"), app, "mine")
		if err != nil || got.ID != one.ID {
			t.Fatalf("redeemed %+v, %v", got, err)
		}
		h.reads(cookie, app, nil)
		h.reads(cookie, login, session.ErrNone)
	})

	for name, try := range map[string]struct{ host, bind string }{
		"another host":      {login, "mine"},
		"another browser":   {app, "theirs"},
		"no browser at all": {app, ""},
		"no host at all":    {"", "mine"},
	} {
		t.Run("is used up by "+name, func(t *testing.T) {
			ticket := h.ticket(one.ID, app, "mine")
			if _, _, err := h.Redeem(ctx, ticket, try.host, try.bind); !errors.Is(err, session.ErrNone) {
				t.Errorf("redeemed: %v", err)
			}
			if _, _, err := h.Redeem(ctx, ticket, app, "mine"); !errors.Is(err, session.ErrNone) {
				t.Errorf("redeemed after: %v", err)
			}
		})
	}

	t.Run("is good once however many come at once", func(t *testing.T) {
		ticket := h.ticket(one.ID, app, "mine")
		var won atomic.Int32
		var all sync.WaitGroup
		for range 32 {
			all.Go(func() {
				cookie, _, err := h.Redeem(ctx, ticket, app, "mine")
				switch {
				case err == nil:
					won.Add(1)
					h.reads(cookie, app, nil)
				case !errors.Is(err, session.ErrNone):
					t.Error(err)
				}
			})
		}
		all.Wait()
		if won.Load() != 1 {
			t.Errorf("redeemed %d times", won.Load())
		}
	})

	t.Run("costs no write when it is made up", func(t *testing.T) {
		before := h.revision()
		real := h.ticket(one.ID, app, "mine")
		made := h.revision()
		for _, ticket := range []string{"", "x", real[:74], real + "A", strings.ToUpper(real), real[:32] + strings.Repeat("A", 43),
			strings.Repeat("0", 32) + real[32:], "../" + real[3:], strings.Repeat("/", 75)} {
			if _, _, err := h.Redeem(ctx, ticket, app, "mine"); !errors.Is(err, session.ErrNone) {
				t.Errorf("redeemed %q: %v", ticket, err)
			}
		}
		if after := h.revision(); after != made || made == before {
			t.Errorf("revision went from %d to %d", made, after)
		}
	})

	t.Run("is one of few", func(t *testing.T) {
		one := h.begin("u2")
		var tickets []string
		for range 9 {
			tickets = append(tickets, h.ticket(one.ID, app, "mine"))
		}
		if n := h.keys("session/ticket/" + one.ID); n != 8 {
			t.Errorf("%d tickets are kept, want 8", n)
		}
		if _, _, err := h.Redeem(ctx, tickets[0], app, "mine"); !errors.Is(err, session.ErrNone) {
			t.Errorf("the oldest of nine: %v", err)
		}
		if _, _, err := h.Redeem(ctx, tickets[8], app, "mine"); err != nil {
			t.Errorf("the newest of nine: %v", err)
		}
	})

	t.Run("is worth nothing once its session ended", func(t *testing.T) {
		one := h.begin("u3")
		ticket := h.ticket(one.ID, app, "mine")
		if err := h.End(ctx, one.ID, session.ReasonLogout); err != nil {
			t.Fatal(err)
		}
		if _, _, err := h.Redeem(ctx, ticket, app, "mine"); !errors.Is(err, session.ErrEnded) {
			t.Errorf("redeemed: %v", err)
		}
	})
}

func TestSession_Time(t *testing.T) {
	settings := session.Settings{Lifetime: 10 * time.Hour, Idle: time.Hour, MaxSessions: 50}

	t.Run("a session in use lasts its lifetime and no longer", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, settings, "")
			one := h.begin("u1")
			cookie := h.grant(one.ID, app)
			for range 11 {
				time.Sleep(54 * time.Minute)
				h.reads(cookie, app, nil)
			}
			time.Sleep(6 * time.Minute)
			h.reads(cookie, app, session.ErrExpired)
			h.stop()
		})
	})

	t.Run("a session not in use lasts its idle time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, settings, "")
			one := h.begin("u1")
			cookie := h.grant(one.ID, app)
			time.Sleep(time.Hour - time.Second)
			if _, err := h.Live(one.ID); err != nil {
				t.Errorf("before its idle time: %v", err)
			}
			time.Sleep(time.Second) // asking whether it lives is not using it
			h.reads(cookie, app, session.ErrExpired)
			h.stop()
		})
	})

	t.Run("live requests hear of the end within seconds and the store remembers it", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, settings, "")
			one := h.begin("u1")
			cookie := h.grant(one.ID, app)
			before := time.Now()
			<-h.Changed()
			if waited := time.Since(before); waited > time.Hour+6*time.Second {
				t.Errorf("heard after %s", waited)
			}
			h.reads(cookie, app, session.ErrExpired)
			synctest.Wait()
			h.stop()

			longer := settings
			longer.Idle = 9 * time.Hour // what ended stays ended, even where it would now be allowed
			h = open(t, longer, h.path)
			h.reads(cookie, app, session.ErrExpired)
			h.stop()
		})
	})

	t.Run("what is long over is forgotten", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, settings, "")
			one := h.begin("u1")
			cookie := h.grant(one.ID, app)
			h.ticket(one.ID, app, "b")
			time.Sleep(12 * time.Hour)
			synctest.Wait()
			h.reads(cookie, app, session.ErrNone)
			if n := h.keys("session/"); n != 1 {
				t.Errorf("%d keys are left, want the sealing key alone", n)
			}
			h.stop()
		})
	})

	t.Run("use is remembered across a restart", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, settings, "")
			one := h.begin("u1")
			cookie := h.grant(one.ID, app)
			time.Sleep(40 * time.Minute)
			h.reads(cookie, app, nil)
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			h.stop()
			h = open(t, settings, h.path)
			time.Sleep(50 * time.Minute)
			h.reads(cookie, app, nil)
			h.stop()
		})
	})

	t.Run("reading writes to the store at most once a minute", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, settings, "")
			cookie := h.grant(h.begin("u1").ID, app)
			before := h.revision()
			for range 600 {
				time.Sleep(time.Second)
				h.reads(cookie, app, nil)
			}
			synctest.Wait()
			if n := h.revision() - before; n > 10 {
				t.Errorf("%d commits in ten minutes", n)
			}
			h.stop()
		})
	})

	t.Run("a ticket lasts a minute", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, settings, "")
			one := h.begin("u1")
			inTime, tooLate := h.ticket(one.ID, app, "b"), h.ticket(one.ID, app, "b")
			time.Sleep(59 * time.Second)
			if _, _, err := h.Redeem(t.Context(), inTime, app, "b"); err != nil {
				t.Errorf("after 59 s: %v", err)
			}
			time.Sleep(time.Second)
			if _, _, err := h.Redeem(t.Context(), tooLate, app, "b"); !errors.Is(err, session.ErrNone) {
				t.Errorf("after 60 s: %v", err)
			}
			h.stop()
		})
	})
}

func TestSettings_Check(t *testing.T) {
	for _, c := range []struct {
		s     session.Settings
		paths []string
	}{
		{session.Defaults(), nil},
		{session.Settings{Lifetime: time.Second, Idle: time.Hour, MaxSessions: 1}, []string{"lifetime"}},
		{session.Settings{Lifetime: time.Hour, Idle: 2 * time.Hour, MaxSessions: 1}, []string{"idle"}},
		{session.Settings{}, []string{"lifetime", "idle", "max_sessions"}},
		{session.Settings{Lifetime: 1e6 * time.Hour, Idle: -1, MaxSessions: 1e6}, []string{"lifetime", "idle", "max_sessions"}},
	} {
		var got []string
		c.s.Check(func(path, problem string) { got = append(got, path) })
		if fmt.Sprint(got) != fmt.Sprint(c.paths) {
			t.Errorf("%+v: faults at %v, want %v", c.s, got, c.paths)
		}
	}
}
