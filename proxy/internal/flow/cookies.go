package flow

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"sallyport/session"
)

func (b Browser) setCookie(name, value string, lifetime time.Duration) {
	http.SetCookie(b.Response, session.NewCookie(name, value, int(lifetime/time.Second)))
}

// clearCookies makes the browser delete cookies.
func (b Browser) clearCookies(names []string) {
	for _, name := range names {
		http.SetCookie(b.Response, session.NewCookie(name, "", -1))
	}
}

// clearSurplus deletes cookies with a prefix, so that the rest have at most limit bytes: those whose age is 0, and the
// oldest.
func (b Browser) clearSurplus(prefix string, limit int, age func(name, value string) int64) {
	type stored struct {
		name  string
		bytes int
		at    int64
	}
	var all []stored
	for _, c := range b.Request.Cookies() {
		if strings.HasPrefix(c.Name, prefix) {
			all = append(all, stored{c.Name, len(c.Name) + len(c.Value), age(c.Name, c.Value)})
		}
	}
	slices.SortStableFunc(all, func(a, b stored) int { return cmp.Compare(b.at, a.at) })
	var names []string
	for _, s := range all {
		if limit -= s.bytes; s.at == 0 || limit < 0 {
			names = append(names, s.name)
		}
	}
	b.clearCookies(names)
}
