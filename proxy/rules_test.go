package proxy

import (
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sallyport/access"
	"sallyport/directory"
	"sallyport/entratest"
	"sallyport/oidc"
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

// asker is a caller as the proxy knows one, and as an explanation is asked for one.
type asker struct {
	proved *caller
	asked  access.Caller
}

// askers returns nobody, and users and an application with each credential, some of whom may use nothing.
func (w *world) askers() []asker {
	w.addUser("carol", staff, admins)
	w.addUser("dora", staff)
	list := []asker{{}}
	for _, name := range []string{"alice", "bob", "carol", "dora"} {
		started, _ := w.signIn(name, appHost)
		token := w.token(name, nil)
		identity, err := w.provider.Bearer(w.ctx, token)
		w.must(err)
		list = append(list, asker{&caller{session: &started}, access.Caller{User: w.user(name), Credential: access.SessionCookie}},
			asker{&caller{token: &identity, bearer: oidc.Secret(token)}, access.Caller{User: w.user(name), Credential: access.BearerToken}})
	}
	token := w.tenant.AppToken(appID, appObject, audience, func(c entratest.Claims) { c["roles"] = []string{"r1"} })
	app, err := w.provider.Bearer(w.ctx, token)
	w.must(err)
	w.setActive("dora", false)
	for i := range list {
		if u := list[i].asked.User; u != nil {
			list[i].asked.User, _ = w.directory.ByID(u.ID)
		}
	}
	return append(list, asker{&caller{token: &app, bearer: oidc.Secret(token)}, access.Caller{App: app.App, Roles: app.Roles}})
}

// signedIn returns the same caller, who signed in at a time and in a way.
func (a asker) signedIn(at time.Time, how policy.Strength) *caller {
	switch {
	case a.proved == nil:
		return nil
	case a.proved.session != nil:
		s := *a.proved.session
		s.Proven, s.Authenticated, s.ACR, s.AMR, s.Contexts = true, at, how.ACR, how.AMR, how.Contexts
		return &caller{session: &s}
	}
	t := *a.proved.token
	t.TimeKnown, t.Authenticated, t.ACR, t.AMR, t.Contexts = true, at, how.ACR, how.AMR, how.Contexts
	return &caller{token: &t, bearer: a.proved.bearer}
}

// TestRules_ExplainAgreesWithDecide demands that an explanation and the decision of the proxy never differ, whatever
// the rules, the route and the caller are.
func TestRules_ExplainAgreesWithDecide(t *testing.T) {
	const caseHost, webHost = "case.example.com", "web.example.com"
	w := newWorld(t, func(s *Settings) {
		like := s.Routes[0]
		like.Name, like.Host, like.PathCase = "case", caseHost, insensitiveCase
		web := s.Routes[0]
		web.Name, web.Host, web.Accept = "web", webHost, []string{"session"}
		s.Routes = append(s.Routes, like, web)
	})
	askers := w.askers()
	rapid.Check(t, func(t *rapid.T) {
		settings := w.settings
		settings.Policies = []policy.Named{{Name: "staff", Rules: rapid.SliceOfN(rapid.Custom(someRule), 1, 5).Draw(t, "rules")}, settings.Policies[1]}
		rules, err := CompileRules(settings)
		if err != nil {
			t.Fatal(err)
		}
		who := rapid.SampledFrom(askers).Draw(t, "caller")
		method := rapid.SampledFrom([]string{"GET", "DELETE", "OPTIONS", "PROPFIND"}).Draw(t, "method")
		path := rapid.SampledFrom([]string{"/", "/a", "/a/b", "/A", "/a%2Fb", "/v1/a", "/a;x=1", "/%61/", "/a%20"}).Draw(t, "path")
		host := rapid.SampledFrom([]string{appHost, lenientHost, openHost, apiHost, caseHost, webHost}).Draw(t, "host")
		target, err := rules.Target(method, host+path)
		at := time.Now()
		address := rapid.SampledFrom([]string{"", "10.1.2.3", "::ffff:10.1.2.3", "192.0.2.1"}).Draw(t, "address")
		login := at.Add(-rapid.SampledFrom([]time.Duration{time.Second, 2 * time.Hour}).Draw(t, "signed in"))
		how := rapid.SampledFrom([]policy.Strength{{}, {AMR: []string{"mfa"}}, {ACR: "high", Contexts: []string{"c1"}}}).Draw(t, "strength")
		req := &request{routing: rules.routing, method: method, timing: timing{received: at}}
		req.client, _ = netip.ParseAddr(address)
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
		req.caller = who.signedIn(login, how)
		if open := w.proxy.admitsAnyone(req); open && who.asked.User != nil && who.asked.User.Barred() != "" { // as identify does
			req.caller = nil
		}
		decided := w.proxy.decide(rules.routing, req, at)
		e := access.Explain(target, who.asked, access.Circumstances{Time: at, Address: address, Login: login, Strength: how, Organization: w.directory})
		if e.Allow != (decided.denial == nil) || e.Rule != decided.decision.Rule {
			t.Fatalf("explained as %+v, decided as %+v", e, decided)
		}
		if !e.Allow && e.Reason != string(decided.denial.reason) {
			t.Fatalf("explained by %s, denied for %s", e.Reason, decided.denial.reason)
		}
		matched := func(effect string) bool {
			return slices.ContainsFunc(e.Rules, func(s policy.Step) bool { return s.Effect == effect && s.Mode == "" && s.Matched })
		}
		if barred := who.asked.User != nil && who.asked.User.Barred() != ""; !barred && e.Allow != (matched("allow") && !matched("deny")) {
			t.Fatalf("allowed is %t, but the rules are explained as %+v", e.Allow, e.Rules)
		}
	})
}

// ruleParts set one part of a rule each. Only the last two are of allow rules alone.
var ruleParts = []func(*rapid.T, *policy.Match){
	func(t *rapid.T, m *policy.Match) { m.Groups = someGroup(t) },
	func(t *rapid.T, m *policy.Match) { m.AllGroups = []policy.GroupRef{{ID: staff}, {ID: admins}} },
	func(t *rapid.T, m *policy.Match) { m.UnlessGroups = someGroup(t) },
	func(t *rapid.T, m *policy.Match) { m.Users = []string{"alice@example.com"} },
	func(t *rapid.T, m *policy.Match) { m.NotUsers = []string{"alice@example.com"} },
	func(t *rapid.T, m *policy.Match) {
		m.Roles = []string{rapid.SampledFrom([]string{"r1", "r2"}).Draw(t, "role")}
	},
	func(t *rapid.T, m *policy.Match) { m.ReportsTo = []string{"alice@example.com"} },
	func(t *rapid.T, m *policy.Match) { m.ManagerOf = []string{"bob@example.com"} },
	func(t *rapid.T, m *policy.Match) { m.Attributes = map[string][]string{"displayName": {"Bob Doe"}} },
	func(t *rapid.T, m *policy.Match) { m.Apps = []string{appID} },
	func(t *rapid.T, m *policy.Match) {
		m.Methods = []string{rapid.SampledFrom([]string{"GET", "DELETE", "any"}).Draw(t, "method")}
	},
	func(t *rapid.T, m *policy.Match) {
		m.Paths = []string{rapid.SampledFrom([]string{"/", "/a", "/a/**", "/A/b", "/v1/a"}).Draw(t, "path")}
	},
	func(t *rapid.T, m *policy.Match) { m.Networks = []string{"10.0.0.0/8"} },
	func(t *rapid.T, m *policy.Match) {
		m.Hours = rapid.SampledFrom([]*policy.Hours{{From: "06:00", To: "18:00"}, {From: "18:00", To: "06:00", Zone: "Europe/Berlin"}}).Draw(t, "hours")
	},
	func(t *rapid.T, m *policy.Match) {
		m.When = rapid.SampledFrom([]string{`request.path.startsWith("/a/")`, `!("r1" in user.roles)`, `user.attributes.displayName == "Bob Doe"`}).Draw(t, "when")
	},
	func(t *rapid.T, m *policy.Match) { m.MaxAuthAge = time.Hour },
	func(t *rapid.T, m *policy.Match) {
		m.Auth = rapid.SampledFrom([]*policy.Login{{AMR: []string{"mfa"}}, {ACR: []string{"high"}, Context: []string{"c1"}}}).Draw(t, "auth")
	},
}

func someGroup(t *rapid.T) []policy.GroupRef {
	return []policy.GroupRef{{ID: rapid.SampledFrom([]string{staff, admins}).Draw(t, "group")}}
}

// someRule draws a rule with any of the parts, or for anyone.
func someRule(t *rapid.T) policy.Rule {
	return rapid.Custom(func(t *rapid.T) policy.Rule {
		m, deny, settings := &policy.Match{}, rapid.IntRange(0, 3).Draw(t, "deny") == 0, ruleParts
		if deny {
			settings = settings[:len(settings)-2]
		}
		for _, i := range rapid.SliceOfNDistinct(rapid.IntRange(0, len(settings)-1), 0, 2, rapid.ID[int]).Draw(t, "parts") {
			settings[i](t, m)
		}
		m.Anyone = !deny && rapid.IntRange(0, 5).Draw(t, "anyone") == 0
		r := policy.Rule{Allow: m, Until: rapid.SampledFrom([]string{"", "", "2020-01-31", "2100-01-31"}).Draw(t, "until")}
		if deny {
			r = policy.Rule{Deny: m, Until: r.Until}
		}
		if rapid.IntRange(0, 9).Draw(t, "report") == 0 {
			r.Mode = "report"
		}
		return r
	}).Filter(func(r policy.Rule) bool {
		_, err := policy.Compile([]policy.Named{{Name: "p", Rules: []policy.Rule{r}}}, policy.Options{})
		return err == nil
	}).Draw(t, "rule")
}

// TestRules_WhoReadsPathsAsRequestsAreRead: where case makes no difference, and for odd paths on a lenient route, those
// who reach a path are those who are let in.
func TestRules_WhoReadsPathsAsRequestsAreRead(t *testing.T) {
	const caseHost = "case.example.com"
	w := newWorld(t, func(s *Settings) {
		like := s.Routes[0]
		like.Name, like.Host, like.PathCase = "case", caseHost, insensitiveCase
		s.Routes = append(s.Routes, like)
	})
	for _, c := range []struct {
		route, path string
		reaches     bool
	}{
		{"app", "/x", true}, {"app", "/secret/x", false}, {"app", "/%73ecret/x", false}, {"app", "/SECRET/x", true}, {"case", "/SECRET/x", false}, {"case", "/x", true},
		{"files", "/secret%2Fplan", false}, {"app", "/a%2Fb", false}, {"app", "/.sallyport/me", false}, {"api", "/v1/x", true}, {"api", "/v2", false},
	} {
		r, ok := w.proxy.Rules().Route(c.route)
		if !ok {
			t.Fatal(c.route)
		}
		who := access.Who([]*access.Route{r}, []*directory.User{w.user("alice")}, access.Scope{Path: c.path, Time: time.Now()})
		if (len(who) > 0) != c.reaches {
			t.Errorf("%s%s: %+v", c.route, c.path, who)
		}
		if e, err := w.explained("alice", "GET", r.Host+c.path); (err == nil && e.Allow) != c.reaches {
			t.Errorf("%s%s: %+v %v", c.route, c.path, e, err)
		}
	}
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

// TestRules_CheckToken: a token that was issued before its user was deactivated is denied, and an explanation says so.
func TestRules_CheckToken(t *testing.T) {
	w := newWorld(t, nil)
	old := w.token("alice", func(c entratest.Claims) {
		c["iat"], c["nbf"] = time.Now().Add(-time.Minute).Unix(), time.Now().Add(-time.Minute).Unix()
	})
	identity, err := w.provider.Bearer(w.ctx, old)
	w.must(err)
	if err := w.proxy.CheckToken(&identity, old); err != nil {
		t.Errorf("a good token: %v", err)
	}
	w.setActive("alice", false)
	w.setActive("alice", true)
	if err := w.proxy.CheckToken(&identity, old); err == nil || !strings.Contains(err.Error(), "token_refused: issued before the user was deactivated") || strings.Contains(err.Error(), old) {
		t.Errorf("an old token: %v", err)
	}
	if status, _ := w.statusOf(apiHost, "/v1/x", []string{"Authorization", "Bearer " + old}); status != http.StatusUnauthorized {
		t.Errorf("a request with it: %d", status)
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
