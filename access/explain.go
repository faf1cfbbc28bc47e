package access

import (
	"net/netip"
	"slices"
	"time"

	"sallyport/directory"
	"sallyport/policy"
)

// Explanation is a decision and everything that it rests on.
type Explanation struct {
	Caller  CallerFacts   `json:"caller"`
	Request RequestFacts  `json:"request"`
	Route   RouteFacts    `json:"route"`
	Allow   bool          `json:"allow"`
	Reason  string        `json:"reason"`
	Rule    string        `json:"rule,omitempty"` // that decides; "" if none does
	Rules   []policy.Step `json:"rules"`
	Hints   []string      `json:"hints,omitempty"` // what would change the decision

	Wanted []WantedGroup `json:"wanted_groups,omitempty"` // of which the caller would have to be a member
}

// WantedGroup is a group that an allow rule wants.
type WantedGroup struct {
	GroupName
	Members int       `json:"members"`
	Changed time.Time `json:"changed,omitzero"` // its name or members, most recently; zero for a group that was never pushed
}

// CallerFacts are what the directory says of a caller.
type CallerFacts struct {
	Kind       string      `json:"kind"` // user, application or anonymous
	ID         string      `json:"id,omitempty"`
	UserName   string      `json:"userName,omitempty"`
	ExternalID string      `json:"externalId,omitempty"`
	Name       string      `json:"displayName,omitempty"`
	Barred     string      `json:"barred,omitempty"` // why a user may use nothing, such as inactive_user
	Manager    string      `json:"manager,omitempty"`
	Groups     []GroupName `json:"groups,omitempty"`
	Roles      []string    `json:"roles,omitempty"`
}

// GroupName names a group.
type GroupName struct {
	ID   string `json:"id,omitempty"` // externalId
	Name string `json:"displayName"`
}

// RequestFacts are the request that was decided.
type RequestFacts struct {
	Method  string `json:"method"`
	Host    string `json:"host"`
	Path    string `json:"path"`
	Reading string `json:"reading,omitempty"` // of the path by other servers, if the request is denied by that one
	Address string `json:"address,omitempty"`
}

// RouteFacts are the route that the request is for.
type RouteFacts struct {
	Name  string `json:"name"`
	Host  string `json:"host"`
	Path  string `json:"path"`
	Owner string `json:"owner,omitempty"`

	Accept []string `json:"accept"` // session, bearer
}

// ReasonNotSignedIn is the reason of a denial of nobody who is known. The other reasons
// are those of policies and of [directory.User.Barred].
const ReasonNotSignedIn = "not_signed_in"

// Explain decides a request as the proxy does and says why.
func Explain(t Target, c Caller, in Circumstances) Explanation {
	e := Explanation{Caller: factsOf(c, in.Organization), Route: t.Route.Facts(), Request: RequestFacts{Method: t.Method, Host: t.Host, Path: t.Path, Address: in.Address}}
	req := requestFor(t, c, in)
	d := decide(t, c, req)
	e.Allow, e.Reason, e.Rule = d.Allow, string(d.Reason), d.Rule
	e.Request.Reading, e.Rules = steps(t, req)
	if !e.Allow {
		e.Hints = hints(t, c, req, &e, in.Past)
		if c.User != nil && in.Groups != nil {
			e.Wanted = wanted(e.Rules, in.Groups)
		}
	}
	return e
}

// Decide decides a request as the proxy does: as [Explain] without saying why.
func Decide(t Target, c Caller, in Circumstances) policy.Decision {
	return decide(t, c, requestFor(t, c, in))
}

// requestFor returns the request of a caller. Of a caller whom the route does not read, nothing is known.
func requestFor(t Target, c Caller, in Circumstances) *policy.Request {
	req := newRequest(t, c, in)
	if !t.Route.accepts(c) {
		return anonymous(req)
	}
	return req
}

