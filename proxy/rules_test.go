package proxy

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/access"
	"sallyport/directory"
	"sallyport/policy"
)

// explained returns what access.Explain says of a request of a user, or of nobody.
func (w *world) explained(name, method, rawURL string) (access.Explanation, error) {
	target, err := w.proxy.Rules().Target(method, rawURL)
	if err != nil {
		return access.Explanation{}, err
	}
	caller := access.Caller{}
	if name != "" {
		caller.User = w.user(name)
	}
	now := time.Now()
	return access.Explain(target, caller, access.Circumstances{Time: now, Login: now}), nil
}

// TestRules_ExplainAsServed compares explanations with what real requests get.
func TestRules_ExplainAsServed(t *testing.T) {
	w := newWorld(t, nil)
	w.addUser("carol", staff, admins)
	for _, name := range []string{"", "alice", "bob", "carol"} {
		for _, host := range []string{appHost, openHost, lenientHost, apiHost} {
			for _, path := range []string{"/", "/v1/x", "/secret/plan", "/secret%2Fplan", "/docs;v=1/../x", "/%2e%2e/secret/x", "/a%20b?secret=1"} {
				e, err := w.explained(name, "GET", "https://"+host+path)
				headers := []string{"Accept", "application/json"}
				switch {
				case name == "":
				case host == apiHost:
					headers = append(headers, "Authorization", "Bearer "+w.token(name, nil))
				default:
					_, cookie := w.signIn(name, host)
					headers = append(headers, "Cookie", cookie)
				}
				status, body := w.statusOf(host, path, headers)
				if (err == nil && e.Allow) != (status == 200) {
					t.Errorf("%s of %q: %d\n%s\nexplained as %+v, %v", host+path, name, status, body, e, err)
				}
				if err == nil && !e.Allow && !strings.Contains(body, e.Reason) {
					t.Errorf("%s of %q is explained by %s:\n%s", host+path, name, e.Reason, body)
				}
			}
		}
	}
}

