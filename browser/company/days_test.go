package company

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"time"

	"sallyport/admin"
	"sallyport/audit"
	"sallyport/grant"
	"sallyport/session"
)

const (
	userSchema  = "urn:ietf:params:scim:schemas:core:2.0:User"
	groupSchema = "urn:ietf:params:scim:schemas:core:2.0:Group"
	patchSchema = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
)

var operator = admin.Operator("root", "control socket")

// push sends a request as Entra does. made, which may be nil, gets what was made.
func (c *company) push(method, path string, body any, made func(map[string]any)) int {
	c.t.Helper()
	text, err := json.Marshal(body)
	c.must(err)
	return c.send(method, path, c.token, text, made)
}

func (c *company) send(method, path, token string, body []byte, made func(map[string]any)) int {
	r := httptest.NewRequest(method, "http://scim.castle.localhost/scim/v2"+path, bytes.NewReader(body))
	r.RemoteAddr = "20.40.60.80:4711"
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Content-Type", "application/scim+json")
	w := httptest.NewRecorder()
	c.server.ServeHTTP(w, r)
	if made != nil {
		var got map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code >= http.StatusBadRequest {
			c.t.Fatalf("%s %s gets %d %s", method, path, w.Code, w.Body)
		}
		made(got)
	}
	return w.Code
}

// patch sends a PATCH with one operation.
func (c *company) patch(path, op, attribute string, value any) int {
	operation := map[string]any{"op": op, "path": attribute}
	if value != nil {
		operation["value"] = value
	}
	return c.push(http.MethodPatch, path, map[string]any{"schemas": []string{patchSchema}, "Operations": []any{operation}}, nil)
}

// hour lets a part of a day pass: people work, and every 40 minutes the identity provider pushes what has changed.
func (c *company) hour(length time.Duration) {
	begin := time.Now()
	local := begin.Add(c.ahead)
	busy := business(local)
	requests := int(float64(*decisions) * busy / 10)
	outage := local.YearDay()%7 == 3 && local.Hour() < 12 // the identity provider is away for half a day
	pushed := false
	together := max(1, requests/200) // at one moment, so that millions take minutes
	for i := 0; i < requests; i += together {
		time.Sleep(length / time.Duration(requests/together+1))
		c.request(together)
		if !pushed && i > requests/2 && !outage {
			c.cycle(busy)
			pushed = true
		}
	}
	if !pushed && !outage {
		c.cycle(busy)
	}
	time.Sleep(length - time.Since(begin))
}

// business returns how much is going on at a time, from 0 to 1.
func business(t time.Time) float64 {
	hour := float64(t.Hour()) + float64(t.Minute())/60
	working := 0.04
	if hour > 7 && hour < 19 {
		working = 1 - (hour-12.5)*(hour-12.5)/50
	}
	if day := t.Weekday(); day == time.Saturday || day == time.Sunday {
		working /= 3
	}
	return max(working, 0.03)
}

// someone returns somebody who is there.
func (c *company) someone() *person { return c.oneOf(c.staff) }

// colleague returns somebody who is there and may change: not one of those whom the tests sign in as.
func (c *company) colleague() *person { return c.oneOf(c.staff[3:]) }

func (c *company) oneOf(people []*person) *person {
	for {
		if p := people[int(float64(len(people))*c.rand.Float64()*c.rand.Float64())]; !p.gone {
			return p
		}
	}
}

// cycle is one cycle of the identity provider: joiners, leavers, movers, and now and then something that it gets wrong.
func (c *company) cycle(busy float64) {
	for range c.rand.IntN(2 + int(3*busy)) {
		p := c.newPerson(len(c.staff) + 10_000)
		c.push(http.MethodPost, "/Users", map[string]any{"schemas": []string{userSchema}, "userName": p.userName, "externalId": p.externalID, "displayName": p.name, "active": true},
			func(made map[string]any) { p.id = made["id"].(string) })
		for _, g := range p.groups {
			c.patch("/Groups/"+c.groups[g], "Add", "members", []any{map[string]any{"value": p.id}})
			c.members[g] = append(c.members[g], p)
		}
		c.staff = append(c.staff, p)
	}
	if c.rand.Float64() < busy/3 {
		c.leave(c.colleague())
	}
	if p := c.colleague(); c.rand.Float64() < busy && len(p.groups) > 2 {
		g := p.groups[len(p.groups)-1]
		c.patch("/Groups/"+c.groups[g], "Remove", `members[value eq "`+p.id+`"]`, nil)
		p.groups = p.groups[:len(p.groups)-1]
		c.cut(p, applications[c.rand.IntN(len(applications))].name, "no_rule")
	}
	switch p := c.colleague(); c.rand.IntN(20) {
	case 0: // a name that is taken
		c.push(http.MethodPost, "/Users", map[string]any{"schemas": []string{userSchema}, "userName": p.userName, "externalId": "other", "active": true}, nil)
	case 1:
		c.send(http.MethodGet, "/Users?count=1", "a token of long ago", nil, nil)
	case 2: // truth as text, as Entra writes it
		c.patch("/Users/"+p.id, "Replace", "active", "True")
	case 3:
		c.patch("/Users/"+p.id, "Replace", "displayName", p.name+" (they)")
	default:
		c.send(http.MethodGet, `/Users?filter=externalId+eq+%22`+p.externalID+`%22`, c.token, nil, nil)
	}
}

// leave has somebody leave, with what they had open.
func (c *company) leave(p *person) {
	p.gone = true
	c.patch("/Users/"+p.id, "Replace", "active", "False")
	if c.rand.IntN(2) == 0 {
		c.cut(p, "grafana", "inactive_user")
	}
}