// Facts returns what names the route, and what it accepts.
func (r *Route) Facts() RouteFacts {
	f := RouteFacts{Name: r.Name, Host: r.Host, Path: r.Path, Owner: r.Owner}
	if r.Session {
		f.Accept = append(f.Accept, string(SessionCookie))
	}
	if r.Bearer {
		f.Accept = append(f.Accept, string(BearerToken))
	}
	return f
}

// wanted returns the groups that allow rules want and the caller is not in, as they were pushed.
func wanted(steps []policy.Step, pushed []directory.Group) (list []WantedGroup) {
	for _, s := range steps {
		if s.Effect != "allow" || s.Mode != "" {
			continue
		}
		for _, p := range missing(s) {
			for _, ref := range p.Groups {
				w := WantedGroup{GroupName: GroupName{ref.ID, ref.Name}}
				if i := slices.IndexFunc(pushed, func(g directory.Group) bool {
					return ref.ID != "" && g.ExternalID == ref.ID || ref.ID == "" && g.DisplayName == ref.Name
				}); i >= 0 {
					w = WantedGroup{GroupName{pushed[i].ExternalID, pushed[i].DisplayName}, pushed[i].Members, pushed[i].Modified}
				}
				if len(list) < maxHints && !slices.Contains(list, w) {
					list = append(list, w)
				}
			}
		}
	}
	return list
}

// decide returns the decision about a request of a caller with a valid session or token.
func decide(t Target, c Caller, req *policy.Request) policy.Decision {
	if c.User != nil && c.User.Barred() != "" && t.Route.accepts(c) {
		return barredDecision(t, c, req)
	}
	own := *req
	d := t.Decide(&own)
	if !d.Allow && req.Anonymous {
		d.Reason = ReasonNotSignedIn
	}
	return d
}

// steps returns how the rules apply to the first reading of the path by which the request is denied, or else to the path
// itself. It returns that reading if it is another one.
func steps(t Target, req *policy.Request) (reading string, all []policy.Step) {
	for i, r := range t.Readings {
		read := *req
		read.Path = r.Path
		if r.Policy.Decide(&read).Allow {
			continue
		}
		if i > 0 {
			reading = r.Path
		}
		return reading, r.Policy.Explain(&read)
	}
	return "", t.Route.Policy.Explain(req)
}

// barredDecision returns the decision about a user who may use nothing. Where the
// rules let anyone in, such a user counts as nobody.
func barredDecision(t Target, c Caller, req *policy.Request) policy.Decision {
	if t.Route.Policy.AllowsAnyone() {
		if d := t.Decide(anonymous(req)); d.Allow {
			return d
		}
	}
	return policy.Decision{Verdict: policy.Verdict{Reason: policy.Reason(c.User.Barred())}}
}

// anonymous returns the same request of nobody.
func anonymous(req *policy.Request) *policy.Request {
	return &policy.Request{Anonymous: true, Method: req.Method, Host: req.Host, Path: req.Path, Address: req.Address, Time: req.Time}
}

func newRequest(t Target, c Caller, in Circumstances) *policy.Request {
	req := &policy.Request{Method: t.Method, Host: t.Host, Path: t.Path, Time: in.Time, Authenticated: in.Login, Strength: in.Strength, Organization: in.Organization}
	req.Address, _ = netip.ParseAddr(in.Address) // unknown if it is not an address
	SetCaller(req, c.User, c.App, c.Roles)
	SetGrants(req, c.User, in.Grants)
	return req
}

func factsOf(c Caller, organization policy.Organization) CallerFacts {
	switch {
	case c.App != "":
		return CallerFacts{Kind: "application", ID: c.App, Roles: c.Roles}
	case c.User == nil:
		return CallerFacts{Kind: "anonymous"}
	}
	u := c.User
	f := CallerFacts{Kind: "user", ID: u.ID, UserName: u.UserName, ExternalID: u.ExternalID, Name: u.DisplayName, Barred: u.Barred(), Roles: u.Roles}
	for i := range u.GroupIDs {
		f.Groups = append(f.Groups, GroupName{u.GroupIDs[i], u.GroupNames[i]})
	}
	if organization != nil {
		f.Manager, _, _ = organization.Manager(u.ID)
	}
	return f
}