// statusOf sends a request whose target is written as it is.
func (w *world) statusOf(host, path string, headers []string) (int, string) {
	r, err := http.NewRequestWithContext(w.ctx, "GET", "https://"+host, nil)
	w.must(err)
	raw, query, _ := strings.Cut(path, "?")
	r.URL = &url.URL{Scheme: "https", Host: host, Opaque: "//" + host + raw, RawQuery: query}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := w.client(false).Do(r)
	w.must(err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	w.must(err)
	return res.StatusCode, string(body)
}

// TestRules_ExplainAgreesWithDecide demands that an explanation and the decision of the proxy never differ, whatever
// the rules are.
func TestRules_ExplainAgreesWithDecide(t *testing.T) {
	w := newWorld(t, nil)
	w.addUser("carol", staff, admins)
	w.addUser("dora", staff)
	w.setActive("dora", false)
	callers := map[string]*caller{}
	for _, name := range []string{"alice", "bob", "carol", "dora"} {
		started, _ := w.signIn(name, appHost)
		callers[name] = &caller{session: &started}
	}
	rapid.Check(t, func(t *rapid.T) {
		settings := w.settings
		settings.Policies = []policy.Named{{Name: "staff", Rules: rapid.SliceOfN(rapid.Custom(someRule), 1, 5).Draw(t, "rules")}, settings.Policies[1]}
		rules, err := CompileRules(settings)
		if err != nil {
			t.Fatal(err)
		}
		name := rapid.SampledFrom([]string{"", "alice", "bob", "carol", "dora"}).Draw(t, "caller")
		method := rapid.SampledFrom([]string{"GET", "DELETE"}).Draw(t, "method")
		path := rapid.SampledFrom([]string{"/", "/a", "/a/b", "/A", "/a%2Fb"}).Draw(t, "path")
		host := rapid.SampledFrom([]string{appHost, lenientHost, openHost}).Draw(t, "host")
		target, err := rules.Target(method, host+path)
		req := &request{routing: rules.routing, method: method, received: time.Now()}
		denied := req.readTarget(&http.Request{Method: method, Host: host, RequestURI: path, URL: &url.URL{Path: path}})
		if denied == nil {
			denied = req.findRoute()
		}
		if (err != nil) != (denied != nil) {
			t.Fatalf("%v, but %+v", err, denied)
		}
		if denied != nil {
			return
		}
		who := access.Caller{}
		if req.caller = callers[name]; name != "" {
			who.User = w.user(name)
		}
		if open := w.proxy.admitsAnyone(req); open && name == "dora" { // as identify does
			req.caller = nil
		}
		decided := w.proxy.decide(rules.routing, req, req.received)
		e := access.Explain(target, who, access.Circumstances{Time: req.received, Login: req.received})
		if e.Allow != (decided.denial == nil) || e.Rule != decided.decision.Rule {
			t.Fatalf("explained as %+v, decided as %+v", e, decided)
		}
		if !e.Allow && e.Reason != string(decided.denial.reason) {
			t.Fatalf("explained by %s, denied for %s", e.Reason, decided.denial.reason)
		}
	})
}

// someRule draws a rule for members of two groups, or for anyone.
func someRule(t *rapid.T) policy.Rule {
	m := &policy.Match{}
	deny := rapid.IntRange(0, 3).Draw(t, "deny") == 0
	switch who := rapid.IntRange(0, 4).Draw(t, "who"); {
	case who == 0 && !deny:
		m.Anyone = true
	case who == 1 && deny:
		m.UnlessGroups = []policy.GroupRef{{ID: admins}}
	default:
		m.Groups = []policy.GroupRef{{ID: rapid.SampledFrom([]string{staff, admins}).Draw(t, "group")}}
	}
	if rapid.Bool().Draw(t, "by method") {
		m.Methods = []string{rapid.SampledFrom([]string{"GET", "DELETE"}).Draw(t, "method")}
	}
	if rapid.Bool().Draw(t, "by path") {
		m.Paths = []string{rapid.SampledFrom([]string{"/", "/a", "/a/**"}).Draw(t, "path")}
	}
	if deny {
		return policy.Rule{Deny: m}
	}
	return policy.Rule{Allow: m}
}

func TestRules_TargetOfURL(t *testing.T) {
	w := newWorld(t, nil)
	for text, want := range map[string]string{
		"https://" + appHost:         "app /",
		appHost:                      "app /",
		appHost + "?a=b":             "app /",
		"HTTPS://APP.example.com/x#": "app /x",
		appHost + ":8443/a%20b?c":    "app /a b",
		"nowhere.example.com":        "nowhere.example.com would be denied for no_route",
		appHost + "/a%2fb":           "would be denied for bad_path",
		appHost + "/.sallyport/me":   "is a path of Sallyport's own",
		"":                           "would be denied for bad_host",
		"app example":                "would be denied for bad_host",
	} {
		target, err := w.proxy.Rules().Target("GET", text)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = target.Route.Name + " " + target.Path
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if _, ok := w.proxy.Rules().Route("nothing"); ok {
		t.Error("there is a route called nothing")
	}
	names := []string{}
	for _, r := range w.proxy.Rules().Routes() {
		names = append(names, r.Name)
	}
	if !slices.Equal(names, []string{"app", "open", "api", "files"}) {
		t.Errorf("the routes are %q", names)
	}
}

// TestBarred_IsAReason demands that the proxy has a text for every reason for which the directory bars a user.
func TestBarred_IsAReason(t *testing.T) {
	inactive := directory.User{}
	suspended, damaged := directory.User{Active: true}, directory.User{Active: true}
	suspended.Suspended, damaged.Damaged = &directory.Suspension{}, true
	if inactive.Barred() != string(inactiveUser) || suspended.Barred() != string(suspendedUser) || damaged.Barred() != string(damagedRecord) {
		t.Errorf("barred for %s, %s and %s", inactive.Barred(), suspended.Barred(), damaged.Barred())
	}
}
