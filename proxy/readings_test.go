package proxy

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"sallyport/policy"
)

// withAdminRoute adds a route for administrators below that of lenientHost, whose paths are strict or lenient.
func withAdminRoute(encoding string) func(*Settings) {
	return func(s *Settings) {
		s.TrustedProxies = []string{"127.0.0.0/8"}
		s.Policies = append(s.Policies, policy.Named{Name: "admins", Rules: []policy.Rule{{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: admins}}}}}})
		admin := s.Routes[3]
		admin.Name, admin.Path, admin.Policy, admin.PathEncoding = "files-admin", "/admin", []string{"admins"}, encoding
		s.Routes = append(s.Routes, admin)
	}
}

// adminSpellings are paths that some server reads as one below /admin.
var adminSpellings = []string{
	"/admin%2Fsecret", "/admin;x/secret", "/%2Fadmin/secret", "/;/admin/secret", "/admin%5Csecret", `/admin\secret`,
	"/admin%252Fsecret", "/admin%3Bx/secret", "/admin%23/secret", "/admin%3F/secret", "/admin%2523/secret", "/admin%253Bx/secret",
	"/%5Cadmin/secret", "/;x=1;y/admin;z/secret", "/%3B/admin/secret", "/%253B/admin/secret", "/;%2Fadmin/secret",
	"/%2561dmin/secret", "/adm%2569n", "/admin;x", "/admin%2F", "/admin%3F", "/admin%23", "/admin%255Csecret", "/%252Fadmin%252Fsecret",
	"/%2F%2Fadmin/secret", "/%2Fx/admin/secret", "/;a/;b/;c/admin/secret", "/admin%25252Fsecret", "/admin;%2F..%3Bsecret", "/%25%36%31dmin/x",
}

// TestServe_LenientReadingsLeadToOneRoute sends paths that an application could read as those of another route of the
// host. They must not be decided by the rules of the route that the spelling leads to, nor allowed to a front proxy.
func TestServe_LenientReadingsLeadToOneRoute(t *testing.T) {
	for _, encoding := range []string{"", "lenient"} {
		t.Run("admin route "+encoding, func(t *testing.T) {
			w := newWorld(t, withAdminRoute(encoding))
			var reached atomic.Pointer[string]
			w.setUpstream(func(_ http.ResponseWriter, r *http.Request) { reached.Store(&r.RequestURI) })
			_, cookie := w.signIn("alice", lenientHost)
			c := w.client(false)
			for _, path := range adminSpellings {
				if code, sent := w.try(c, lenientHost, path, cookie); sent && code != 400 || reached.Swap(nil) != nil {
					t.Errorf("%s: %d", path, code)
				}
				res, _ := w.get(c, checkURL, append(forwardedHeaders("GET", "https://"+lenientHost+path), "Cookie", cookie)...)
				if res.StatusCode != 400 {
					t.Errorf("check of %s: %d", path, res.StatusCode)
				}
			}
			for _, path := range []string{"/", "/a/b", "/group%2Fproject/-/blob/a%2Eb", "/administrator;x", "/a%252Fb", "/wiki/C%23", "/what%3F", "/100%25", "/a//b", "/x/admin%2Fsecret", "/x;%2Fadmin/secret"} {
				if code, _ := w.try(c, lenientHost, path, cookie); code != 200 {
					t.Errorf("harmless %s: %d", path, code)
				}
			}
		})
	}
}

// TestServe_DenyHoldsForEveryReading sends paths that an application could read as one that a rule denies, by its paths
// or by its condition.
func TestServe_DenyHoldsForEveryReading(t *testing.T) {
	for name, deny := range map[string]*policy.Match{
		"paths": {Paths: []string{"/docs/secret/**"}},
		"when":  {When: `request.path.startsWith("/docs/secret")`},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(s *Settings) { s.Policies[0].Rules = append(s.Policies[0].Rules, policy.Rule{Deny: deny}) })
			_, cookie := w.signIn("alice", lenientHost)
			c := w.client(false)
			for _, path := range []string{
				"/docs/secret/x", "/docs/;/secret/x", "/docs%252Fsecret/x", "/docs/%2573ecret/x", "/docs/%3B/secret/x", "/docs/secret%23/x",
				"/docs/secret%3Fx", "/docs;a//secret;b/x", `/docs\secret\x`, "/docs%5Csecret/x", "/docs%255Csecret%252Fx", "/%2Fdocs/secret",
				"/docs/secret%253Bx", "/docs/%252573ecret/x", "/docs/;a=%2F/secret", "/%2Fx/docs/secret/x",
			} {
				if code, _ := w.try(c, lenientHost, path, cookie); code != 403 && code != 400 {
					t.Errorf("%s: %d", path, code)
				}
			}
			if code, _ := w.try(c, lenientHost, "/docs/public;x/secret%2Fy", cookie); code != 200 {
				t.Errorf("harmless: %d", code)
			}
		})
	}
}

