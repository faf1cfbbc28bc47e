package session_test

import (
	"net/http"
	"strings"
	"testing"

	"sallyport/session"
)

// token is the shape of one.
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
		{"among others", []string{"a=b; " + name + "=" + token + "; c=d"}, token},
		{"without spaces", []string{"a=b;" + name + "=" + token + ";c=d"}, token},
		{"on a second line", []string{"a=b", name + "=" + token}, token},
		{"beside others of ours", []string{name + "-door=x; " + name + "-flow-abc=y; " + name + "=" + token}, token},
		{"none", []string{"a=b"}, ""},
		{"no header", nil, ""},
		{"empty", []string{""}, ""},
		{"twice", []string{name + "=" + token + "; " + name + "=" + other}, ""},
		{"twice the same", []string{name + "=" + token + "; " + name + "=" + token}, ""},
		{"twice on two lines", []string{name + "=" + token, name + "=" + other}, ""},
		{"beside one in other case", []string{name + "=" + token + "; __host-Sallyport=" + other}, ""},
		{"beside one with a space", []string{name + "=" + token + "; " + name + " =" + other}, ""},
		{"beside one without a value", []string{name + "=" + token + "; " + name}, ""},
		{"in other case", []string{"__host-sallyport=" + token}, ""},
		{"with a space before =", []string{name + " =" + token}, ""},
		{"behind a Unicode space", []string{"\u2003" + name + "=" + token}, ""},
		{"beside one behind a Unicode space", []string{name + "=" + token + "; \u2003" + name + "=" + other}, ""},
		{"quoted", []string{name + `="` + token + `"`}, ""},
		{"in a sandwich of quotes", []string{`$Version=1; x="a; ` + name + "=" + token + `; b"; ` + name + "=" + other}, ""},
		{"behind a nameless cookie", []string{"=" + name + "=" + token}, ""},
		{"separated by a comma", []string{"a=b, " + name + "=" + token}, ""},
		{"too short", []string{name + "=" + token[1:]}, ""},
		{"too long", []string{name + "=" + token + "A"}, ""},
		{"of other characters", []string{name + "=" + token[:42] + "+"}, ""},
		{"with NUL", []string{name + "=" + token[:42] + "\x00"}, ""},
		{"not ours", []string{"__Host-sallyport2=" + token}, ""},
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

func FuzzCookie(f *testing.F) {
	f.Add("__Host-sallyport="+token, "")
	f.Add("a=b; __Host-sallyport="+token, "__Host-sallyport=x")
	f.Add(`$Version=1; __Host-sallyport="a"; $Path=/`, "\t;;==")
	f.Fuzz(func(t *testing.T, one, two string) {
		value, ok := session.Cookie(http.Header{"Cookie": {one, two}})
		if !ok {
			return
		}
		if len(value) != 43 || strings.Trim(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			t.Errorf("a value of another shape: %q", value)
		}
		if n := strings.Count(one+";"+two, "__Host-sallyport="+value); n < 1 {
			t.Errorf("a value nobody sent: %q", value)
		}
		// What net/http makes of the same bytes may be less, never something else.
		for _, c := range (&http.Request{Header: http.Header{"Cookie": {one, two}}}).CookiesNamed("__Host-sallyport") {
			if c.Value != value {
				t.Errorf("net/http reads %q, we read %q", c.Value, value)
			}
		}
	})
}
