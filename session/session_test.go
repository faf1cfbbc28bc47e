package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
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

// testSessions are sessions that run over a store on disk.
type testSessions struct {
	*session.Sessions
	t     testing.TB
	path  string
	store store.Store
	log   *bytes.Buffer // read it after stop
	stop  func()
}

// open opens sessions over the store at path, or over a new one if path is "".
func open(t testing.TB, settings session.Settings, path string) *testSessions {
	t.Helper()
	h := &testSessions{t: t, path: path, log: new(bytes.Buffer)}
	if path == "" {
		h.path = filepath.Join(t.TempDir(), "s.db")
	}
	st, err := bolt.Open(h.path, bolt.Options{Init: path == ""})
	if err != nil {
		t.Fatal(err)
	}
	h.store = st
	if h.Sessions, err = session.Open(t.Context(), st, settings, slog.New(slog.NewTextHandler(h.log, nil))); err != nil {
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

// restart stops h and opens the same store again.
func (h *testSessions) restart(settings session.Settings) *testSessions {
	h.t.Helper()
	h.stop()
	return open(h.t, settings, h.path)
}

func (h *testSessions) begin(user string) session.Session {
	h.t.Helper()
	begun, err := h.Begin(context.Background(), session.Session{User: user, UserName: user + "@example.com", Epoch: 3})
	if err != nil {
		h.t.Fatal(err)
	}
	return begun
}

func (h *testSessions) newToken(id, host string) string {
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

// wantRead checks the error of Read.
func (h *testSessions) wantRead(cookie, host string, want error) {
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

// countKeys counts the keys in the store that begin with prefix.
func (h *testSessions) countKeys(prefix string) (n int) {
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

	t.Run("is read on the host of its token only", func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		begun := h.begin("u1")
		cookie := h.newToken(begun.ID, app)
		got, err := h.Read(cookie, app)
		if err != nil {
			t.Fatal(err)
		}
		if got.ID != begun.ID || got.User != "u1" || got.Epoch != 3 || !got.Expires.Equal(begun.Began.Add(12*time.Hour)) {
			t.Errorf("read %+v", got)
		}
		for _, host := range []string{login, "", "GRAFANA.example.com", app + ":443", "x" + app} {
			h.wantRead(cookie, host, session.ErrNone)
		}
		for _, other := range []string{"", cookie[1:], cookie + "A", strings.ToLower(cookie), begun.ID, strings.Repeat("A", 43)} {
			h.wantRead(other, app, session.ErrNone)
		}
	})

	t.Run("ends on every host at once", func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		ended, other := h.begin("u1"), h.begin("u1")
		onApp, onLogin, otherOnApp := h.newToken(ended.ID, app), h.newToken(ended.ID, login), h.newToken(other.ID, app)
		changed := h.Changed()
		if err := h.End(ctx, ended.ID, session.ReasonLogout); err != nil {
			t.Fatal(err)
		}
		h.wantRead(onApp, app, session.ErrEnded)
		h.wantRead(onLogin, login, session.ErrEnded)
		h.wantRead(otherOnApp, app, nil)
		if _, err := h.Live(ended.ID); !errors.Is(err, session.ErrEnded) {
			t.Errorf("Live: %v", err)
		}
		select {
		case <-changed:
		default:
			t.Error("Changed is not closed though a session ended")
		}
		if err := h.End(ctx, ended.ID, session.ReasonLogout); !errors.Is(err, session.ErrNone) {
			t.Errorf("End of an ended session: %v", err)
		}
		if _, err := h.NewToken(ctx, ended.ID, app); !errors.Is(err, session.ErrEnded) {
			t.Errorf("NewToken of an ended session: %v", err)
		}
		if _, err := h.Ticket(ctx, ended.ID, app, "b"); !errors.Is(err, session.ErrEnded) {
			t.Errorf("Ticket of an ended session: %v", err)
		}
	})

	t.Run("stays ended after a restart", func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		ended, live := h.begin("u1"), h.begin("u2")
		endedToken, liveToken := h.newToken(ended.ID, app), h.newToken(live.ID, app)
		if err := h.End(ctx, ended.ID, session.ReasonOperator); err != nil {
			t.Fatal(err)
		}
		h = h.restart(session.Defaults())
		h.wantRead(endedToken, app, session.ErrEnded)
		h.wantRead(liveToken, app, nil)
	})

	t.Run("ends with its user but not with others", func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		var cookies []string
		for range 3 {
			cookies = append(cookies, h.newToken(h.begin("u1").ID, app))
		}
		otherUser := h.newToken(h.begin("u10").ID, app)
		n, err := h.EndUser(ctx, "u1", session.ReasonUser)
		if err != nil || n != 3 {
			t.Errorf("ended %d, %v; want 3", n, err)
		}
		for _, cookie := range cookies {
			h.wantRead(cookie, app, session.ErrEnded)
		}
		h.wantRead(otherUser, app, nil)
		if n, err := h.EndUser(ctx, "u1", session.ReasonUser); err != nil || n != 0 {
			t.Errorf("ended %d, %v the second time", n, err)
		}
	})

	t.Run("is ended by newer ones beyond MaxSessions", func(t *testing.T) {
		settings := session.Defaults()
		settings.MaxSessions = 3
		h := open(t, settings, "")
		var cookies []string
		for range 9 {
			cookies = append(cookies, h.newToken(h.begin("u1").ID, app))
		}
		for i, cookie := range cookies {
			switch {
			case i < 3: // only the newest three of those that ended are stored
				h.wantRead(cookie, app, session.ErrNone)
			case i < 6:
				h.wantRead(cookie, app, session.ErrEnded)
			default:
				h.wantRead(cookie, app, nil)
			}
		}
		if n := len(h.List()); n != 3 {
			t.Errorf("%d sessions are live, want 3", n)
		}
		if n := h.countKeys("session/of/u1/"); n != 6 {
			t.Errorf("%d records are stored, want 6", n)
		}
		want := "# HELP sallyport_sessions_ended_total Sessions that ended, by the reason why.\n# TYPE sallyport_sessions_ended_total counter\n"
		for _, reason := range []string{"expired", "idle", "logout", "operator", "provider", "replaced", "settings", "user"} {
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
		h.begin("u2")
		if n := testutil.ToFloat64(h.Collectors()[0]); n != 4 { // three others have ended
			t.Errorf("sessions_active is %v, want 4", n)
		}
	})

	t.Run("has at most 32 tokens on each host", func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		begun := h.begin("u1")
		oldest, onLogin := h.newToken(begun.ID, app), h.newToken(begun.ID, login)
		for range 31 {
			h.wantRead(h.newToken(begun.ID, app), app, nil)
		}
		h.wantRead(oldest, app, nil)
		h.newToken(begun.ID, app)
		h.wantRead(oldest, app, session.ErrNone)
		h.wantRead(onLogin, login, nil)
	})

	t.Run("has at most 500 tokens on all hosts", func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		begun := h.begin("u1")
		oldest := h.newToken(begun.ID, app)
		second := h.newToken(begun.ID, login)
		var all sync.WaitGroup
		for i := range 498 {
			all.Go(func() { h.newToken(begun.ID, fmt.Sprintf("h%d.example.com", i)) })
		}
		all.Wait()
		h.wantRead(oldest, app, nil)
		h.newToken(begun.ID, "one.more.example.com")
		h.wantRead(oldest, app, session.ErrNone)
		h.wantRead(second, login, nil)
	})

	t.Run("gets its id and times from Begin", func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		old := h.begin("u1")
		begun, err := h.Begin(ctx, session.Session{ID: old.ID, User: "u1", Expires: time.Now().AddDate(1, 0, 0), Authenticated: time.Now().AddDate(1, 0, 0)})
		if err != nil {
			t.Fatal(err)
		}
		if begun.ID == old.ID || begun.Expires.After(time.Now().Add(12*time.Hour)) || begun.Authenticated.After(time.Now()) {
			t.Errorf("Begin took over the caller's id or times: %+v", begun)
		}
		for _, user := range []string{"", "a/b"} {
			if _, err := h.Begin(ctx, session.Session{User: user}); err == nil {
				t.Errorf("began a session of user %q", user)
			}
		}
	})

	t.Run("cannot be read once Run has ended", func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		begun := h.begin("u1")
		cookie := h.newToken(begun.ID, app)
		changed := h.Changed()
		h.stop()
		<-changed
		h.wantRead(cookie, app, session.ErrStopped)
		if _, err := h.Live(begun.ID); !errors.Is(err, session.ErrStopped) {
			t.Errorf("Live: %v", err)
		}
	})

	t.Run("is not reported begun before Run has it in memory", func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		h.stop()
		st, err := bolt.Open(h.path, bolt.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		sessions, err := session.Open(ctx, st, session.Defaults(), slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		waiting, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		defer cancel()
		if _, err := sessions.Begin(waiting, session.Session{User: "u1"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Begin without Run: %v", err)
		}
	})

	t.Run("is unknown once its record is deleted without its tokens", func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		begun := h.begin("u1")
		var cookies []string
		for range 33 { // the first is deleted because of the last
			cookies = append(cookies, h.newToken(begun.ID, app))
		}
		if _, err := h.store.Update(ctx, func(w store.Writer) error { return w.Delete([]byte("session/of/u1/" + begun.ID)) }); err != nil {
			t.Fatal(err)
		}
		h.begin("u2") // when it returns, memory has every earlier change
		for _, cookie := range cookies {
			h.wantRead(cookie, app, session.ErrNone)
		}
	})

	t.Run("is unknown if its record was replaced", func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		broken, swapped := h.begin("u1"), h.begin("u2") // the record of swapped becomes that of broken
		brokenToken, swappedToken := h.newToken(broken.ID, app), h.newToken(swapped.ID, app)
		_, err := h.store.Update(ctx, func(w store.Writer) error {
			text, err := w.Get([]byte("session/of/u1/" + broken.ID))
			if err != nil {
				return err
			}
			return errors.Join(w.Put([]byte("session/of/u2/"+swapped.ID), text), w.Put([]byte("session/of/u1/"+broken.ID), []byte("{")))
		})
		if err != nil {
			t.Fatal(err)
		}
		h = h.restart(session.Defaults())
		h.wantRead(brokenToken, app, session.ErrNone)
		h.wantRead(swappedToken, app, session.ErrNone)
	})

	t.Run("has no secret in the store", func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		begun := h.begin("u1")
		cookie, ticket := h.newToken(begun.ID, app), h.ticket(begun.ID, app, "b")
		h.stop()
		file, err := os.ReadFile(h.path)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(file, []byte(begun.ID)) {
			t.Fatal("the file does not contain the session")
		}
		if bytes.Contains(file, []byte(cookie)) || bytes.Contains(file, []byte(ticket[32:])) {
			t.Error("the file contains the text of a token or a ticket")
		}
	})

	t.Run("is deleted by Clear", func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		cookie := h.newToken(h.begin("u1").ID, app)
		sealed, err := h.Seal("flow", login, []byte("x"), time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.store.Update(ctx, session.Clear); err != nil {
			t.Fatal(err)
		}
		h = h.restart(session.Defaults())
		h.wantRead(cookie, app, session.ErrNone)
		if _, err := h.Unseal("flow", login, sealed); !errors.Is(err, session.ErrSeal) {
			t.Errorf("Unseal of a value that the old key sealed: %v", err)
		}
		if n := h.countKeys("session/"); n != 1 {
			t.Errorf("%d keys are left, want only the new sealing key", n)
		}
	})
}

