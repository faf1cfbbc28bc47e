package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"sallyport/session"
)

// TestForm_BodiesAreBounded checks, over HTTP/1 and HTTP/2, that a form that finds no place in memory gets the page
// without it, and that a form which is sent again then may be sent later.
func TestForm_BodiesAreBounded(t *testing.T) {
	w := newWorld(t, func(s *Settings) { s.Routes[0].KeepForms = true })
	w.setUpstream(func(rw http.ResponseWriter, r *http.Request) { _, _ = io.Copy(rw, r.Body) })
	for _, h2 := range []bool{false, true} {
		client := w.client(h2)
		started, cookie := w.signIn("alice", appHost)
		w.must(w.sessions.End(w.ctx, started.ID, session.ReasonIdle))
		post := func(body, cookie string) (*http.Response, string) {
			return w.send(client, "POST", "https://"+appHost+"/save", strings.NewReader(body), "Content-Type", "application/x-www-form-urlencoded",
				"Accept", chromeAccept, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "same-origin", "Cookie", cookie)
		}
		fill := func(n int) {
			for range n {
				w.proxy.pools.forms <- struct{}{}
			}
		}
		drain := func(n int) {
			for range n {
				<-w.proxy.pools.forms
			}
		}
		fill(maxForms)
		if res, page := post("a=b", cookie); res.StatusCode != 401 || strings.Contains(page, "sallyport-form") || res.Header["Set-Cookie"] != nil {
			t.Errorf("without a place: %d %s", res.StatusCode, page)
		}
		drain(1)
		res, page := post("a=b", cookie)
		_, rest, ok := strings.Cut(page, `name="sallyport-form" value="`)
		sealed, _, _ := strings.Cut(rest, `"`)
		if res.StatusCode != 401 || !ok || len(res.Cookies()) != 1 {
			t.Fatalf("with one place: %d %s", res.StatusCode, page)
		}
		bound := res.Cookies()[0].Name + "=" + res.Cookies()[0].Value
		_, cookie = w.signIn("alice", appHost)
		fill(1)
		if res, page := post(formPrefix+sealed, cookie+"; "+bound); res.StatusCode != 503 {
			t.Errorf("sent again without a place: %d %s", res.StatusCode, page)
		}
		drain(maxForms)
		if res, page := post(formPrefix+sealed, cookie+"; "+bound); res.StatusCode != 200 || page != "a=b" {
			t.Errorf("sent again: %d %s", res.StatusCode, page)
		}
	}
}
