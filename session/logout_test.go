package session_test

import (
	"testing"
	"testing/synctest"
	"time"

	"sallyport/session"
	"sallyport/store"
)

// TestLogoutUsed_UntilTokenExpires checks that a logout token is remembered over a restart, and forgotten when it is no
// longer accepted.
func TestLogoutUsed_UntilTokenExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := open(t, session.Defaults(), "")
		defer func() { h.stop() }()
		if err := h.UseLogout(t.Context(), "../of/a strange\x00 jti", time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		used := func(jti string) bool {
			t.Helper()
			used, err := h.LogoutUsed(t.Context(), jti)
			if err != nil {
				t.Error(err)
			}
			return used
		}
		h = h.restart(session.Defaults())
		if !used("../of/a strange\x00 jti") || used("another") || used("") {
			t.Error("a used token is not remembered, or one that was not used is")
		}
		time.Sleep(58 * time.Minute)
		if !used("../of/a strange\x00 jti") {
			t.Error("a token is forgotten before it expires")
		}
		time.Sleep(4 * time.Minute)
		synctest.Wait()
		if used("../of/a strange\x00 jti") {
			t.Error("a token is remembered after it expired")
		}
		if _, err := h.store.Update(t.Context(), session.Clear); err != nil {
			t.Error(err)
		}
		err := h.store.View(t.Context(), func(r store.Reader) error {
			for e := range r.Scan([]byte("session/logout/"), nil) {
				t.Errorf("%q is left", e.Key)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
}