// serverSteps are what servers do to a path before they look for a handler. They share no code with package canonical.
var serverSteps = []func(string) string{
	func(path string) string {
		return regexp.MustCompile(`%[0-9A-Fa-f]{2}`).ReplaceAllStringFunc(path, func(encoded string) string {
			c, _ := strconv.ParseUint(encoded[1:], 16, 8)
			return string([]byte{byte(c)})
		})
	},
	func(path string) string { return regexp.MustCompile(`(?i)%2f`).ReplaceAllString(path, "/") },
	func(path string) string { return regexp.MustCompile(`(?i)%5c|\\`).ReplaceAllString(path, "/") },
	func(path string) string { return regexp.MustCompile(`//+`).ReplaceAllString(path, "/") },
	func(path string) string { return regexp.MustCompile(`;[^/]*`).ReplaceAllString(path, "") },
	func(path string) string { return regexp.MustCompile(`;[^/]*$`).ReplaceAllString(path, "") },
	func(path string) string { return regexp.MustCompile(`;.*`).ReplaceAllString(path, "") },
	func(path string) string { return regexp.MustCompile(`[?].*`).ReplaceAllString(path, "") },
	func(path string) string { return regexp.MustCompile(`#.*`).ReplaceAllString(path, "") },
	func(path string) string { return regexp.MustCompile(`^//[^/]*`).ReplaceAllString(path, "") },
}

// readAs reports whether a server that takes up to four steps reads path as prefix, or one below it.
func readAs(prefix, path string) bool {
	paths := map[string]bool{path: true}
	for range 4 {
		for path := range paths {
			for _, step := range serverSteps {
				paths[step(path)] = true
			}
		}
	}
	for path := range paths {
		if path == prefix || strings.HasPrefix(path, prefix+"/") {
			return true
		}
	}
	return false
}

