package flow_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/proxy/internal/flow"
)

func TestForm_BelongsToBrowserAndHost(t *testing.T) {
	const host = "app.example.com"
	body := bytes.Repeat([]byte("\n\x00{\"id\":\"x\"}\xff"), 1000)
	c, other := newClient(t), newClient(t)
	other.sessions = c.sessions
	form := flow.Form{ID: "chosen", User: "u1", Target: "/save?a=<b>&c", Type: "application/x-www-form-urlencoded", Body: body, Expires: time.Unix(1, 0)}
	var sealed string
	c.send(host, func(b flow.Browser) {
		var err error
		if sealed, err = b.KeepForm(form); err != nil {
			t.Fatal(err)
		}
	})
	if strings.Contains(sealed, "save") || len(c.cookies) != 1 {
		t.Errorf("%.100s %v", sealed, c.cookies)
	}
	c.send(host, func(b flow.Browser) {
		got, ok := b.OpenForm(sealed)
		if !ok || got.User != form.User || got.Target != form.Target || got.Type != form.Type || !bytes.Equal(got.Body, body) {
			t.Errorf("%v %+v", ok, got)
		}
		if got.ID == "chosen" || got.Expires.Sub(b.Received).Round(time.Minute) != flow.FormLifetime {
			t.Errorf("%q %s", got.ID, got.Expires)
		}
		for _, text := range []string{"", "x", sealed[1:], sealed + "A", strings.ToLower(sealed)} {
			if _, ok := b.OpenForm(text); ok {
				t.Errorf("%.20q was opened", text)
			}
		}
	})
	for name, at := range map[string]struct {
		c    *client
		host string
	}{"another host": {c, "wiki.example.com"}, "another browser": {other, host}} {
		at.c.send(at.host, func(b flow.Browser) {
			if _, ok := b.OpenForm(sealed); ok {
				t.Error("opened by " + name)
			}
		})
	}
	t.Run("longest", func(t *testing.T) {
		c.send(host, func(b flow.Browser) {
			form.Body = make([]byte, flow.MaxForm)
			sealed, err := b.KeepForm(form)
			if err != nil || len(sealed) > flow.MaxSealedForm {
				t.Fatalf("%d bytes: %v", len(sealed), err)
			}
		})
	})
	t.Run("cookies_are_bounded", func(t *testing.T) {
		for range 50 {
			c.send(host, func(b flow.Browser) { _, _ = b.KeepForm(flow.Form{Body: []byte("x")}) })
		}
		if n := c.bytes(); n == 0 || n > 1<<10 {
			t.Errorf("%d bytes", n)
		}
	})
}

func TestForm_Expires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newClient(t)
		var sealed string
		opens := func() (ok bool) {
			c.send("app.example.com", func(b flow.Browser) { _, ok = b.OpenForm(sealed) })
			return ok
		}
		c.send("app.example.com", func(b flow.Browser) { sealed, _ = b.KeepForm(flow.Form{Body: []byte("x")}) })
		time.Sleep(flow.FormLifetime - time.Second)
		if !opens() {
			t.Error("the form expired early")
		}
		time.Sleep(time.Second)
		if opens() {
			t.Error("the form did not expire")
		}
	})
}

func TestForm_IsForItsTargetAlone(t *testing.T) {
	f := flow.Form{Target: "/a(b)/c?x=1|2&y={'z'}%2F%"}
	for target, want := range map[string]bool{f.Target: true, "/a%28b%29/c?x=1%7C2&y=%7B%27z%27%7D%2F%": true, "/a(b)/c?x=1|2&y={'z'}/%": false,
		"/a(b)/c": false, "/a(b)/c?": false, "/A(b)/c?x=1|2&y={'z'}%2F%": false, "": false} {
		if got := f.IsFor(target); got != want {
			t.Errorf("%q: %v", target, got)
		}
	}
}

func TestUser_IsOfItsHost(t *testing.T) {
	c := newClient(t)
	const host = "app.example.com"
	last := func(host string) (id string) {
		c.send(host, func(b flow.Browser) { id = b.LastUser() })
		return id
	}
	if got := last(host); got != "" {
		t.Errorf("%q", got)
	}
	for _, id := range []string{"u1", "u2"} {
		c.send(host, func(b flow.Browser) { b.RememberUser(id) })
		if got, other := last(host), last("wiki.example.com"); got != id || other != "" {
			t.Errorf("%q %q, want %q", got, other, id)
		}
	}
	for name := range c.cookies {
		c.cookies[name] += "A"
	}
	if got := last(host); got != "" {
		t.Errorf("altered: %q", got)
	}
}

func TestIsForm(t *testing.T) {
	const multipart = "multipart/form-data; boundary=b"
	part := func(disposition string) string {
		return "--b\r\nContent-Disposition: " + disposition + "\r\n\r\nx\r\n--b--\r\n"
	}
	for _, c := range []struct {
		contentType, body string
		want              bool
	}{
		{"application/x-www-form-urlencoded", "a=b", true},
		{"Application/X-WWW-Form-URLencoded;charset=UTF-8", "a=b", true},
		{multipart, part(`form-data; name="a"`), true},
		{multipart, part(`form-data; name="a"; filename=""`), true},
		{multipart, part(`form-data; name="a"; filename="f"`), false},
		{multipart, part(`form-data; name="a"; filename*=UTF-8''f`), false},
		{multipart, "--b\r\n", false},
		{multipart, "", false},
		{"multipart/form-data", part(`form-data; name="a"`), false},
		{"text/plain", "a=b", false},
		{"application/json", "{}", false},
		{"", "a=b", false},
		{"application/x-www-form-urlencoded", strings.Repeat("x", flow.MaxForm), true},
		{"application/x-www-form-urlencoded", strings.Repeat("x", flow.MaxForm+1), false},
	} {
		if got := flow.IsForm(c.contentType, []byte(c.body)); got != c.want {
			t.Errorf("%s with %d bytes (%.80q): %v", c.contentType, len(c.body), c.body, got)
		}
	}
}

func TestState_MarksFragment(t *testing.T) {
	for state, want := range map[string]bool{"a.b.f": true, "a.b": false, "a": false, "a.f": false, "a.b.c.f": false, "a.b.ff": false, "": false, ".f": false, "..f": true} {
		if got := flow.HasFragment(state); got != want {
			t.Errorf("%q: %v", state, got)
		}
	}
}
