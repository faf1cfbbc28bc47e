package admin_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/directory"
	"sallyport/grant"
	"sallyport/session"
)

const host = "login.example.com"

var browser = admin.Browser{Host: host, Address: "203.0.113.7", Agent: "browser", Request: "r1"}

// arm arms a code for a user for an hour.
func (w *world) arm(user string) admin.BreakGlassCode {
	w.t.Helper()
	code, err := w.ArmBreakGlass(w.t.Context(), ada, user, "the provider is down", time.Hour)
	must(w.t, err)
	return code
}

// wantNoSession demands that a code begins no session, and that the reason is not told.
func (w *world) wantNoSession(code string) {
	w.t.Helper()
	s, token, err := w.RedeemBreakGlass(w.t.Context(), code, browser)
	if !errors.Is(err, grant.ErrCode) || s.ID != "" || token != "" {
		w.t.Errorf("the code begins %+v, %v", s, err)
	}
	if n := len(w.sessions.List()); n != 0 {
		w.t.Errorf("there are %d sessions", n)
	}
}

func TestBreakGlass_BeginsOneSession(t *testing.T) {
	w := newWorld(t)
	id := w.createUser("bob@example.com")
	old := w.beginSession(id)
	before := time.Now()
	code := w.arm("BOB@example.com")
	if code.User != id || code.UserName != "bob@example.com" || code.Until.Sub(before.Add(time.Hour)).Abs() > time.Minute || !w.BreakGlassArmed() {
		t.Errorf("%+v", code)
	}
	if e := w.lastEvents(1)[0]; e.Kind != audit.KindBreakGlass || e.Reason != "armed" || e.User != id || e.UserName != "bob@example.com" ||
		e.Detail["why"] != "the provider is down" || e.Detail["for"] != "1h0m0s" {
		t.Errorf("%+v", e)
	}
	in := browser
	in.Session = old
	s, token, err := w.RedeemBreakGlass(t.Context(), strings.ToLower(code.Code), in)
	must(t, err)
	if s.User != id || s.BreakGlass != "the provider is down" || s.Proven || s.Expires.After(code.Until) || s.Address != browser.Address {
		t.Errorf("%+v", s)
	}
	if read, err := w.sessions.Read(token, host); err != nil || read.ID != s.ID {
		t.Errorf("the cookie is for %+v, %v", read, err)
	}
	if _, err := w.sessions.Live(old); !errors.Is(err, session.ErrEnded) {
		t.Errorf("the browser's former session: %v", err)
	}
	events := w.events()
	used, login := events[len(events)-2], events[len(events)-1]
	if bob := (audit.Actor{Kind: audit.ActorUser, Name: "bob@example.com", Address: browser.Address}); used.Actor != bob {
		t.Errorf("the actor is %+v", used.Actor)
	}
	if used.Kind != audit.KindBreakGlass || used.Reason != "used" || used.User != id || used.Address != browser.Address || used.Request != "r1" ||
		used.Detail["armed_by"] != "ada" || used.Detail["why"] != "the provider is down" {
		t.Errorf("%+v", used)
	}
	if login.Kind != audit.KindLogin || login.Session != s.ID || login.Reason != "break_glass" || login.Decision != "allow" || login.User != id {
		t.Errorf("%+v", login)
	}
	must(t, w.EndSession(t.Context(), ada, s.ID))
	w.wantNoSession(code.Code)
	if w.BreakGlassArmed() {
		t.Error("a code is armed after it was used")
	}
	record, err := os.ReadFile(w.logPath)
	must(t, err)
	for _, secret := range []string{code.Code, strings.ToLower(code.Code), strings.ReplaceAll(code.Code, "-", ""), token} {
		if strings.Contains(string(record), secret) || strings.Contains(w.logged.String(), secret) {
			t.Errorf("%q is in the record or in the log", secret)
		}
	}
	for _, want := range []string{`level=WARN msg="a break-glass code is armed"`, `level=WARN msg="a break-glass code was used"`} {
		if !strings.Contains(w.logged.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, w.logged.String())
		}
	}
}

