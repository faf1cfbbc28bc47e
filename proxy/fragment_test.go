package proxy_test

import (
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

const chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"

var nextAddress = regexp.MustCompile(`data-next="([^"]*)"`)

// asWindow requests a URL as Chromium does for a tab, and follows no redirect.
func (g *browser) asWindow(target string, header ...string) page {
	g.t.Helper()
	return g.ask("GET", target, nil, append([]string{"Accept", navigate, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document", "User-Agent", chrome}, header...)...)
}

// next returns where the script of the page goes, without a fragment; "" if the page has no such script.
func (p page) next() string {
	m := nextAddress.FindStringSubmatch(p.body)
	if m == nil {
		return ""
	}
	return html.UnescapeString(m[1])
}

// TestFragment_PageLeadsOn checks where the page stands that keeps fragments, and that it leads where the redirect led.
func TestFragment_PageLeadsOn(t *testing.T) {
	h := newEnv(t)
	const target = "https://app.example.com/d/1?a=b"
	login := h.browser(h.alice).until(target, "/.sallyport/login?")
	t.Run("before_the_provider", func(t *testing.T) {
		p := h.browser(h.alice).asWindow(login)
		next := must[*url.URL](t)(url.Parse(p.next()))
		if p.StatusCode != 200 || next.Path == "" || !strings.HasSuffix(next.Path, "/authorize") || !strings.Contains(p.body, `data-state="`+next.Query().Get("state")+`"`) {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
		if len(p.Cookies()) != 1 || p.Header.Get("Cross-Origin-Opener-Policy") != "" {
			t.Errorf("%v", p.Header)
		}
		if !strings.Contains(p.body, `<noscript><meta http-equiv="refresh" content="0; url=`) {
			t.Error("without scripts, the page leads nowhere")
		}
	})
	t.Run("not_for_others", func(t *testing.T) {
		for name, header := range map[string][]string{"program": {"User-Agent", "curl/8.0"}, "frame": {"Sec-Fetch-Dest", "iframe"}, "script": {"Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"}} {
			if p := h.browser(h.alice).asWindow(login, header...); p.StatusCode != 302 || p.body != "" {
				t.Errorf("%s: %d %s", name, p.StatusCode, p.body)
			}
		}
	})
	t.Run("not_for_who_is_signed_in", func(t *testing.T) {
		g := h.browser(h.alice)
		g.open("https://wiki.example.com/team")
		for next := target; ; {
			p := g.asWindow(next)
			if p.StatusCode == 200 {
				checkArrived(t, []string{target}, []page{p})
				return
			}
			if next = p.Header.Get("Location"); p.StatusCode != 302 || next == "" {
				t.Fatalf("%d %s", p.StatusCode, p.body)
			}
		}
	})
	callback := func(g *browser, mark string) page {
		link := must[*url.URL](t)(url.Parse(g.until(target, "/.sallyport/callback?")))
		q := link.Query()
		q.Set("state", q.Get("state")+mark)
		link.RawQuery = q.Encode()
		return g.asWindow(link.String())
	}
	t.Run("after_the_provider_with_fragment", func(t *testing.T) {
		g := h.browser(h.alice)
		p := callback(g, ".f")
		if p.StatusCode != 200 || !strings.HasPrefix(p.next(), "https://app.example.com/.sallyport/login?") || !strings.Contains(p.body, `data-back`) {
			t.Fatalf("%d %s", p.StatusCode, p.body)
		}
		checkArrived(t, []string{target}, []page{g.open(p.next())})
	})
	t.Run("after_the_provider_without_fragment", func(t *testing.T) {
		g := h.browser(h.alice)
		p := callback(g, "")
		if p.StatusCode != 302 {
			t.Fatalf("%d %s", p.StatusCode, p.body)
		}
		checkArrived(t, []string{target}, []page{g.open(p.Header.Get("Location"))})
	})
	t.Run("forged_marks_lead_nowhere_else", func(t *testing.T) {
		for _, mark := range []string{".f.f", ".x", ".", ".f&next=https://evil.example", ".https://evil.example"} {
			g := h.browser(h.alice)
			p := callback(g, mark)
			location := p.Header.Get("Location") + p.next()
			if !strings.HasPrefix(location, "https://app.example.com/.sallyport/login?") && !strings.HasPrefix(location, "https://login.example.com/") {
				t.Errorf("%s leads to %q", mark, location)
			}
		}
	})
	t.Run("flow_is_lost", func(t *testing.T) {
		g := h.browser(h.alice)
		callback(g, ".f")
		p := g.asWindow("https://login.example.com/.sallyport/callback?code=x&state=" + url.QueryEscape(strings.Repeat("A", 26)+".x.f"))
		if p.next() != "https://login.example.com/" {
			t.Errorf("%d %s", p.StatusCode, p.body)
		}
	})
}