// TestRewrite_LenientPathLeadsToWhatWasDecided: once leading segments are gone, the rest of a lenient path can be read
// as a host and another path.
func TestRewrite_LenientPathLeadsToWhatWasDecided(t *testing.T) {
	w := newWorld(t, func(s *Settings) { s.Routes[3].Path, s.Routes[3].Rewrite = "/app", &Rewrite{Strip: "/app"} })
	_, cookie := w.signIn("alice", lenientHost)
	c := w.client(false)
	for path, want := range map[string]int{"/app/a%2Fb": 200, "/app/;x": 200, "/app/a;x//b": 200, "/app/%2Fhost/secret": 400, "/app/;/host/secret": 400, "/app//host": 400} {
		if code, _ := w.try(c, lenientHost, path, cookie); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
}

// TestReload_CutsRequestsThatCouldBeOfANewRoute: a live request stays only while every reading leads to its route.
func TestReload_CutsRequestsThatCouldBeOfANewRoute(t *testing.T) {
	w := newWorld(t, nil)
	one, _ := w.signIn("alice", lenientHost)
	req := &request{routing: w.proxy.routing.Load(), method: "GET", host: lenientHost, path: "/admin%2Fx", lenient: true, caller: &caller{session: &one}}
	if denied := req.findRoute(); denied != nil {
		t.Fatal(denied)
	}
	if out := w.proxy.decide(req.routing, req, req.received); out.denial != nil {
		t.Errorf("denied: %v", out.denial.reason)
	}
	withAdminRoute("lenient")(&w.settings)
	w.must(w.proxy.Load(w.settings))
	if out := w.proxy.decide(w.proxy.routing.Load(), req, req.received); out.denial == nil {
		t.Error("allowed after another route claims a reading")
	}
}

// foldedSpellings are spellings of /admin/secret and /docs/secret by which some server finds them: one that ignores the
// case of letters, converts them to an older character set, or stores files as Windows does.
func foldedSpellings(first string) []string {
	return []string{
		"/" + strings.ToUpper(first) + "/secret", "/" + strings.ToUpper(first[:1]) + first[1:] + "/secret", "/" + first + "%20/secret", "/" + first + "./secret",
		"/" + first + ".%20./secret", "/" + first + "%C2%A0/secret", "/" + first + "%E3%80%80/secret", "/" + first + "%EF%BC%8Fsecret", "/" + first + "%E2%88%95secret",
		"/" + first[:1] + "%E2%80%8D" + first[1:] + "/secret", "/" + first + ":$i30:$INDEX_ALLOCATION/secret", "/" + first + "%EF%BC%9Bx/secret", "/" + first + "%EF%BC%BCsecret",
		"/" + strings.NewReplacer("a", "%EF%BD%81", "d", "%EF%BD%84", "o", "%EF%BC%AF").Replace(first) + "/secret",
		"/" + strings.NewReplacer("i", "%C4%B1", "c", "%C3%A7").Replace(first) + "/secret",
	}
}

// TestPathCase_Insensitive sends paths that an upstream without regard to case reads as those of another route of the
// host, or as denied ones.
func TestPathCase_Insensitive(t *testing.T) {
	for name, which := range map[string]int{"the route at the root": 3, "the route below it": 4} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(s *Settings) {
				withAdminRoute("")(s)
				s.Routes[3].PathEncoding, s.Routes[which].PathCase = "", "insensitive"
				s.Policies[0].Rules = append(s.Policies[0].Rules, policy.Rule{Deny: &policy.Match{Paths: []string{"/Docs/Secret"}}},
					policy.Rule{Deny: &policy.Match{When: `request.path.startsWith("/tools/")`}})
			})
			_, cookie := w.signIn("alice", lenientHost)
			c := w.client(false)
			for _, path := range foldedSpellings("admin") {
				if code, _ := w.try(c, lenientHost, path, cookie); code != 400 && code != 403 {
					t.Errorf("%s: %d", path, code)
				}
				res, _ := w.get(c, checkURL, append(forwardedHeaders("GET", "https://"+lenientHost+path), "Cookie", cookie)...)
				if res.StatusCode != 400 && res.StatusCode != 403 {
					t.Errorf("check of %s: %d", path, res.StatusCode)
				}
			}
			for _, path := range append(foldedSpellings("docs"), "/docs/secret", "/docs/SECRET/", "/docs/secret::$DATA", "/docs/secret.", "/docs/s\u00e9cret", "/TOOLS/x", "/docs/...", "/x/%20..") {
				if code, _ := w.try(c, lenientHost, path, cookie); code != 400 && code != 403 {
					t.Errorf("%s: %d", path, code)
				}
			}
			for _, path := range []string{"/", "/Docs/Public", "/administrator", "/a%20b/", "/caf%C3%A9/%E2%82%AC", "/a.b.c", "/v1/items:batch"} {
				if code, _ := w.try(c, lenientHost, path, cookie); code != 200 {
					t.Errorf("harmless %s: %d", path, code)
				}
			}
		})
	}
}

// TestPathCase_AllowRulesMatchAsWritten: an allow rule does not get wider by path_case.
func TestPathCase_AllowRulesMatchAsWritten(t *testing.T) {
	w := newWorld(t, func(s *Settings) {
		s.Routes[0].PathCase = "insensitive"
		s.Policies[0].Rules[0].Allow.Paths = []string{"/Reports/*"}
	})
	_, cookie := w.signIn("alice", appHost)
	for path, want := range map[string]int{"/Reports/x": 200, "/Reports/X": 200, "/reports/x": 403, "/REPORTS/x": 403} {
		if code, _ := w.try(w.client(false), appHost, path, cookie); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
}

// TestPathCase_Sensitive: without path_case, paths that differ in case are different paths.
func TestPathCase_Sensitive(t *testing.T) {
	w := newWorld(t, withAdminRoute(""))
	_, cookie := w.signIn("alice", lenientHost)
	for path, want := range map[string]int{"/ADMIN/x": 200, "/admin/x": 403, "/admin.": 200} {
		if code, _ := w.try(w.client(false), lenientHost, path, cookie); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
}
