package flow_test

import (
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sallyport/oidc"
	"sallyport/proxy/internal/flow"
	"sallyport/session"
	"sallyport/store/bolt"
)

const loginHost = "login.example.com"

// client is a browser with cookies, as far as one host is concerned.
type client struct {
	sessions *session.Sessions
	cookies  map[string]string
	now      time.Time
}

func newClient(t *testing.T) *client {
	t.Helper()
	st, err := bolt.Open(t.TempDir()+"/store.db", bolt.Options{Init: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	sessions, err := session.Open(t.Context(), st, session.Defaults(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return &client{sessions: sessions, cookies: map[string]string{}, now: time.Now()}
}

// send sends the client's cookies to host, and stores those that fn sets.
func (c *client) send(host string, fn func(b flow.Browser)) {
	r, w := httptest.NewRequest("GET", "https://"+host+"/", nil), httptest.NewRecorder()
	for name, value := range c.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	c.now = c.now.Add(time.Second)
	fn(flow.Browser{Sessions: c.sessions, Host: host, Request: r, Response: w, Received: c.now})
	for _, set := range w.Result().Cookies() {
		if c.cookies[set.Name] = set.Value; set.MaxAge < 0 {
			delete(c.cookies, set.Name)
		}
	}
}

// bytes returns how long the client's cookies are together.
func (c *client) bytes() (n int) {
	for name, value := range c.cookies {
		n += len(name) + len(value)
	}
	return n
}

// random returns n characters that cannot be compressed well.
func random(n int) string {
	var text strings.Builder
	for text.Len() < n {
		text.WriteString(rand.Text())
	}
	return text.String()[:n]
}

func TestFlow_IsValidOnce(t *testing.T) {
	for _, n := range []int{0, 5000, 16000} {
		c := newClient(t)
		f := flow.Flow{Flow: oidc.Flow{State: strings.Repeat("s", 26)}, To: random(n), At: 1}
		c.send(loginHost, func(b flow.Browser) {
			if err := b.Store(f); err != nil {
				t.Fatal(err)
			}
		})
		c.send("app.example.com", func(b flow.Browser) {
			if _, ok := b.Consume(f.State); ok {
				t.Error("valid on another host")
			}
		})
		c.send(loginHost, func(b flow.Browser) { _ = b.Store(f) }) // the other host deleted the cookies
		c.send(loginHost, func(b flow.Browser) {
			if got, ok := b.Consume(f.State + ".carried"); !ok || got.To != f.To {
				t.Errorf("%d bytes: %v %v", n, got, ok)
			}
		})
		c.send(loginHost, func(b flow.Browser) {
			if _, ok := b.Consume(f.State); ok || len(c.cookies) > 0 {
				t.Errorf("valid twice: %v, %v", ok, c.cookies)
			}
		})
	}
}

func TestFlow_CookiesAreBounded(t *testing.T) {
	c := newClient(t)
	var last string
	for i := range 100 {
		last = strings.Repeat(string(rune('A'+i%26)), 8) + strings.Repeat("s", 18)
		c.send(loginHost, func(b flow.Browser) {
			if err := b.Store(flow.Flow{Flow: oidc.Flow{State: last}, At: c.now.UnixNano()}); err != nil {
				t.Fatal(err)
			}
		})
	}
	if n := c.bytes(); n == 0 || n > 8<<10 {
		t.Errorf("%d bytes", n)
	}
	c.send(loginHost, func(b flow.Browser) {
		if _, ok := b.Consume(last); !ok {
			t.Error("the newest flow was deleted")
		}
	})
}

func TestState_CarriesTarget(t *testing.T) {
	c := newClient(t)
	for text, want := range map[string]string{"/a?b#c": "/a?b#c", "/a?" + random(2000): "/a", "/" + random(2000): "/",
		"/a?" + strings.Repeat("x", 16000): "/a?" + strings.Repeat("x", 16000)} {
		c.send(loginHost, func(b flow.Browser) {
			sealed, complete, err := b.SealTarget(flow.Target{Origin: appOrigin, Path: text})
			if err != nil || complete != (text == want) {
				t.Fatalf("%v %v", complete, err)
			}
			if got := b.TargetIn("state." + sealed); got != appOrigin+want {
				t.Errorf("%.20q: %q", text, got)
			}
			for _, state := range []string{"", "state", "state.", sealed, "state." + sealed[1:]} {
				if got := b.TargetIn(state); got != "" {
					t.Errorf("%.20q leads to %q", state, got)
				}
			}
		})
	}
}

func TestBinding_BelongsToBrowser(t *testing.T) {
	c := newClient(t)
	var first, second string
	c.send("app.example.com", func(b flow.Browser) { first, second = b.Bind(), b.Bind() })
	c.send("app.example.com", func(b flow.Browser) {
		if got := b.TakeBinding(first); got != first || second == first {
			t.Errorf("%q, want %q", got, first)
		}
	})
	c.send("app.example.com", func(b flow.Browser) {
		for _, bind := range []string{first, "", "x", strings.Repeat("A", 43), first + "="} {
			if got := b.TakeBinding(bind); got == bind {
				t.Errorf("%q was taken without a cookie", bind)
			}
		}
		if got := b.TakeBinding(second); got != second {
			t.Error("one binding took the other with it")
		}
	})
	for range 100 {
		c.send("app.example.com", func(b flow.Browser) { first = b.Bind() })
	}
	if n := c.bytes(); n == 0 || n > 4<<10 {
		t.Errorf("%d bytes", n)
	}
	c.send("app.example.com", func(b flow.Browser) {
		if b.TakeBinding(first) != first {
			t.Error("the newest binding was deleted")
		}
	})
}

func TestHandoff_IsOfOneSessionToOneHost(t *testing.T) {
	c := newClient(t)
	bind := strings.Repeat("A", 43)
	c.send(loginHost, func(b flow.Browser) {
		handoff, err := b.SealHandoff("session", "app.example.com")
		if err != nil {
			t.Fatal(err)
		}
		if got := b.Verify(handoff, bind, "session", "app.example.com"); got != bind {
			t.Errorf("%q", got)
		}
		for _, sent := range [][]string{{"", bind, "session", "app.example.com"}, {handoff, "short", "session", "app.example.com"},
			{handoff, bind, "other", "app.example.com"}, {handoff, bind, "session", "wiki.example.com"}} {
			if got := b.Verify(sent[0], sent[1], sent[2], sent[3]); got != "" {
				t.Errorf("%.20q: %q", sent, got)
			}
		}
	})
}