func TestEnd_IsVisibleWhenItReturns(t *testing.T) {
	h := open(t, session.Defaults(), "")
	for range 20 {
		begun := h.begin("u1")
		cookie := h.newToken(begun.ID, app)
		var ended atomic.Bool
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				for {
					returned := ended.Load()
					_, err := h.Read(cookie, app)
					if returned && err == nil {
						t.Error("Read returned the session after End had returned")
					}
					if returned {
						return
					}
				}
			})
		}
		if err := h.End(t.Context(), begun.ID, session.ReasonLogout); err != nil {
			t.Fatal(err)
		}
		ended.Store(true)
		readers.Wait()
	}
}

func TestTicket(t *testing.T) {
	ctx := t.Context()
	h := open(t, session.Defaults(), "")
	begun := h.begin("u1")

	t.Run("gives a token on its host to its browser", func(t *testing.T) {
		cookie, got, err := h.Redeem(ctx, h.ticket(begun.ID, app, "mine"), app, "mine")
		if err != nil || got.ID != begun.ID {
			t.Fatalf("redeemed %+v, %v", got, err)
		}
		h.wantRead(cookie, app, nil)
		h.wantRead(cookie, login, session.ErrNone)
	})

	for name, attempt := range map[string]struct{ host, bind string }{
		"another host":      {login, "mine"},
		"another browser":   {app, "theirs"},
		"no browser at all": {app, ""},
		"no host at all":    {"", "mine"},
	} {
		t.Run("is used up by "+name, func(t *testing.T) {
			ticket := h.ticket(begun.ID, app, "mine")
			if _, _, err := h.Redeem(ctx, ticket, attempt.host, attempt.bind); !errors.Is(err, session.ErrNone) {
				t.Errorf("Redeem: %v", err)
			}
			if _, _, err := h.Redeem(ctx, ticket, app, "mine"); !errors.Is(err, session.ErrNone) {
				t.Errorf("Redeem after that: %v", err)
			}
		})
	}

	t.Run("is redeemed once by concurrent calls", func(t *testing.T) {
		ticket := h.ticket(begun.ID, app, "mine")
		var redeemed atomic.Int32
		var calls sync.WaitGroup
		for range 32 {
			calls.Go(func() {
				cookie, _, err := h.Redeem(ctx, ticket, app, "mine")
				switch {
				case err == nil:
					redeemed.Add(1)
					h.wantRead(cookie, app, nil)
				case !errors.Is(err, session.ErrNone):
					t.Error(err)
				}
			})
		}
		calls.Wait()
		if redeemed.Load() != 1 {
			t.Errorf("redeemed %d times", redeemed.Load())
		}
	})

	t.Run("writes nothing if it is invented", func(t *testing.T) {
		before := h.revision()
		genuine := h.ticket(begun.ID, app, "mine")
		made := h.revision()
		for _, ticket := range []string{"", "x", genuine[:74], genuine + "A", strings.ToUpper(genuine), genuine[:32] + strings.Repeat("A", 43),
			strings.Repeat("0", 32) + genuine[32:], "../" + genuine[3:], strings.Repeat("/", 75)} {
			if _, _, err := h.Redeem(ctx, ticket, app, "mine"); !errors.Is(err, session.ErrNone) {
				t.Errorf("Redeem of %q: %v", ticket, err)
			}
		}
		if after := h.revision(); after != made || made == before {
			t.Errorf("revision went from %d to %d", made, after)
		}
	})

	t.Run("is one of at most 32", func(t *testing.T) {
		begun := h.begin("u2")
		var tickets []string
		for range 33 {
			tickets = append(tickets, h.ticket(begun.ID, app, "mine"))
		}
		if n := h.countKeys("session/ticket/" + begun.ID); n != 32 {
			t.Errorf("%d tickets are stored, want 32", n)
		}
		if _, _, err := h.Redeem(ctx, tickets[0], app, "mine"); !errors.Is(err, session.ErrNone) {
			t.Errorf("the oldest of 33: %v", err)
		}
		if _, _, err := h.Redeem(ctx, tickets[32], app, "mine"); err != nil {
			t.Errorf("the newest of 33: %v", err)
		}
	})

	t.Run("gives nothing once its session ended", func(t *testing.T) {
		begun := h.begin("u3")
		ticket := h.ticket(begun.ID, app, "mine")
		if err := h.End(ctx, begun.ID, session.ReasonLogout); err != nil {
			t.Fatal(err)
		}
		if _, _, err := h.Redeem(ctx, ticket, app, "mine"); !errors.Is(err, session.ErrEnded) {
			t.Errorf("Redeem: %v", err)
		}
	})
}

