package access

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"sallyport/directory"
	"sallyport/policy"
)

// Case is a test of the rules: who asks for what, and what the decision must be. It is
// one entry under tests in the configuration.
type Case struct {
	As      string   `yaml:"as" doc:"who asks: a user, by userName, e-mail address, externalId or id; app: and a client ID; or anonymous"`
	Groups  []string `yaml:"groups" doc:"makes the user up: an active member of these groups, by name or id"`
	Roles   []string `yaml:"roles" doc:"roles of a made-up user, or of an application"`
	Get     string   `yaml:"get" doc:"the URL of a GET"`
	Head    string   `yaml:"head" doc:"the URL of a HEAD"`
	Post    string   `yaml:"post" doc:"the URL of a POST"`
	Put     string   `yaml:"put" doc:"the URL of a PUT"`
	Patch   string   `yaml:"patch" doc:"the URL of a PATCH"`
	Delete  string   `yaml:"delete" doc:"the URL of a DELETE"`
	Options string   `yaml:"options" doc:"the URL of an OPTIONS"`
	From    string   `yaml:"from" doc:"the client's address"`
	At      string   `yaml:"at" doc:"the time of the request, such as 2027-01-31T18:00:00+01:00; now when absent"`
	Login   *SignIn  `yaml:"login" doc:"how the caller signed in; just now, without any of these claims, when absent"`
	Want    string   `yaml:"want" doc:"allow or deny"`
	By      string   `yaml:"by" doc:"the rule that must decide, such as sre[0]; any when absent"`
}

// SignIn is how a caller signed in.
type SignIn struct {
	Ago     time.Duration `yaml:"ago" json:"ago,omitempty" doc:"how long before the request"`
	ACR     string        `yaml:"acr" json:"acr,omitempty" doc:"the claim acr of the identity provider"`
	AMR     []string      `yaml:"amr" json:"amr,omitempty" doc:"the claim amr, such as [pwd, mfa]"`
	Context []string      `yaml:"context" json:"context,omitempty" doc:"the claim acrs, Entra's authentication contexts, such as [c1]"`
}

// Set sets how the caller of a request at a time signed in. Nil is just then, without any claim.
func (s *SignIn) Set(in *Circumstances) {
	in.Login = in.Time
	if s != nil {
		in.Login = in.Time.Add(-s.Ago)
		in.Strength = policy.Strength{ACR: s.ACR, AMR: s.AMR, Contexts: s.Context}
	}
}

// What a case can want.
const (
	wantAllow = "allow"
	wantDeny  = "deny"
)

const (
	asAnonymous = "anonymous"
	asApp       = "app:"
)

// requests returns the method and the URL of every request that is written.
func (c Case) requests() (list [][2]string) {
	for _, r := range [][2]string{{http.MethodGet, c.Get}, {http.MethodHead, c.Head}, {http.MethodPost, c.Post}, {http.MethodPut, c.Put},
		{http.MethodPatch, c.Patch}, {http.MethodDelete, c.Delete}, {http.MethodOptions, c.Options}} {
		if r[1] != "" {
			list = append(list, r)
		}
	}
	return list
}

// String names the case, such as "ada@example.com DELETE grafana.example.com/".
func (c Case) String() string {
	words := []string{c.As}
	for _, r := range c.requests() {
		words = append(words, r[0], r[1])
	}
	if c.At != "" {
		words = append(words, "at", c.At)
	}
	if c.From != "" {
		words = append(words, "from", c.From)
	}
	if c.Login != nil {
		words = append(words, "with a login")
	}
	return strings.Join(words, " ")
}

