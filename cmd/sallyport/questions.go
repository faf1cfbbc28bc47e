package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"sallyport/access"
	"sallyport/admin"
	"sallyport/config"
	"sallyport/directory"
	"sallyport/grant"
	"sallyport/policy"
	"sallyport/proxy"
)

// questions serves the questions about who may reach what on the control socket.
type questions struct {
	admin     *admin.Admin
	directory *directory.Directory
	grants    *grant.Grants
	rules     func() *proxy.Rules // in force
	proxy     *proxy.Proxy        // nil if no server runs

	recordReader
}

// explainRequest asks about one request. At most one of User, App and Bearer is set; none asks about an anonymous caller.
type explainRequest struct {
	User    string   `json:"user,omitempty"`
	App     string   `json:"app,omitempty"`
	Roles   []string `json:"roles,omitempty"` // of App
	Bearer  string   `json:"bearer,omitempty"`
	Method  string   `json:"method"`
	URL     string   `json:"url"`
	Address string   `json:"address,omitempty"`

	Login *access.SignIn `json:"login,omitempty"` // of User
	At    *time.Time     `json:"at,omitempty"`    // nil: now
}

// explanation is the body of the response to explain.
type explanation struct {
	access.Explanation
	AsOf *asOfFacts `json:"as_of,omitempty"` // of a request at another time than now
}

func (q *questions) explain(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[explainRequest](r)
	if err != nil {
		return nil, err
	}
	if err := checkAddress(body.Address); err != nil {
		return nil, err
	}
	if err := q.directory.Fresh(); err != nil {
		return nil, fmt.Errorf("every request is denied for directory_stale: %w", err)
	}
	then, err := q.asOf(ctx, actor, body.At)
	if err != nil {
		return nil, err
	}
	in := access.Circumstances{Time: then.time, Address: body.Address, Organization: then, Grants: then.grants, Groups: then.Groups(), Past: then.facts != nil}
	body.Login.Set(&in)
	caller, err := q.caller(ctx, then, body, &in)
	if err != nil {
		return nil, err
	}
	target, err := q.rules().Target(body.Method, body.URL)
	if err != nil {
		return nil, err
	}
	found := access.Explain(target, caller, in)
	found.Hints = append(found.Hints, q.admin.RevocationHints(found)...)
	return explanation{found, then.facts}, nil
}

func checkAddress(text string) error {
	if _, err := netip.ParseAddr(text); text != "" && err != nil {
		return fmt.Errorf("%q is no address; write one such as 10.0.0.1", text)
	}
	return nil
}

// caller returns who asks. It sets how a token says that its user signed in.
func (q *questions) caller(ctx context.Context, then asOf, body explainRequest, in *access.Circumstances) (access.Caller, error) {
	switch {
	case body.User != "":
		u, err := then.user(body.User)
		return access.Caller{User: u}, err
	case body.Bearer != "" && body.At != nil:
		return access.Caller{}, errBearerAt
	case body.Bearer != "":
		return q.bearer(ctx, body.Bearer, in)
	}
	return access.Caller{App: body.App, Roles: body.Roles}, nil
}

func (q *questions) user(ctx context.Context, actor admin.Actor, name string) (*directory.User, error) {
	id, err := q.admin.FindUser(ctx, actor, name)
	if err != nil {
		return nil, err
	}
	u, ok := q.directory.ByID(id)
	if !ok {
		return nil, fmt.Errorf("%s was removed just now", name)
	}
	return u, nil
}

// bearer returns the caller whom a token identifies.
func (q *questions) bearer(ctx context.Context, token string, in *access.Circumstances) (access.Caller, error) {
	if q.proxy == nil {
		return access.Caller{}, fmt.Errorf("%w, which the keys of the token's issuer are needed for", admin.ErrNoServer)
	}
	token = strings.TrimSpace(token)
	id, err := q.proxy.Provider().Bearer(ctx, token)
	switch {
	case err != nil:
		return access.Caller{}, fmt.Errorf("the token is not accepted: %w", err)
	case id.App != "":
		return access.Caller{App: id.App, Roles: id.Roles}, nil
	}
	u, ok := q.directory.Lookup(id.Key)
	if !ok {
		return access.Caller{}, fmt.Errorf("the token is valid, but nobody was pushed with its user claim %q, so that requests with it are denied (unknown_user)", id.Key)
	}
	if u.Barred() == "" { // who is barred is explained
		if err := q.proxy.CheckToken(&id, token); err != nil {
			return access.Caller{}, err
		}
	}
	in.Login, in.Strength = time.Time{}, policy.Strength{ACR: id.ACR, AMR: id.AMR, Contexts: id.Contexts}
	if id.TimeKnown {
		in.Login = id.Authenticated
	}
	return access.Caller{User: u, Credential: access.BearerToken}, nil
}

// reachRequest asks who reaches a route, or what a user reaches.
type reachRequest struct {
	Route   string `json:"route,omitempty"`
	User    string `json:"user,omitempty"`
	Method  string `json:"method,omitempty"`
	Path    string `json:"path,omitempty"`
	Address string `json:"address,omitempty"`

	At *time.Time `json:"at,omitempty"` // nil: now
}