// cut records that a live request of somebody was cut after the change that was made last.
func (c *company) cut(p *person, route, reason string) {
	received := time.Now()
	time.Sleep(time.Duration(1+c.rand.ExpFloat64()*4) * time.Millisecond)
	c.write(audit.Event{Kind: audit.KindCut, User: p.id, UserName: p.userName, Route: route, Host: route + ".castle.localhost", Method: http.MethodGet, Path: "/live",
		Reason: reason, Revision: c.directory.Revision(), Address: "10.1.2.3", Request: grant.NewID() + grant.NewID(), Session: grant.NewID() + grant.NewID(),
		Detail: map[string]string{"begun": received.Add(-time.Hour).UTC().Format(time.RFC3339Nano), "received": received.UTC().Format(time.RFC3339Nano), "change": fmt.Sprint(c.directory.Revision())}})
}

// request records requests to applications, as the rules decide them.
func (c *company) request(n int) {
	var all sync.WaitGroup
	defer all.Wait()
	for range n {
		if e := c.decision(); e.Kind != "" {
			all.Go(func() { c.write(e) })
		}
	}
}

// decision returns the event of a request of somebody; the zero event if they did not even try.
func (c *company) decision() audit.Event {
	p, app := c.someone(), c.anApplication()
	e := audit.Event{Kind: audit.KindDecision, User: p.id, UserName: p.userName, Session: grant.NewID() + grant.NewID(), Route: app.name, Host: app.name + ".castle.localhost",
		Method: []string{"GET", "GET", "GET", "POST", "DELETE"}[c.rand.IntN(5)], Path: []string{"/", "/d/1", "/api/query", "/login", "/settings"}[c.rand.IntN(5)],
		Address: fmt.Sprintf("10.1.%d.%d", c.rand.IntN(8), c.rand.IntN(250)+1), Request: grant.NewID() + grant.NewID(), Revision: c.directory.Revision(),
		Decision: "deny", Reason: "no_rule", Code: http.StatusForbidden}
	for i, g := range app.allow {
		for _, mine := range p.groups {
			if mine == g && e.Decision == "deny" {
				e.Decision, e.Reason, e.Rule, e.Code = "allow", "rule_allow", fmt.Sprintf("%s[%d]", app.name, i), 0
			}
		}
	}
	if e.Decision == "deny" && c.rand.IntN(8) > 0 { // most people know what they may open
		return audit.Event{}
	}
	return e
}

func (c *company) anApplication() application {
	all := 0
	for _, a := range applications {
		all += a.weight
	}
	n := c.rand.IntN(all)
	for _, a := range applications {
		if n -= a.weight; n < 0 {
			return a
		}
	}
	return applications[0]
}

func (c *company) write(e audit.Event) {
	e.Time = time.Now().UTC()
	c.must(c.record.Write(e))
}

// today makes what is open at the end: sessions, suspended people, requests for access, a review, held deactivations.
func (c *company) today() {
	for range min(60, len(c.staff)/3) {
		p := c.someone()
		u, ok := c.directory.ByID(p.id)
		if !ok {
			continue
		}
		_, err := c.sessions.Begin(c.ctx, session.Session{User: u.ID, Epoch: u.Epoch, UserName: u.UserName, Subject: p.externalID, Address: "10.1.2.3",
			Agent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", Authenticated: time.Now()})
		c.must(err)
	}
	for _, p := range c.staff[12:16] {
		c.leave(p)
		c.cut(p, "wiki", "inactive_user")
		time.Sleep(11 * time.Minute) // within the limit of deactivations
	}
	for _, p := range c.staff[10:12] {
		_, err := c.admin.Suspend(c.ctx, operator, p.userName, "a laptop was lost")
		c.must(err)
	}
	c.ask()
	c.review()
	for _, p := range c.staff[20:32] { // more than the limit at once
		c.patch("/Users/"+p.id, "Replace", "active", "False")
	}
	c.must(c.provisioning.CatchUp(c.ctx))
}

// ask makes requests for access: one was approved, one denied, three wait.
func (c *company) ask() {
	var made []string
	for _, p := range c.staff[2:] {
		u, ok := c.directory.ByID(p.id)
		if !ok || len(made) == 5 || len(c.admin.Offers(u, "grafana")) == 0 {
			continue
		}
		r, err := c.admin.Ask(c.ctx, admin.Person(u, "10.1.2.3"), admin.Asking{User: u, Route: "grafana", Policy: "grafana", URL: "http://grafana.castle.localhost/d/7", Reason: "I am on call this week"})
		c.must(err)
		made = append(made, r.ID)
	}
	ada, _ := c.directory.ByID(c.staff[0].id)
	_, err := c.admin.Approve(c.ctx, admin.Person(ada, "10.1.2.3"), made[0], 2*time.Hour, "ends with the shift")
	c.must(err)
	c.must(c.admin.Deny(c.ctx, admin.Person(ada, "10.1.2.3"), made[1], "ask your own team first"))
}

// review starts a review of a route, of which a part is decided.
func (c *company) review() {
	route, _ := c.rules.Route("payroll")
	view, err := c.admin.StartReview(c.ctx, operator, admin.NewReview{Route: route, Due: 10 * 24 * time.Hour, Reviewer: grant.ReviewerOperator})
	c.must(err)
	view, err = c.admin.Review(c.ctx, operator, view.ID)
	c.must(err)
	var rows []int
	for i := range min(10, len(view.Rows)) {
		rows = append(rows, view.Rows[i].Number)
	}
	if len(rows) > 0 {
		_, err = c.admin.DecideRows(c.ctx, operator, admin.ReviewDecision{Review: view.ID, Rows: rows, Decision: grant.DecisionKeep, Why: "they pay us"})
		c.must(err)
	}
}
