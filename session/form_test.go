package session_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/session"
	"sallyport/store"
)

// TestUseForm_OnceUntilExpiry checks that a form is used once, over a restart too, and forgotten when it expires.
func TestUseForm_OnceUntilExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		defer func() { h.stop() }()
		use := func(user, id string, want bool) {
			t.Helper()
			if first, err := h.UseForm(t.Context(), user, id, time.Now().Add(time.Hour)); err != nil || first != want {
				t.Errorf("%q: %v %v, want %v", id, first, err, want)
			}
		}
		use("u1", "one", true)
		use("u1", "one", false)
		use("u1", "two", true)
		use("u2", "one", true)
		h = h.restart(session.Defaults())
		use("u1", "one", false)
		time.Sleep(62 * time.Minute)
		synctest.Wait()
		if n := h.countKeys("session/form/"); n != 0 {
			t.Errorf("%d records are left", n)
		}
	})
}

// TestUseForm_IsBounded checks that one user cannot fill the store, and that a form that was used stays so.
func TestUseForm_IsBounded(t *testing.T) {
	h := open(t, session.Defaults(), "")
	defer h.stop()
	failed := 0
	for i := range 210 {
		if _, err := h.UseForm(t.Context(), "u1", fmt.Sprint(i), time.Now().Add(time.Hour)); err != nil {
			failed++
		}
	}
	if n := h.countKeys("session/form/"); n != 200 || failed != 10 {
		t.Errorf("%d records, %d errors", n, failed)
	}
	if first, err := h.UseForm(t.Context(), "u1", "0", time.Now().Add(time.Hour)); first || err != nil {
		t.Errorf("%v %v", first, err)
	}
	if first, err := h.UseForm(t.Context(), "u2", "0", time.Now().Add(time.Hour)); !first || err != nil {
		t.Errorf("another user: %v %v", first, err)
	}
}

// TestPast_TellsWhoseSessionItWas checks that a session is named when it is no longer valid, and only then.
func TestPast_TellsWhoseSessionItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, session.Settings{Lifetime: 10 * time.Hour, Idle: time.Hour, MaxSessions: 50}, "")
		defer h.stop()
		cookie := h.newToken(h.begin("u1").ID, app)
		want := func(cookie, host, user string) {
			t.Helper()
			past, ok := h.Past(cookie, host)
			if ok != (user != "") || ok && past.User != user {
				t.Errorf("%v %v, want %q", past, ok, user)
			}
		}
		want(cookie, app, "")
		time.Sleep(time.Hour)
		want(cookie, app, "u1") // before the sweep has seen it
		time.Sleep(9 * time.Hour)
		want(cookie, app, "u1")
		for _, other := range []string{"", "x", strings.Repeat("A", 43)} {
			want(other, app, "")
		}
		want(cookie, "other.example.com", "")
		time.Sleep(time.Hour + time.Minute)
		want(cookie, app, "")
	})
}

// TestInspect_KnowsForms: a form that was sent leaves a record that an inspection finds sound.
func TestInspect_KnowsForms(t *testing.T) {
	h := open(t, session.Defaults(), "")
	defer h.stop()
	if _, err := h.UseForm(t.Context(), "u1", "one", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	found := 0
	err := h.store.View(t.Context(), func(r store.Reader) error {
		for e, err := range r.Scan([]byte("session/form/"), nil) {
			if err != nil {
				return err
			}
			found++
			if ours, err := session.Inspect(e); !ours || err != nil {
				t.Errorf("the record at %q: %t, %v", e.Key, ours, err)
			}
		}
		return nil
	})
	if err != nil || found != 1 {
		t.Errorf("%d records, %v", found, err)
	}
	for _, damaged := range []store.Entry{{Key: []byte("session/form/u1"), Value: []byte("{}")}, {Key: []byte("session/form/u1/xyz"), Value: []byte("{}")},
		{Key: fmt.Appendf(nil, "session/form/u1/%064x", 1), Value: []byte("no")}, {Key: fmt.Appendf(nil, "session/form//%064x", 1), Value: []byte("{}")}} {
		if ours, err := session.Inspect(damaged); !ours || err == nil {
			t.Errorf("%q with %q is sound", damaged.Key, damaged.Value)
		}
	}
}
