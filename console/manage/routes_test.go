package manage_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"sallyport/admin"
	"sallyport/audit/rollup"
	"sallyport/directory"
	"sallyport/peers"
	"sallyport/policy"
	"sallyport/proxy"
)

// contains fails the test if a page lacks a text.
func (res *response) contains(t testing.TB, texts ...string) {
	t.Helper()
	for _, want := range texts {
		if !strings.Contains(res.Body.String(), want) {
			t.Errorf("%s lacks %q", res.path, want)
		}
	}
}

func TestRoutes_SayWhoReachesThem(t *testing.T) {
	e := newEnv(t)
	e.page(e.otto, "/routes").contains(t, `href="/.sallyport/console/routes/wiki">wiki`, "wiki.example.com/", "owner@example.com")
	list := unmarshal[[]map[string]any](e.get(e.otto, "/routes?format=json"))
	if len(list) != 2 || list[0]["route"] != "wiki" || list[0]["people"] != 2.0 || list[1]["people"] != 0.0 {
		t.Errorf("%v", list)
	}
	if list = unmarshal[[]map[string]any](e.get(e.otto, "/routes?q=PAYR&format=json")); len(list) != 1 || list[0]["route"] != "payroll" {
		t.Errorf("filtered: %v", list)
	}
	// A change of the directory counts at once.
	e.change(func(tx *directory.Tx) error { return tx.Suspend(e.user("bob@example.com").ID, "lost their laptop") })
	if list = unmarshal[[]map[string]any](e.get(e.otto, "/routes?format=json")); list[0]["people"] != 1.0 {
		t.Errorf("after a suspension: %v", list)
	}
	// So does one of the rules.
	e.settings.Policies[0].Rules[0].Allow = &policy.Match{Anyone: true}
	e.page(e.otto, "/routes").contains(t, "anyone, signed in or not")
}

func TestRoute_ListsAndDrawsWhoReachesIt(t *testing.T) {
	e := newEnv(t)
	ada := e.user("ada@example.com")
	page := e.page(e.otto, "/routes/wiki")
	page.contains(t, "<svg", "2 people", "SRE", "sre[0]", "Ada Lovelace", "bob@example.com", "/people/"+ada.ID, "allow: groups SRE")
	if strings.Contains(page.Body.String(), "carol@example.com") {
		t.Error("somebody is listed who does not reach the route")
	}
	list := unmarshal[[]map[string]any](e.get(e.otto, "/routes/wiki?q=lovelace&format=json"))
	if len(list) != 1 || list[0]["id"] != ada.ID || list[0]["by"] != "sre[0]; except sre[1] if methods DELETE" {
		t.Errorf("%v", list)
	}
	e.page(e.otto, "/routes/wiki?person="+ada.ID).contains(t, "How ada@example.com reaches it", ">1</text>")
	e.page(e.otto, "/routes/wiki?person="+e.user("carol@example.com").ID).contains(t, "does not reach this route")
	e.page(e.otto, "/routes/wiki?person=nobody").contains(t, "does not reach this route")
	e.page(e.otto, "/routes/payroll").contains(t, "Nobody reaches this route.")
	for _, path := range []string{"/routes/none", "/routes/WIKI", "/routes/wiki/x"} {
		if res := e.get(e.otto, path); res.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, res.Code)
		}
	}
}

// TestRoute_StaysReadable: a route with many groups, rules and people, with names that are long, wide or meant as markup.
func TestRoute_StaysReadable(t *testing.T) {
	e := newEnv(t)
	named := func(i int) string {
		return []string{"<script>alert(1)</script>", "組織の一番長いグループの名前はここにあるのです", strings.Repeat("W", 300), "مجموعة"}[i%4] + fmt.Sprint(i)
	}
	e.change(func(tx *directory.Tx) error {
		for i := range 40 {
			g := &directory.Group{ExternalID: fmt.Sprintf("g-%d", i), DisplayName: named(i)}
			u := &directory.User{ExternalID: fmt.Sprintf("u-%d", i), UserName: fmt.Sprintf("u%d@example.com", i), Active: true}
			if err := tx.PutGroup(g); err != nil {
				return err
			}
			if err := tx.PutUser(u); err != nil {
				return err
			}
			if _, err := tx.AddMembers(g.ID, []string{u.ID}); err != nil {
				return err
			}
			e.settings.Policies[0].Rules = append(e.settings.Policies[0].Rules, policy.Rule{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: g.ExternalID}}}})
		}
		return nil
	})
	e.settings.Policies[0].Rules = append(e.settings.Policies[0].Rules, policy.Rule{Allow: &policy.Match{Anyone: true, Paths: []string{"/public/**"}}}, policy.Rule{Allow: &policy.Match{Apps: []string{"robot"}}})
	page := e.page(e.ada, "/routes/wiki")
	page.contains(t, "44 people", "and 30 more", "Anyone", "1 application<")
	if strings.Contains(page.Body.String(), "<script>alert") {
		t.Error("the name of a group is markup")
	}
}

