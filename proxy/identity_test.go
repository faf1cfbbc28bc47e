package proxy

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sallyport/directory"
	"sallyport/policy"
)

// ownNames gives the route of appHost names of its own, and makes every group have a name.
func ownNames(s *Settings) {
	s.Routes[0].IdentityHeaders = IdentityHeaders{Preset: "grafana", Email: new("X-Post"), GroupNames: new(true)}
}

// seenBy returns the headers that the upstream of host received.
func (w *world) seenBy(t *testing.T, c *http.Client, host string, headers ...string) http.Header {
	t.Helper()
	var seen http.Header
	w.setUpstream(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		seen = r.Header.Clone()
		for name, values := range r.Trailer {
			seen["Trailer of "+name] = values
		}
	})
	if res, body := w.get(c, "https://"+host+"/", headers...); res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s", host, res.StatusCode, body)
	}
	return seen
}

// TestIdentityHeaders_OfTheRoute checks that each application gets the names that its route says.
func TestIdentityHeaders_OfTheRoute(t *testing.T) {
	w := newWorld(t, ownNames)
	_, alice := w.signIn("alice", appHost)
	_, files := w.signIn("alice", lenientHost)
	const mail, name = "alice@example.com", "Alice Doe"
	bothProtocols(t, w, func(t *testing.T, c *http.Client) {
		for host, want := range map[string]http.Header{
			appHost:     {"X-Webauth-User": {mail}, "X-Post": {mail}, "X-Webauth-Name": {name}, "X-Webauth-Groups": {"Staff"}, "X-Forwarded-Preferred-Username": {mail}},
			lenientHost: {"X-Forwarded-User": {mail}, "X-Forwarded-Email": {mail}, "X-Forwarded-Groups": {staff}, "X-Forwarded-Preferred-Username": {mail}},
		} {
			cookie := map[string]string{appHost: alice, lenientHost: files}[host]
			seen := w.seenBy(t, c, host, "Cookie", cookie)
			for _, name := range []string{"X-Webauth-User", "X-Post", "X-Webauth-Name", "X-Webauth-Groups", "X-Webauth-Email", "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username"} {
				if !slices.Equal(seen[name], want[name]) {
					t.Errorf("%s: %s is %q, want %q", host, name, seen[name], want[name])
				}
			}
			groups := payloadOf(t, seen.Get("X-Sallyport-Assertion"))["groups"].([]any)
			if len(groups) != 1 || groups[0] != map[string]string{appHost: "Staff", lenientHost: staff}[host] {
				t.Errorf("%s: the assertion has the groups %q", host, groups)
			}
		}
	})
}

// TestIdentityHeaders_OfOtherRoutesAreRemoved sends every spelling of the names that one route has to every route, in the
// header and in the trailer: an application may trust a name that the route of another one has.
func TestIdentityHeaders_OfOtherRoutesAreRemoved(t *testing.T) {
	w := newWorld(t, ownNames)
	_, alice := w.signIn("alice", appHost)
	all := http.Header{}
	for _, name := range []string{"X-Webauth-User", "X-Post", "X-Webauth-Name", "X-Webauth-Groups", "X-Forwarded-User", "X-Forwarded-Email"} {
		for _, spelling := range spellings(name) {
			all[spelling] = []string{forged}
		}
	}
	bothProtocols(t, w, func(t *testing.T, c *http.Client) {
		for _, host := range []string{appHost, openHost} {
			for _, batch := range batches(all, 100) {
				for name, values := range w.seenBy(t, c, host, append(batch, "Cookie", alice)...) {
					if slices.Contains(values, forged) {
						t.Errorf("%s: %s is forwarded", host, name)
					}
				}
			}
		}
	})
	t.Run("trailer", func(t *testing.T) {
		for _, host := range []string{appHost, openHost} {
			var seen http.Header
			w.setUpstream(func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				seen = r.Trailer
			})
			req, err := http.NewRequestWithContext(w.ctx, http.MethodPost, "https://"+host+"/", io.MultiReader(strings.NewReader("body")))
			w.must(err)
			req.Header.Set("Cookie", alice)
			req.Trailer = http.Header{"X-Webauth-User": {forged}, "X_webauth_user": {forged}, "X-Forwarded-User": {forged}}
			res, err := w.client(false).Do(req)
			w.must(err)
			_ = res.Body.Close()
			if res.StatusCode != http.StatusOK || len(seen) > 0 {
				t.Errorf("%s: %d, the upstream got the trailer %v", host, res.StatusCode, seen)
			}
		}
	})
	t.Run("response", func(t *testing.T) {
		w.setUpstream(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header()["Trailer"] = []string{"X_webauth_groups", "X-Post"}
			rw.Header()["X_post"], rw.Header()["X-Webauth-User"] = []string{forged}, []string{forged}
			_, _ = io.WriteString(rw, "text")
			rw.Header()["X_webauth_groups"], rw.Header()["X-Post"] = []string{forged}, []string{forged}
		})
		res, _ := w.get(w.client(false), "https://"+openHost+"/")
		for _, h := range []http.Header{res.Header, res.Trailer} {
			for name, values := range h {
				if slices.Contains(values, forged) {
					t.Errorf("the client receives %s", name)
				}
			}
		}
	})
}

