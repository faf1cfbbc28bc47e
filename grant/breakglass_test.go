package grant_test

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/grant"
)

func arm(t *testing.T, b *grant.BreakGlass, user string, lasting time.Duration) string {
	t.Helper()
	code, _, err := b.Arm(grant.Arming{User: user, Epoch: 3, By: "ada", Reason: "the provider is down"}, lasting)
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// wantUse demands that a code is used up for a user; "" if it is not valid.
func wantUse(t *testing.T, b *grant.BreakGlass, code, user string) {
	t.Helper()
	switch a, err := b.Use(code); {
	case user == "" && !errors.Is(err, grant.ErrCode):
		t.Errorf("the code is valid for %q, %v", a.User, err)
	case user != "" && (err != nil || a.User != user):
		t.Errorf("the code is for %q, %v; want %q", a.User, err, user)
	}
}

func disarm(t *testing.T, b *grant.BreakGlass, user string) bool {
	t.Helper()
	had, err := b.Disarm(user)
	if err != nil {
		t.Fatal(err)
	}
	return had
}

func TestBreakGlass_CodeIsUsedOnce(t *testing.T) {
	var b grant.BreakGlass
	if b.Armed() || b.Has("u1") || disarm(t, &b, "u1") {
		t.Error("a code is armed at rest")
	}
	for _, code := range []string{"", "-", "0", strings.Repeat("0", 28), strings.Repeat("x", 10_000)} {
		wantUse(t, &b, code, "")
	}
	code := arm(t, &b, "u1", time.Hour)
	if !regexp.MustCompile(`^([0-9A-HJKMNP-TV-Z]{4}-){6}[0-9A-HJKMNP-TV-Z]{4}$`).MatchString(code) {
		t.Errorf("the code is %q", code)
	}
	a, _, err := b.Find(code)
	if err != nil || a.Epoch != 3 || a.By != "ada" || a.Reason != "the provider is down" {
		t.Errorf("%+v, %v", a, err)
	}
	wantUse(t, &b, code[:len(code)-1], "")
	wantUse(t, &b, code+"0", "")
	wantUse(t, &b, code+code, "")
	wantUse(t, &b, code, "u1")
	wantUse(t, &b, code, "")
	if b.Armed() {
		t.Error("a code that was used is still armed")
	}
}

func TestBreakGlass_CodeIsReadAsPeopleTypeIt(t *testing.T) {
	for name, typed := range map[string]func(string) string{
		"lower_case":  strings.ToLower,
		"no_dashes":   func(code string) string { return strings.ReplaceAll(code, "-", "") },
		"with_blanks": func(code string) string { return "  " + strings.ReplaceAll(code, "-", " ") + "\t" },
		"with_other_dashes": func(code string) string { // as chats and word processors replace them
			return strings.NewReplacer("-", "\u2013").Replace(code[:10]) + strings.ReplaceAll(code[10:], "-", "\u2011")
		},
		"with_other_blanks": func(code string) string { return "\u200b" + strings.ReplaceAll(code, "-", "\u00a0") + "\r\n" },
		"with_letters_for_digits": func(code string) string {
			return strings.NewReplacer("0", "o", "1", "l").Replace(code)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var b grant.BreakGlass
			wantUse(t, &b, typed(arm(t, &b, "u1", time.Hour)), "u1")
		})
	}
}

func TestBreakGlass_CodeExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b grant.BreakGlass
		first := arm(t, &b, "u1", time.Hour)
		time.Sleep(grant.CodeLifetime - time.Second)
		if _, _, err := b.Find(first); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Second)
		if b.Armed() || b.Has("u1") {
			t.Error("the code is still armed")
		}
		wantUse(t, &b, first, "")
		short := arm(t, &b, "u1", time.Minute)
		time.Sleep(time.Minute)
		wantUse(t, &b, short, "") // the session would be over
		code, a, err := b.Arm(grant.Arming{User: "u2"}, 2*time.Hour)
		if err != nil || time.Until(a.Until) != 2*time.Hour || time.Until(a.Enter) != grant.CodeLifetime {
			t.Errorf("%+v, %v", a, err)
		}
		wantUse(t, &b, code, "u2")
	})
}

func TestBreakGlass_NewCodeReplacesOld(t *testing.T) {
	var b grant.BreakGlass
	old, other := arm(t, &b, "u1", time.Hour), arm(t, &b, "u2", time.Hour)
	fresh := arm(t, &b, "u1", time.Hour)
	wantUse(t, &b, old, "")
	wantUse(t, &b, fresh, "u1")
	if !disarm(t, &b, "u2") || disarm(t, &b, "u2") {
		t.Error("Disarm does not tell whether there was a code")
	}
	wantUse(t, &b, other, "")
}

func TestBreakGlass_IsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b grant.BreakGlass
		for i := range 100 {
			arm(t, &b, fmt.Sprint("u", i), time.Hour)
		}
		if _, _, err := b.Arm(grant.Arming{User: "one more"}, time.Hour); !errors.Is(err, grant.ErrTooManyArmed) {
			t.Error(err)
		}
		arm(t, &b, "u7", time.Hour) // replaces
		time.Sleep(grant.CodeLifetime)
		arm(t, &b, "one more", time.Hour)
	})
}

func TestBreakGlass_CountsWrongCodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b grant.BreakGlass
		code := arm(t, &b, "u1", time.Hour)
		for i := range 3 {
			if _, wrong, err := b.Find("x"); !errors.Is(err, grant.ErrCode) || wrong != i+1 {
				t.Errorf("%d wrong codes, %v", wrong, err)
			}
		}
		if _, wrong, err := b.Find(code); err != nil || wrong != 3 {
			t.Errorf("%d wrong codes, %v", wrong, err)
		}
		time.Sleep(grant.CodeLifetime)
		arm(t, &b, "u1", time.Hour)
		if _, wrong, _ := b.Find("x"); wrong != 1 {
			t.Errorf("%d wrong codes after another arming", wrong)
		}
	})
}

func TestBreakGlass_UsedByOneOfMany(t *testing.T) {
	var b grant.BreakGlass
	code := arm(t, &b, "u1", time.Hour)
	var used atomic.Int32
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := b.Use(code); err == nil {
				used.Add(1)
			}
		})
	}
	all.Wait()
	if used.Load() != 1 {
		t.Errorf("the code was used %d times", used.Load())
	}
}