// Check reports every fault of the case.
func (c Case) Check(fault func(path, problem string)) {
	_, isApp := strings.CutPrefix(c.As, asApp)
	switch {
	case c.As == "":
		fault("as", "is missing; write who asks: a user, app: and a client ID, or anonymous")
	case c.As == asAnonymous && len(c.Groups)+len(c.Roles) > 0, isApp && len(c.Groups) > 0:
		fault("groups", fmt.Sprintf("%s cannot be in groups or have roles", c.As))
	}
	if n := len(c.requests()); n != 1 {
		fault("", fmt.Sprintf("has %d requests; write one, such as get: grafana.example.com/", n))
	}
	if c.Want != wantAllow && c.Want != wantDeny {
		fault("want", fmt.Sprintf("%q is not a decision; write allow or deny", c.Want))
	}
	if _, err := netip.ParseAddr(c.From); c.From != "" && err != nil {
		fault("from", fmt.Sprintf("%q is no address; write one such as 10.0.0.1", c.From))
	}
	if c.Login != nil && (c.Login.Ago < 0 || isApp || c.As == asAnonymous) {
		fault("login", "must be of a user who signed in, not in the future")
	}
	if _, err := time.Parse(time.RFC3339, c.At); c.At != "" && err != nil {
		fault("at", fmt.Sprintf("%q is no time; write one such as 2027-01-31T18:00:00+01:00", c.At))
	}
}

// Result is what became of a case.
type Result struct {
	Case string `json:"case"`
	Want string `json:"want"`
	Got  string `json:"got"` // the decision with its reason and rule, or why there is none
	OK   bool   `json:"ok"`
}

// Tester runs cases.
type Tester struct {
	Policies []policy.Named                             // which name groups
	Target   func(method, url string) (Target, error)   // by the rules under test
	User     func(name string) (*directory.User, error) // a user who was pushed
	Now      time.Time

	Organization policy.Organization
}

// Run runs cases in their order.
func (t Tester) Run(cases []Case) []Result {
	results := make([]Result, len(cases))
	for i, c := range cases {
		results[i] = t.run(c)
	}
	return results
}

// Failed returns the results that are not as wanted.
func Failed(results []Result) (failed []Result) {
	for _, r := range results {
		if !r.OK {
			failed = append(failed, r)
		}
	}
	return failed
}

func (t Tester) run(c Case) Result {
	r := Result{Case: c.String(), Want: strings.TrimSuffix(c.Want+" by "+c.By, " by ")}
	caller, err := t.caller(c)
	if err != nil {
		r.Got = err.Error()
		return r
	}
	request := c.requests()[0]
	target, err := t.Target(request[0], request[1])
	if err != nil { // which is a denial, but perhaps of a misspelled host
		r.Got = err.Error()
		return r
	}
	in := Circumstances{Time: t.Now, Address: c.From, Organization: t.Organization}
	if at, err := time.Parse(time.RFC3339, c.At); err == nil {
		in.Time = at
	}
	c.Login.Set(&in)
	e := Explain(target, caller, in)
	r.OK = e.Allow == (c.Want == wantAllow) && (c.By == "" || c.By == e.Rule)
	r.Got = decisionText(e.Allow, e.Reason, e.Rule)
	return r
}

// caller returns who asks: made up if groups or roles are written, else as pushed.
func (t Tester) caller(c Case) (Caller, error) {
	app, isApp := strings.CutPrefix(c.As, asApp)
	switch {
	case c.As == asAnonymous:
		return Caller{}, nil
	case isApp:
		return Caller{App: app, Roles: c.Roles}, nil
	case len(c.Groups)+len(c.Roles) == 0:
		u, err := t.User(c.As)
		return Caller{User: u}, err
	}
	u := &directory.User{ID: "made up", UserName: c.As, Active: true}
	u.DisplayName, u.Roles = c.As, c.Roles
	for _, name := range c.Groups {
		id, err := t.groupID(name)
		if err != nil {
			return Caller{}, err
		}
		u.GroupIDs, u.GroupNames = append(u.GroupIDs, id), append(u.GroupNames, name)
	}
	slices.Sort(u.GroupIDs)
	return Caller{User: u}, nil
}

// groupID returns the id that rules give a group of this name, or else the name itself:
// it may be an id.
func (t Tester) groupID(name string) (string, error) {
	ids := map[string]bool{}
	for _, g := range policy.GroupsIn(t.Policies) {
		if g.ID != "" && g.Name == name {
			ids[g.ID] = true
		}
	}
	if len(ids) > 1 {
		return "", fmt.Errorf("rules give the name %q to %d groups; write the id of one", name, len(ids))
	}
	for id := range ids {
		return id, nil
	}
	return name, nil
}