// TestCheck_NamesOfTheRoute checks that the response to a check has the names of every route, with values for those of its
// own, and that a check with a header that its route does not set is rejected, as the front proxy would forward it.
func TestCheck_NamesOfTheRoute(t *testing.T) {
	w := newWorld(t, func(s *Settings) { trustLoopback(s); ownNames(s) })
	_, alice := w.signIn("alice", appHost)
	_, files := w.signIn("alice", lenientHost)
	c := w.client(false)
	for host, set := range map[string][]string{appHost: {"X-Webauth-User", "X-Post", "X-Webauth-Name", "X-Webauth-Groups"}, lenientHost: {"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups"}} {
		cookie := []string{"Cookie", map[string]string{appHost: alice, lenientHost: files}[host]}
		check := append(forwardedHeaders("GET", "https://"+host+"/"), cookie...)
		res, body := w.get(c, checkURL, check...)
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %s", host, res.StatusCode, body)
		}
		for _, name := range []string{"X-Webauth-User", "X-Post", "X-Webauth-Name", "X-Webauth-Groups", "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username"} {
			own := slices.Contains(set, name) || name == "X-Forwarded-Preferred-Username"
			if values := res.Header[name]; len(values) != 1 || (values[0] != "") != own {
				t.Errorf("%s: %s is %q", host, name, values)
			}
			want := map[bool]int{true: http.StatusOK, false: http.StatusBadRequest}[own]
			if res, _ := w.get(c, checkURL, append(slices.Clone(check), name, forged)...); res.StatusCode != want {
				t.Errorf("%s: a check with %s gives %d, want %d", host, name, res.StatusCode, want)
			}
			for _, spelling := range spellings(name) {
				if strings.EqualFold(spelling, name) {
					continue
				}
				if res, _ := w.get(c, checkURL, append(slices.Clone(check), spelling, forged)...); res.StatusCode != http.StatusBadRequest {
					t.Errorf("%s: a check with %s gives %d", host, spelling, res.StatusCode)
				}
			}
		}
	}
}

// TestGroupNames_AreThoseOfThePolicy checks that an application is not told the name that a group has in the directory:
// whoever may rename a group there does not become a member of another.
func TestGroupNames_AreThoseOfThePolicy(t *testing.T) {
	w := newWorld(t, ownNames)
	w.update(func(tx *directory.Tx) error {
		g, err := tx.GroupByExternalID(staff)
		if err != nil {
			return err
		}
		g.DisplayName = "Root, Admins"
		return tx.PutGroup(&g)
	})
	_, alice := w.signIn("alice", appHost)
	if seen := w.seenBy(t, w.client(true), appHost, "Cookie", alice); seen.Get("X-Webauth-Groups") != "Staff" {
		t.Errorf("the groups are %q", seen["X-Webauth-Groups"])
	}
}

// TestSettings_GroupNamesNeedNames checks that nobody can ask for names where the policy has ids alone.
func TestSettings_GroupNamesNeedNames(t *testing.T) {
	s := usualSettings("http://127.0.0.1:3000")
	s.Policies[0].Rules[0].Allow.Groups = append(s.Policies[0].Rules[0].Allow.Groups, policy.GroupRef{ID: "4711"})
	if faults := faultsOf(s); faults != nil {
		t.Error(faults)
	}
	s.Routes[0].IdentityHeaders.GroupNames = new(true)
	if faults := faultsOf(s); len(faults) != 1 || !strings.HasPrefix(faults[0], "routes[0].identity_headers.group_names: the policy names the group 4711 without its name") {
		t.Error(faults)
	}
	s.Routes[0].IdentityHeaders.Groups, s.Routes[0].IdentityHeaders.Assertion = new(""), new("")
	if faults := faultsOf(s); faults != nil {
		t.Errorf("although no groups are sent: %v", faults)
	}
}

// TestSettings_IdentityNamesCannotBeEdited checks that request_headers cannot set a header by which another route's
// application learns who is calling.
func TestSettings_IdentityNamesCannotBeEdited(t *testing.T) {
	s := usualSettings("http://127.0.0.1:3000")
	ownNames(&s)
	s.Routes[1].RequestHeaders.Set = []HeaderSet{{Name: "X-Webauth-User", Value: "admin"}}
	if faults := faultsOf(s); len(faults) != 1 || !strings.HasPrefix(faults[0], "routes[1].request_headers.set[0].name: only the proxy itself") {
		t.Error(faults)
	}
}

// TestSettings_WarnsOfLongGroupLists checks that validate says where a list of ids could be too long for an application.
func TestSettings_WarnsOfLongGroupLists(t *testing.T) {
	s := usualSettings("http://127.0.0.1:3000")
	for i := range 250 {
		s.Policies[0].Rules[0].Allow.Groups = append(s.Policies[0].Rules[0].Allow.Groups, policy.GroupRef{ID: fmt.Sprintf("61503835-0000-0000-0000-%012d", i)})
	}
	s.Routes[0].IdentityHeaders.Groups = new("")
	var got []string
	s.Warn(func(path, _, problem string) { got = append(got, path+": "+problem) })
	if len(got) != 2 || !strings.HasPrefix(got[0], "routes[2].policy: ") || !strings.HasPrefix(got[1], "routes[3].policy: ") || !strings.Contains(got[0], "9250 bytes") {
		t.Errorf("%q", got)
	}
}