func TestBreakGlass_IsListed(t *testing.T) {
	w := newWorld(t)
	id := w.createUser("bob@example.com")
	w.beginSession(id)
	_, _, err := w.RedeemBreakGlass(t.Context(), w.arm(id).Code, browser)
	must(t, err)
	list, err := w.Sessions(t.Context(), ada)
	must(t, err)
	marked := 0
	for _, s := range list {
		if s.BreakGlass == "the provider is down" {
			marked++
		}
	}
	if len(list) != 2 || marked != 1 {
		t.Errorf("%+v", list)
	}
}

func TestBreakGlass_OnlyForWhomCouldSignIn(t *testing.T) {
	suspend := func(w *world, id string) {
		_, err := w.Suspend(w.t.Context(), ada, id, "laptop stolen")
		must(w.t, err)
	}
	for name, end := range map[string]func(w *world, id string){
		"suspended":   suspend,
		"deactivated": func(w *world, id string) { w.deactivate(id, http.StatusOK) },
		"deleted":     func(w *world, id string) { w.push("DELETE", "/Users/"+id, "", http.StatusNoContent) },
		"suspended_and_back": func(w *world, id string) {
			suspend(w, id)
			must(w.t, w.Unsuspend(w.t.Context(), ada, id))
		},
		"deactivated_and_back": func(w *world, id string) {
			w.deactivate(id, http.StatusOK)
			must(w.t, w.directory.Update(w.t.Context(), func(tx *directory.Tx) error {
				u, err := tx.User(id)
				if err != nil {
					return err
				}
				u.Active = true
				return tx.PutUser(&u)
			}))
		},
		"deleted_and_created": func(w *world, id string) {
			w.push("DELETE", "/Users/"+id, "", http.StatusNoContent)
			w.createUser("bob@example.com")
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			id := w.createUser("bob@example.com")
			code := w.arm(id)
			end(w, id)
			if !strings.Contains(name, "back") && !strings.Contains(name, "created") {
				if _, err := w.ArmBreakGlass(t.Context(), ada, id, "why", time.Hour); err == nil {
					t.Error("a code is armed for a user who may use nothing")
				}
			}
			w.wantNoSession(code.Code)
			events := w.events()
			if e := events[len(events)-1]; e.Kind != audit.KindBreakGlass || e.Reason != "failed" || e.User != id || e.Detail["action"] != "used" {
				t.Errorf("the last event is %+v", e)
			}
			w.wantNoSession(code.Code)
		})
	}
}

func TestBreakGlass_RejectsBadInput(t *testing.T) {
	w := newWorld(t)
	id := w.createUser("bob@example.com")
	before := len(w.events())
	for name, c := range map[string]struct {
		user, why string
		lasting   time.Duration
	}{
		"nobody":            {"nobody", "why", time.Hour},
		"no_reason":         {id, " \t ", time.Hour},
		"long_reason":       {id, strings.Repeat("x", 501), time.Hour},
		"reason_of_2_lines": {id, "one\ntwo", time.Hour},
		"too_short":         {id, "why", time.Minute - 1},
		"too_long":          {id, "why", 12*time.Hour + 1},
		"negative":          {id, "why", -time.Hour},
	} {
		if code, err := w.ArmBreakGlass(t.Context(), ada, c.user, c.why, c.lasting); err == nil || code.Code != "" {
			t.Errorf("%s: %+v, %v", name, code, err)
		}
	}
	if _, err := w.ArmBreakGlass(t.Context(), admin.Actor{}, id, "why", time.Hour); !errors.Is(err, admin.ErrNoActor) || w.BreakGlassArmed() {
		t.Errorf("without an actor: %v", err)
	}
	if err := w.DisarmBreakGlass(t.Context(), ada, id); err == nil {
		t.Error("a code that is not armed is disarmed")
	}
	if w.BreakGlassArmed() || len(w.events()) != before {
		t.Errorf("bad input arms a code, or is recorded")
	}
}

func TestBreakGlass_Disarm(t *testing.T) {
	w := newWorld(t)
	code := w.arm(w.createUser("bob@example.com"))
	must(t, w.DisarmBreakGlass(t.Context(), ada, "bob@example.com"))
	if e := w.lastEvents(1)[0]; e.Kind != audit.KindBreakGlass || e.Reason != "disarmed" {
		t.Errorf("%+v", e)
	}
	w.wantNoSession(code.Code)
}

