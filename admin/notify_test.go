package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sallyport/admin"
)

// demandTold demands which events others were told of since the last call, and returns the data of the last.
func demandTold[T any](w *world, want ...string) (last T) {
	w.t.Helper()
	w.tell.Lock()
	defer w.tell.Unlock()
	if !slices.Equal(w.told, want) {
		w.t.Errorf("told is %v, want %v", w.told, want)
	}
	if len(w.toldOf) > 0 {
		last, _ = w.toldOf[len(w.toldOf)-1].(T)
	}
	w.told, w.toldOf = nil, nil
	return last
}

// TestNotify_BreakGlass: whoever listens is told of a code that is armed, used, wrong or of no use, and never of the code.
func TestNotify_BreakGlass(t *testing.T) {
	w := newWorld(t)
	id := w.createUser("bob@example.com")
	code := w.arm(id)
	armed := demandTold[admin.BreakGlassNotice](w, admin.NoticeBreakGlassArmed)
	if armed.User.ID != id || armed.By != ada.Name || armed.Why != "the provider is down" || !armed.Until.Equal(code.Until) || !armed.Enter.Equal(code.Enter) {
		t.Errorf("told is %+v", armed)
	}
	for range 150 {
		w.wantNoSession("WRONG-CODE")
	}
	wrong := demandTold[admin.BreakGlassNotice](w, admin.NoticeBreakGlassRefused, admin.NoticeBreakGlassRefused, admin.NoticeBreakGlassRefused)
	if wrong.User != nil || wrong.Wrong != 100 || wrong.Address != browser.Address {
		t.Errorf("told is %+v", wrong)
	}
	s, _, err := w.RedeemBreakGlass(t.Context(), code.Code, browser)
	must(t, err)
	used := demandTold[admin.BreakGlassNotice](w, admin.NoticeBreakGlassUsed)
	if used.User.UserName != "bob@example.com" || used.Session != s.ID || used.Address != browser.Address || used.By != ada.Name || used.Error != "" {
		t.Errorf("told is %+v", used)
	}
	code = w.arm(id)
	w.deactivate(id, http.StatusOK)
	_ = demandTold[any](w, admin.NoticeBreakGlassArmed)
	if _, _, err := w.RedeemBreakGlass(t.Context(), code.Code, browser); err == nil {
		t.Fatal("a deactivated user gets a session")
	}
	refused := demandTold[admin.BreakGlassNotice](w, admin.NoticeBreakGlassRefused)
	if refused.User == nil || refused.User.ID != id || !strings.Contains(refused.Error, "inactive_user") || refused.Session != "" {
		t.Errorf("told is %+v", refused)
	}
	for _, n := range []any{armed, wrong, used, refused} {
		if text, err := json.Marshal(n); err != nil || strings.Contains(string(text), code.Code) || strings.Contains(string(text), "WRONG") {
			t.Errorf("told is %s, %v", text, err)
		}
	}
}

// TestNotify_ConfigRefused: only a configuration that was read and has a fault is told of.
func TestNotify_ConfigRefused(t *testing.T) {
	w := newWorld(t)
	must(t, w.Reload(t.Context(), ada))
	_ = demandTold[any](w)
	w.reload = func(context.Context) error { return errors.New("sallyport.yaml:1:1: " + strings.Repeat("x", 100_000)) }
	if err := w.Reload(t.Context(), ada); err == nil {
		t.Fatal("no error")
	}
	refused := demandTold[admin.ConfigNotice](w, admin.NoticeConfigRefused)
	if refused.By != ada || !strings.HasPrefix(refused.Error, "sallyport.yaml:1:1: x") || len(refused.Error) > 3000 {
		t.Errorf("told is %d bytes by %+v", len(refused.Error), refused.By)
	}
	must(t, w.log.Close())
	if err := w.Reload(t.Context(), ada); !errors.Is(err, admin.ErrNotRecorded) {
		t.Error(err)
	}
	_ = demandTold[any](w)
}