// TestRoutes_ManyPeople: pages about many people are complete as soon as the numbers are known, and short.
func TestRoutes_ManyPeople(t *testing.T) {
	e := newEnv(t)
	group := ""
	e.change(func(tx *directory.Tx) error {
		g := &directory.Group{ExternalID: "g-payroll-2", DisplayName: "Everybody"}
		err := tx.PutGroup(g)
		group = g.ID
		return err
	})
	const people = 5_000
	for from := 0; from < people; from += 1_000 {
		e.change(func(tx *directory.Tx) error {
			var ids []string
			for i := from; i < from+1_000; i++ {
				u := &directory.User{ExternalID: fmt.Sprintf("many-%d", i), UserName: fmt.Sprintf("many%d@example.com", i), Active: true}
				if err := tx.PutUser(u); err != nil {
					return err
				}
				ids = append(ids, u.ID)
			}
			_, err := tx.AddMembers(group, ids)
			return err
		})
	}
	e.settings.Policies[1].Rules = []policy.Rule{{Allow: &policy.Match{Groups: []policy.GroupRef{{ID: "g-payroll-2"}}}}}
	for i := range 50 {
		e.settings.Routes = append(e.settings.Routes, proxy.Route{Name: fmt.Sprintf("more-%d", i), Host: fmt.Sprintf("m%d.example.com", i), Upstream: proxy.Upstreams{"http://127.0.0.1:1"}, Policy: []string{"payroll"}})
	}
	compiled := e.rules()
	e.fixed = &compiled
	for _, path := range []string{"/routes", "/routes/payroll", "/policy"} {
		deadline := time.Now().Add(time.Minute)
		for strings.Contains(e.page(e.ada, path).Body.String(), "data-renewing") {
			if time.Now().After(deadline) {
				t.Fatalf("%s is never complete", path)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	list := unmarshal[[]map[string]any](e.get(e.ada, "/routes?format=json"))
	if list[1]["people"] != float64(people) {
		t.Errorf("%v", list[1])
	}
	e.page(e.ada, "/routes/payroll?page=50").contains(t, "many")
}

// withFigures has the console count what is recorded.
func withFigures(e *env) {
	e.parts.Rollup, e.parts.Peers = rollup.New(), peers.New(e.store, slog.New(slog.DiscardHandler))
	e.parts.Rollup.Follow(e.record)
}

func TestRoute_ShowsUse(t *testing.T) {
	e := newEnv(t, withFigures)
	e.page(e.otto, "/routes/wiki").contains(t, "Nobody used this route over the last 14 days.")
	e.decide("ada@example.com", "GET", "allow", "sre[0]", 3)
	page := e.page(e.otto, "/routes/wiki?zone=Europe/Berlin")
	page.contains(t, "3 requests were let in", "in Europe/Berlin", `class="heat-6"`, "Mon")
	e.page(e.otto, "/routes/wiki?zone=Nowhere").contains(t, "in UTC")
	list := unmarshal[[]map[string]any](e.get(e.otto, "/routes/wiki?format=json"))
	if len(list) != 2 || list[0]["last_use"] == "" || list[1]["last_use"] != "" {
		t.Errorf("%v", list)
	}
	e.page(e.otto, "/policy").contains(t, `<td class="right">3</td>`, "never", "Decisions are counted since")
	if list = unmarshal[[]map[string]any](e.get(e.otto, "/policy?q=sre&format=json")); list[0]["decisions"] != 3.0 || list[1]["decisions"] != 0.0 {
		t.Errorf("%v", list)
	}
}

func TestRoutes_ShowUpstreams(t *testing.T) {
	e := newEnv(t)
	e.replica = admin.ReplicaFacts{Upstreams: []admin.Upstream{{Route: "wiki", Targets: 3, Down: 1, Checked: true}, {Route: "payroll", Targets: 1, Down: 1}}}
	e.page(e.otto, "/routes").contains(t, "1 of 3 down", ">down<")
	e.page(e.otto, "/routes/wiki").contains(t, "1 of 3 down")
	e = newEnv(t) // what replicas said is kept for a moment
	e.replica = admin.ReplicaFacts{Upstreams: []admin.Upstream{{Route: "wiki", Targets: 3, Checked: true}, {Route: "payroll", Targets: 1}}}
	e.page(e.otto, "/routes").contains(t, "healthy", "up, not checked")
}

// TestRoutes_WildcardHasNoAddress: the page of a route whose host is a wildcard has no link to the application.
func TestRoutes_WildcardHasNoAddress(t *testing.T) {
	e := newEnv(t)
	e.settings.Routes[0].Host = "*.apps.example.com"
	name := e.settings.Routes[0].Name
	page := e.page(e.otto, "/routes/"+name)
	page.contains(t, "*.apps.example.com/")
	if strings.Contains(page.Body.String(), "//*.apps") {
		t.Error("the page has a link to the wildcard")
	}
	e.page(e.otto, "/routes").contains(t, "*.apps.example.com/")
}