// pastReach is the body of the response to a question about another time than now.
type pastReach struct {
	AsOf    *asOfFacts     `json:"as_of"`
	Reaches []access.Reach `json:"reaches"`
}

// reaches returns the body of a response.
func (a asOf) reaches(list []access.Reach) any {
	if list == nil {
		list = []access.Reach{}
	}
	if a.facts != nil {
		return pastReach{a.facts, list}
	}
	return list
}

// maxReaches bounds how many entries the response to who has, and how many callers that to diff.
const maxReaches = 1_000_000

// who responds with everybody who reaches one route, or each of them.
func (q *questions) who(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	body, err := decodeReach(r)
	if err != nil {
		return nil, err
	}
	routes, err := q.routesFor(body)
	if err != nil {
		return nil, err
	}
	then, err := q.asOf(ctx, actor, body.At)
	if err != nil {
		return nil, err
	}
	list, ok := access.WhoAtMost(maxReaches, routes, then.Users(), then.scope(body))
	if !ok {
		return nil, fmt.Errorf("more than %d callers reach the routes; ask about one with --route, or say more of the requests", maxReaches)
	}
	return then.reaches(list), nil
}

// routesFor returns the routes that a question is about. A route that receives no requests for its path is an error.
func (q *questions) routesFor(body reachRequest) ([]*access.Route, error) {
	rules := q.rules()
	if body.Route == "" {
		return rules.Routes(), nil
	}
	route, ok := rules.Route(body.Route)
	switch {
	case !ok:
		return nil, noSuchRoute(body.Route, rules.Routes())
	case body.Path == "" || len(route.Readings(body.Path)) > 0:
		return []*access.Route{route}, nil
	}
	target, err := rules.Target(http.MethodGet, route.Host+body.Path)
	if err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("route %s does not receive requests for %s%s; route %s does", route.Name, route.Host, body.Path, target.Route.Name)
}

func decodeReach(r *http.Request) (body reachRequest, err error) {
	if body, err = decodeBody[reachRequest](r); err != nil {
		return body, err
	}
	if body.Path != "" && !strings.HasPrefix(body.Path, "/") {
		return body, fmt.Errorf("the path %q does not begin with /", body.Path)
	}
	return body, checkAddress(body.Address)
}

func noSuchRoute(name string, routes []*access.Route) error {
	names := make([]string, len(routes))
	for i, r := range routes {
		names[i] = r.Name
	}
	return fmt.Errorf("there is no route %q; there are %s", name, strings.Join(names, ", "))
}

func (q *questions) what(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	body, err := decodeReach(r)
	if err != nil {
		return nil, err
	}
	then, err := q.asOf(ctx, actor, body.At)
	if err != nil {
		return nil, err
	}
	u, err := then.user(body.User)
	if err != nil {
		return nil, err
	}
	return then.reaches(access.What(q.rules().Routes(), u, then.scope(body))), nil
}

// diffRequest asks what the rules in New change against those in Old, or against those in force if Old is "".
type diffRequest struct {
	OldName, Old string
	NewName, New string
}

func (q *questions) diff(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[diffRequest](r)
	if err != nil {
		return nil, err
	}
	before := rulesOf(q.rules())
	if body.Old != "" {
		if before, err = parseRules(body.OldName, body.Old); err != nil {
			return nil, err
		}
	}
	after, err := parseRules(body.NewName, body.New)
	if err != nil {
		return nil, err
	}
	list := access.Diff(before.Routes, after.Routes, q.directory.Users(), q.present(ctx, actor).scope(reachRequest{}))
	if list == nil {
		list = []access.Difference{}
	}
	callers := 0
	for _, d := range list {
		callers += len(d.Gained) + len(d.Lost) + len(d.Changed)
	}
	if callers > maxReaches {
		return nil, fmt.Errorf("the rules differ for more than %d callers of routes; is this the file that you mean?", maxReaches)
	}
	return list, nil
}

// testRequest asks to run the tests in a configuration file and in other files against the rules of the first.
type testRequest struct {
	Config namedText
	Tests  []namedText
}

// namedText is the content of a file.
type namedText struct{ Name, Text string }

func (q *questions) test(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[testRequest](r)
	if err != nil {
		return nil, err
	}
	rules, err := parseRules(body.Config.Name, body.Config.Text)
	if err != nil {
		return nil, err
	}
	cases := rules.Tests
	for _, file := range body.Tests {
		more, err := config.ParseTests(file.Name, []byte(file.Text))
		if err != nil {
			return nil, err
		}
		cases = append(cases, more...)
	}
	return q.admin.RunTests(ctx, actor, rules, cases), nil
}

// lint responds with what the directory shows about the rules of a file.
func (q *questions) lint(ctx context.Context, actor admin.Actor, r *http.Request) (any, error) {
	body, err := decodeBody[namedText](r)
	if err != nil {
		return nil, err
	}
	rules, err := parseRules(body.Name, body.Text)
	if err != nil {
		return nil, err
	}
	return q.admin.Lint(ctx, actor, rules), nil
}
