package session_test

import (
	"net/http"
	"strings"
	"testing"

	"sallyport/session"
)

// token has the form of a token.
var token = strings.Repeat("aZ0-_bY9xQw", 4)[:43]

func TestCookie(t *testing.T) {
	other := strings.Repeat("B", 43)
	const name = "__Host-sallyport"
	for _, c := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"alone", []string{name + "=" + token}, token},
		{"among other cookies", []string{"a=b; " + name + "=" + token + "; c=d"}, token},
		{"without spaces", []string{"a=b;" + name + "=" + token + ";c=d"}, token},
		{"on a second line", []string{"a=b", name + "=" + token}, token},
		{"beside our other cookies", []string{name + "-door=x; " + name + "-flow-abc=y; " + name + "=" + token}, token},
		{"none", []string{"a=b"}, ""},
		{"no header", nil, ""},
		{"empty", []string{""}, ""},
		{"twice", []string{name + "=" + token + "; " + name + "=" + other}, ""},
		{"twice the same", []string{name + "=" + token + "; " + name + "=" + token}, ""},
		{"twice on two lines", []string{name + "=" + token, name + "=" + other}, ""},
		{"beside another in other case", []string{name + "=" + token + "; __host-Sallyport=" + other}, ""},
		{"beside another with a space", []string{name + "=" + token + "; " + name + " =" + other}, ""},
		{"beside another without a value", []string{name + "=" + token + "; " + name}, ""},
		{"in other case", []string{"__host-sallyport=" + token}, ""},
		{"with a space before =", []string{name + " =" + token}, ""},
		{"behind a Unicode space", []string{"\u2003" + name + "=" + token}, ""},
		{"beside another behind a Unicode space", []string{name + "=" + token + "; \u2003" + name + "=" + other}, ""},
		{"quoted", []string{name + `="` + token + `"`}, ""},
		{"inside a quoted value", []string{`$Version=1; x="a; ` + name + "=" + token + `; b"; ` + name + "=" + other}, ""},
		{"behind a nameless cookie", []string{"=" + name + "=" + token}, ""},
		{"separated by a comma", []string{"a=b, " + name + "=" + token}, ""},
		{"too short", []string{name + "=" + token[1:]}, ""},
		{"too long", []string{name + "=" + token + "A"}, ""},
		{"of other characters", []string{name + "=" + token[:42] + "+"}, ""},
		{"with NUL", []string{name + "=" + token[:42] + "\x00"}, ""},
		{"with a longer name", []string{"__Host-sallyport2=" + token}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := session.Cookie(http.Header{"Cookie": c.lines})
			if ok != (c.want != "") || ok && got != c.want {
				t.Errorf("%q, %v; want %q", got, ok, c.want)
			}
		})
	}
}

func TestSetCookie_IsBoundToHost(t *testing.T) {
	for _, c := range []*http.Cookie{session.SetCookie(token), session.ClearCookie()} {
		if !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode {
			t.Errorf("%+v", c)
		}
		if err := c.Valid(); err != nil {
			t.Error(err)
		}
	}
}

func TestClearCookie_DeletesCookie(t *testing.T) {
	if c := session.ClearCookie(); c.Name != session.SetCookie(token).Name || c.Value != "" || c.MaxAge >= 0 {
		t.Errorf("%+v", c)
	}
}

func FuzzCookie(f *testing.F) {
	f.Add("__Host-sallyport="+token, "")
	f.Add("a=b; __Host-sallyport="+token, "__Host-sallyport=x")
	f.Add(`$Version=1; __Host-sallyport="a"; $Path=/`, "\t;;==")
	f.Fuzz(func(t *testing.T, line1, line2 string) {
		value, ok := session.Cookie(http.Header{"Cookie": {line1, line2}})
		if !ok {
			return
		}
		if len(value) != 43 || strings.Trim(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Errorf("not the form of a token: %q", value)
		}
		if n := strings.Count(line1+";"+line2, "__Host-sallyport="+value); n < 1 {
			t.Errorf("a value that no header has: %q", value)
		}
		// net/http may accept fewer cookies, but reads no other value.
		for _, c := range (&http.Request{Header: http.Header{"Cookie": {line1, line2}}}).CookiesNamed("__Host-sallyport") {
			if c.Value != value {
				t.Errorf("net/http reads %q, we read %q", c.Value, value)
			}
		}
	})
}