func TestSession_ExpiresWithTime(t *testing.T) {
	settings := session.Settings{Lifetime: 10 * time.Hour, Idle: time.Hour, MaxSessions: 50}

	t.Run("lasts its lifetime while it is used", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, settings, "")
			begun := h.begin("u1")
			cookie := h.newToken(begun.ID, app)
			for range 11 {
				time.Sleep(54 * time.Minute)
				h.wantRead(cookie, app, nil)
			}
			time.Sleep(6 * time.Minute)
			h.wantRead(cookie, app, session.ErrExpired)
			h.stop()
		})
	})

	t.Run("lasts its idle time while it is not used", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, settings, "")
			begun := h.begin("u1")
			cookie := h.newToken(begun.ID, app)
			time.Sleep(time.Hour - time.Second)
			if _, err := h.Live(begun.ID); err != nil {
				t.Errorf("before its idle time: %v", err)
			}
			time.Sleep(time.Second) // Live does not count as use
			h.wantRead(cookie, app, session.ErrExpired)
			h.stop()
		})
	})

	t.Run("closes Changed within seconds and stays expired", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, settings, "")
			begun := h.begin("u1")
			cookie := h.newToken(begun.ID, app)
			before := time.Now()
			<-h.Changed()
			if waited := time.Since(before); waited > time.Hour+6*time.Second {
				t.Errorf("Changed was closed after %s", waited)
			}
			h.wantRead(cookie, app, session.ErrExpired)
			synctest.Wait()
			h.stop()

			longer := settings
			longer.Idle = 9 * time.Hour // the session stays ended, even though it would not expire now
			h = open(t, longer, h.path)
			h.wantRead(cookie, app, session.ErrExpired)
			h.stop()
		})
	})

	t.Run("is deleted an hour after its lifetime", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, settings, "")
			begun := h.begin("u1")
			var cookies []string
			for range 33 { // the first is deleted because of the last
				cookies = append(cookies, h.newToken(begun.ID, app))
			}
			h.ticket(begun.ID, app, "b")
			time.Sleep(12 * time.Hour)
			synctest.Wait()
			for _, cookie := range cookies {
				h.wantRead(cookie, app, session.ErrNone)
			}
			if n := h.countKeys("session/"); n != 1 {
				t.Errorf("%d keys are left, want only the sealing key", n)
			}
			h.stop()
		})
	})

	t.Run("has its last use after a restart", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, settings, "")
			begun := h.begin("u1")
			cookie := h.newToken(begun.ID, app)
			time.Sleep(40 * time.Minute)
			h.wantRead(cookie, app, nil)
			time.Sleep(2 * time.Minute)
			synctest.Wait()
			h.stop()
			h = open(t, settings, h.path)
			time.Sleep(50 * time.Minute)
			h.wantRead(cookie, app, nil)
			h.stop()
		})
	})

	t.Run("is written at most once a minute while it is read", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, settings, "")
			cookie := h.newToken(h.begin("u1").ID, app)
			before := h.revision()
			for range 600 {
				time.Sleep(time.Second)
				h.wantRead(cookie, app, nil)
			}
			synctest.Wait()
			if n := h.revision() - before; n > 10 {
				t.Errorf("%d commits in ten minutes", n)
			}
			h.stop()
		})
	})

	t.Run("has tickets that last a minute", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, settings, "")
			begun := h.begin("u1")
			inTime, tooLate := h.ticket(begun.ID, app, "b"), h.ticket(begun.ID, app, "b")
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
		{session.Settings{Lifetime: time.Minute, Idle: 2 * time.Minute, MaxSessions: 1}, []string{"idle"}},
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
