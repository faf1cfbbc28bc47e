package console_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sallyport/console"
	"sallyport/session"
)

// TestPages_SayThatASessionIsBreakGlass checks that every page says so to whoever has a break-glass session, and to nobody
// else.
func TestPages_SayThatASessionIsBreakGlass(t *testing.T) {
	p, err := console.New()
	if err != nil {
		t.Fatal(err)
	}
	s := &session.Session{BreakGlass: "the provider is down", Expires: time.Date(2026, 5, 3, 14, 5, 0, 0, time.UTC)}
	evil := console.Person{Name: `<script>alert(1)</script>`, UserName: "evil@example.com"}
	for name, page := range pages {
		t.Run(name, func(t *testing.T) {
			show := func(p *console.Pages) string {
				w := httptest.NewRecorder()
				page.write(p, w)
				checkPolicy(t, w.Header(), w.Body.String())
				checkAccessible(t, w.Body.String())
				return w.Body.String()
			}
			const banner = `class="banner"`
			body := show(p.For(alice, s))
			for _, want := range []string{banner, "Break-glass session of <b>Alice Ng</b>", "alice@example.com", "until 3 May 14:05 UTC", "Everything that you do is recorded."} {
				if !strings.Contains(body, want) {
					t.Errorf("the page lacks %q", want)
				}
			}
			for _, other := range []*session.Session{nil, {Proven: true}} {
				if strings.Contains(show(p.For(alice, other)), banner) {
					t.Errorf("the page has the banner for %+v", other)
				}
			}
			if strings.Contains(show(p.For(evil, s)), "<script>alert") {
				t.Error("the banner does not escape a name")
			}
		})
	}
}