func TestBreakGlass_NeedsServer(t *testing.T) {
	w := newWorld(t)
	id := w.createUser("bob@example.com")
	alone := admin.New(admin.Parts{Directory: w.directory, Sessions: w.sessions, Audit: w.log})
	if _, err := alone.ArmBreakGlass(t.Context(), ada, id, "why", time.Hour); !errors.Is(err, admin.ErrNoServer) {
		t.Error(err)
	}
	if err := alone.DisarmBreakGlass(t.Context(), ada, id); !errors.Is(err, admin.ErrNoServer) {
		t.Error(err)
	}
	if _, _, err := alone.RedeemBreakGlass(t.Context(), "x", browser); !errors.Is(err, grant.ErrCode) || alone.BreakGlassArmed() {
		t.Error(err)
	}
}

// TestBreakGlass_NamesUserAsTheyAre: a user who got another name since the code was armed has it in the session and its login.
func TestBreakGlass_NamesUserAsTheyAre(t *testing.T) {
	w := newWorld(t)
	id := w.createUser("bob@example.com")
	code := w.arm(id)
	w.push("PATCH", "/Users/"+id, `{"Operations":[{"op":"replace","path":"userName","value":"robert@example.com"}]}`, http.StatusOK)
	s, _, err := w.RedeemBreakGlass(t.Context(), code.Code, browser)
	must(t, err)
	events := w.events()
	if e := events[len(events)-1]; s.UserName != "robert@example.com" || e.Kind != audit.KindLogin || e.UserName != s.UserName {
		t.Errorf("%+v begins by %+v", s, e)
	}
}

// TestBreakGlass_RecordsWrongCodes checks that wrong codes are recorded, and that nobody can fill the record with them.
func TestBreakGlass_RecordsWrongCodes(t *testing.T) {
	w := newWorld(t)
	code := w.arm(w.createUser("bob@example.com"))
	before := len(w.events())
	for range 150 {
		w.wantNoSession("WRONG-CODE")
	}
	events := w.events()[before:]
	if len(events) != 100 {
		t.Errorf("%d events", len(events))
	}
	if e := events[6]; e.Kind != audit.KindBreakGlass || e.Reason != "failed" || e.Address != browser.Address || e.Detail["wrong_codes"] != "7" || e.User != "" {
		t.Errorf("%+v", e)
	}
	if strings.Contains(fmt.Sprint(events)+w.logged.String(), "WRONG-CODE") || strings.Contains(w.logged.String(), "err=<nil>") {
		t.Error("what was entered is in the record or in the log")
	}
	if _, _, err := w.RedeemBreakGlass(t.Context(), code.Code, browser); err != nil {
		t.Errorf("after wrong codes the right one gives %v", err)
	}
}

// TestBreakGlass_UsedByOneOfMany checks that browsers that enter the same code at the same time get one session.
func TestBreakGlass_UsedByOneOfMany(t *testing.T) {
	w := newWorld(t)
	code := w.arm(w.createUser("bob@example.com"))
	var begun atomic.Int32
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if _, _, err := w.RedeemBreakGlass(t.Context(), code.Code, browser); err == nil {
				begun.Add(1)
			} else if !errors.Is(err, grant.ErrCode) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if begun.Load() != 1 || len(w.sessions.List()) != 1 {
		t.Errorf("%d sessions began, %d are there", begun.Load(), len(w.sessions.List()))
	}
}

// TestBreakGlass_NotRecordedNotDone checks that no code is armed and none is used while the record cannot be written.
func TestBreakGlass_NotRecordedNotDone(t *testing.T) {
	w := newWorld(t)
	id := w.createUser("bob@example.com")
	code := w.arm(id)
	must(t, w.log.Close())
	if _, err := w.ArmBreakGlass(t.Context(), ada, id, "why", time.Hour); !errors.Is(err, admin.ErrNotRecorded) {
		t.Error(err)
	}
	if _, _, err := w.RedeemBreakGlass(t.Context(), code.Code, browser); !errors.Is(err, admin.ErrNotRecorded) || len(w.sessions.List()) != 0 {
		t.Errorf("%v, %d sessions", err, len(w.sessions.List()))
	}
	if !w.BreakGlassArmed() {
		t.Error("the code was used up")
	}
}
