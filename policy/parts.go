package policy

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// part is one part of a rule, such as groups or paths.
type part struct {
	key     string // the YAML key in Match
	names   bool   // it names callers; an allow rule needs such a part, a condition, or anyone
	ofUsers bool   // no application can match it
	asks    fact   // what it asks about beside the caller; a condition says itself
	about   about  // by what alone it matches; a condition says itself

	ofMembers bool    // in an allow rule, what reviews revoked makes a difference
	reads     reading // beside what every part about the caller may read; a condition says itself
	inDeny    string  // why it is a mistake in a deny rule; "" if it is none

	written func(*Match) bool
	text    func(*Match) string              // what is written, in one line
	check   func(*Match, Options, faultFunc) // reports faults of a part that is written, below its key; nil if it can have none
	compile func(m *Match, allow bool) (matcher, error)
	absent  func(m *Match, allow bool) matcher // what an absent part stands for; nil if for nothing
	stands  string                             // what the absent part stands for, as text
	changes func(m *Match) changer             // nil unless the part depends on the time
}

// about is by what alone a part matches or not. A part about the caller is asked once for a caller, and of one about a
// method or a path, the index knows; every other part is asked for each request.
type about uint8

const (
	aboutRequest about = iota // anything
	aboutCaller               // the fields of the request that say who makes it
	aboutMethod
	aboutPath
	aboutLogin
	aboutCondition // anything, by values that all conditions of the policy share
)

// matcher reports whether a part matches a request; nil if it matches every request.
type matcher func(*Request) bool

// changer returns the first time after that of a request at which a part may match
// differently; zero if there is none.
type changer func(*Request) time.Time

// faultFunc receives one fault: the path of a node in the configuration, and the problem.
type faultFunc func(path, problem string)

const (
	partApps       = "apps"
	partUsers      = "users"
	partGroups     = "groups"
	partAllGroups  = "all_groups"
	partRoles      = "roles"
	partWhen       = "when"
	partMaxAuthAge = "max_auth_age"
	partAuth       = "auth"
)

// parts lists every part of a rule, in the order of evaluation; Explain names the
// first one that does not match. To add a part, add its field to [Match] and its
// entry here: checks, error texts and decisions are derived from this table.
//
// max_auth_age and auth stay last: only a caller who misses nothing else is told that
// signing in again would help.
var parts = [...]part{
	{key: "anyone", about: aboutCaller, inDeny: "means nothing in a deny rule; a deny rule without groups, users or roles is about everybody",
		written: func(m *Match) bool { return m.Anyone },
		text:    func(*Match) string { return "everybody" }, compile: matchAll, absent: signedInOnly, stands: "callers who are signed in"},
	{key: partApps, about: aboutCaller, names: true,
		written: func(m *Match) bool { return len(m.Apps) > 0 },
		text:    func(m *Match) string { return strings.Join(m.Apps, ", ") }, check: checkApps, compile: compileApps, absent: usersOnly, stands: "users"},
	{key: "methods", about: aboutMethod, asks: factMethod,
		written: func(m *Match) bool { return len(m.Methods) > 0 },
		text:    func(m *Match) string { return strings.Join(m.Methods, ", ") }, check: checkMethods, compile: compileMethods, absent: usualMethodsOnly, stands: strings.Join(usualMethods, ", ")},
	{key: "paths", about: aboutPath, asks: factPath,
		written: func(m *Match) bool { return len(m.Paths) > 0 },
		text:    func(m *Match) string { return strings.Join(m.Paths, ", ") }, check: checkPaths, compile: compilePaths},
	{key: "networks", asks: factAddress,
		written: func(m *Match) bool { return len(m.Networks) > 0 },
		text:    func(m *Match) string { return strings.Join(m.Networks, ", ") }, check: checkNetworks, compile: compileNetworks},
	{key: "hours", asks: factTime,
		written: func(m *Match) bool { return m.Hours != nil },
		text:    func(m *Match) string { return m.Hours.String() }, check: checkHours, compile: compileHours, changes: hoursChange},
	{key: partUsers, about: aboutCaller, names: true, ofUsers: true,
		written: func(m *Match) bool { return len(m.Users) > 0 },
		text:    func(m *Match) string { return strings.Join(m.Users, ", ") }, check: checkUsers, compile: compileUsers},
	{key: "not_users", about: aboutCaller, ofUsers: true,
		written: func(m *Match) bool { return len(m.NotUsers) > 0 },
		text:    func(m *Match) string { return strings.Join(m.NotUsers, ", ") }, check: checkNotUsers, compile: compileNotUsers},
	{key: partGroups, about: aboutCaller, ofMembers: true, names: true, ofUsers: true,
		written: func(m *Match) bool { return len(m.Groups) > 0 },
		text:    func(m *Match) string { return groupsText(m.Groups) }, check: checkGroups, compile: compileGroups},
	{key: partAllGroups, about: aboutCaller, ofMembers: true, names: true, ofUsers: true,
		written: func(m *Match) bool { return len(m.AllGroups) > 0 },
		text:    func(m *Match) string { return groupsText(m.AllGroups) }, check: checkAllGroups, compile: compileAllGroups},
	{key: "unless_groups", about: aboutCaller, ofUsers: true,
		written: func(m *Match) bool { return len(m.UnlessGroups) > 0 },
		text:    func(m *Match) string { return groupsText(m.UnlessGroups) }, check: checkUnlessGroups, compile: compileUnlessGroups},
	{key: partRoles, about: aboutCaller, reads: readsRoles, names: true, asks: factRoles,
		written: func(m *Match) bool { return len(m.Roles) > 0 },
		text:    func(m *Match) string { return strings.Join(m.Roles, ", ") }, check: checkRoles, compile: compileRoles},
	{key: "reports_to", names: true, ofUsers: true,
		written: func(m *Match) bool { return len(m.ReportsTo) > 0 },
		text:    func(m *Match) string { return strings.Join(m.ReportsTo, ", ") }, check: checkReportsTo, compile: compileReportsTo},
	{key: "manager_of", names: true, ofUsers: true,
		written: func(m *Match) bool { return len(m.ManagerOf) > 0 },
		text:    func(m *Match) string { return strings.Join(m.ManagerOf, ", ") }, check: checkManagerOf, compile: compileManagerOf},
	{key: "attributes", about: aboutCaller, reads: readsAttributes, names: true, ofUsers: true,
		written: func(m *Match) bool { return len(m.Attributes) > 0 },
		text:    attributesText, check: checkAttributes, compile: compileAttributes},
	{key: partWhen, about: aboutCondition,
		written: func(m *Match) bool { return m.When != "" },
		text:    func(m *Match) string { return m.When }, check: checkWhen, compile: compileWhen},
	{key: partMaxAuthAge, about: aboutLogin, asks: factLogin, inDeny: "belongs in an allow rule: it says how recent a login must be",
		written: func(m *Match) bool { return m.MaxAuthAge != 0 },
		text:    func(m *Match) string { return m.MaxAuthAge.String() }, check: checkMaxAuthAge, compile: compileMaxAuthAge, changes: maxAuthAgeChange},
	{key: partAuth, about: aboutLogin, asks: factLogin, inDeny: "belongs in an allow rule: it says how the caller must have signed in",
		written: func(m *Match) bool { return m.Auth != nil },
		text:    func(m *Match) string { return m.Auth.String() }, check: checkAuth, compile: compileAuth, changes: authChange},
}

// matcher compiles the part of a rule, as written or by its absence.
func (p *part) matcher(m *Match, allow bool) (matcher, error) {
	switch {
	case p.written(m):
		return p.compile(m, allow)
	case p.absent != nil:
		return p.absent(m, allow), nil
	}
	return nil, nil
}

func matchAll(*Match, bool) (matcher, error) { return nil, nil }

// signedInOnly keeps callers who are not signed in out of every allow rule that
// does not say anyone. A deny rule applies to them too; its other parts decide.
func signedInOnly(_ *Match, allow bool) matcher {
	if !allow {
		return nil
	}
	return func(req *Request) bool { return !req.Anonymous }
}

func compileApps(m *Match, _ bool) (matcher, error) {
	return func(req *Request) bool { return slices.Contains(m.Apps, req.App) }, nil
}

// usersOnly keeps applications out of every allow rule that names neither them nor
// anyone, whatever roles they have.
func usersOnly(m *Match, allow bool) matcher {
	if !allow || m.Anyone {
		return nil
	}
	return func(req *Request) bool { return req.App == "" }
}

func checkApps(m *Match, _ Options, fault faultFunc) { checkTexts(m.Apps, fault) }

// anyMethod, alone in methods, stands for every method.
const anyMethod = "any"

// compileMethods keeps any as a part of allow rules, in which it is not what an absent
// part stands for.
func compileMethods(m *Match, allow bool) (matcher, error) {
	switch {
	case m.Methods[0] == anyMethod && allow:
		return func(*Request) bool { return true }, nil
	case m.Methods[0] == anyMethod:
		return nil, nil
	}
	return func(req *Request) bool { return slices.Contains(m.Methods, req.Method) }, nil
}

// usualMethods are the methods of an allow rule that names none. Every other
// method must be named.
var usualMethods = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}

func usualMethodsOnly(_ *Match, allow bool) matcher {
	if !allow {
		return nil
	}
	return func(req *Request) bool { return slices.Contains(usualMethods, req.Method) }
}

var methodForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Z][A-Z-]{0,31}$`) })

func checkMethods(m *Match, _ Options, fault faultFunc) {
	for i, method := range m.Methods {
		if method == anyMethod {
			if len(m.Methods) > 1 {
				fault(index(i), "any stands for every method; write it alone")
			}
			continue
		}
		if !methodForm().MatchString(method) {
			fault(index(i), fmt.Sprintf("%q is not a method; methods are compared exactly, so write GET, POST and so on, or any alone for all of them", method))
		}
	}
}

func compilePaths(m *Match, allow bool) (matcher, error) {
	parse := parseDenyGlob
	if allow {
		parse = parseGlob
	}
	var patterns []glob
	for _, path := range m.Paths {
		patterns = append(patterns, parse(path))
	}
	return func(req *Request) bool {
		for i := range patterns {
			if patterns[i].matches(req.Path) {
				return true
			}
		}
		return false
	}, nil
}

func checkPaths(m *Match, _ Options, fault faultFunc) {
	for i, path := range m.Paths {
		if problem := globProblem(path); problem != "" {
			fault(index(i), problem)
		}
	}
}

// compileNetworks does not match a client whose address is not known. An IPv4 address
// in IPv6 form counts as IPv4.
func compileNetworks(m *Match, _ bool) (matcher, error) {
	var networks []netip.Prefix
	for _, text := range m.Networks {
		network, err := parseNetwork(text)
		if err != nil {
			return nil, err
		}
		networks = append(networks, network)
	}
	return func(req *Request) bool {
		address := req.Address.Unmap().WithZone("")
		return slices.ContainsFunc(networks, func(network netip.Prefix) bool { return network.Contains(address) })
	}, nil
}

// parseNetwork parses a network, or one address.
func parseNetwork(text string) (netip.Prefix, error) {
	if address, err := netip.ParseAddr(text); err == nil && address.Zone() == "" && !address.Is4In6() {
		return netip.PrefixFrom(address, address.BitLen()), nil
	}
	network, err := netip.ParsePrefix(text)
	switch {
	case err != nil || network.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%q is no network; write one such as 10.0.0.0/8 or 2001:db8::/32", text)
	case network != network.Masked():
		return netip.Prefix{}, fmt.Errorf("%q has bits beyond its length; write %s", text, network.Masked())
	}
	return network, nil
}

func checkNetworks(m *Match, _ Options, fault faultFunc) {
	for i, text := range m.Networks {
		if _, err := parseNetwork(text); err != nil {
			fault(index(i), err.Error())
		}
	}
}

func compileUsers(m *Match, _ bool) (matcher, error) { return oneOf(m.Users), nil }

func checkUsers(m *Match, _ Options, fault faultFunc) { checkTexts(m.Users, fault) }

// oneOf compares exactly. No rule has an empty name, so a caller without a userName or
// an externalId cannot match one by its absence.
func oneOf(users []string) matcher {
	return func(req *Request) bool {
		return slices.ContainsFunc(users, func(user string) bool { return user == req.UserName || user == req.ExternalID })
	}
}

func compileNotUsers(m *Match, _ bool) (matcher, error) {
	named := oneOf(m.NotUsers)
	return func(req *Request) bool { return !named(req) }, nil
}

func checkNotUsers(m *Match, _ Options, fault faultFunc) { checkTexts(m.NotUsers, fault) }

func compileGroups(m *Match, allow bool) (matcher, error) {
	return memberOfAny(m.Groups, allow), nil
}

func checkGroups(m *Match, o Options, fault faultFunc) { checkGroupRefs(m.Groups, o, fault) }

func compileAllGroups(m *Match, allow bool) (matcher, error) {
	var members []matcher
	for _, g := range m.AllGroups {
		members = append(members, memberOfAny([]GroupRef{g}, allow))
	}
	return func(req *Request) bool {
		for _, member := range members {
			if !member(req) {
				return false
			}
		}
		return true
	}, nil
}

func checkAllGroups(m *Match, o Options, fault faultFunc) { checkGroupRefs(m.AllGroups, o, fault) }

func compileUnlessGroups(m *Match, _ bool) (matcher, error) {
	member := memberOfAny(m.UnlessGroups, false)
	return func(req *Request) bool { return !member(req) }, nil
}

func checkUnlessGroups(m *Match, o Options, fault faultFunc) {
	checkGroupRefs(m.UnlessGroups, o, fault)
}

// memberOfAny matches the members of one of groups. With allow, the match gives access, and
// a membership that a review revoked does not count. A revoked membership still counts where
// it takes access away.
func memberOfAny(groups []GroupRef, allow bool) matcher {
	var ids, names []string
	for _, g := range groups {
		if g.ID != "" {
			ids = append(ids, g.ID)
		} else {
			names = append(names, g.Name)
		}
	}
	if len(ids) > fewGroups {
		return memberOfMany(ids, names, allow)
	}
	return func(req *Request) bool {
		for _, id := range ids {
			if contains(req.GroupIDs, id) && !(allow && req.Grants != nil && req.Grants.Revoked(id)) {
				return true
			}
		}
		return memberOfNamed(req, names, allow)
	}
}

// fewGroups is up to how many groups it is faster to look for each among those of the user.
const fewGroups = 16

// memberOfMany is memberOfAny where it is faster to look for the groups of the user among ids.
func memberOfMany(ids, names []string, allow bool) matcher {
	set := make(map[string]struct{}, len(ids))
	for _, id := range ids {
		set[id] = struct{}{}
	}
	return func(req *Request) bool {
		for _, id := range req.GroupIDs {
			if _, ok := set[id]; ok && !(allow && req.Grants != nil && req.Grants.Revoked(id)) {
				return true
			}
		}
		return memberOfNamed(req, names, allow)
	}
}

func memberOfNamed(req *Request, names []string, allow bool) bool {
	for _, name := range names {
		if slices.Contains(req.GroupNames, name) && !(allow && req.revoked(name)) {
			return true
		}
	}
	return false
}

// revoked reports whether every membership of a group with this name was revoked.
func (req *Request) revoked(name string) bool {
	if req.Grants == nil {
		return false
	}
	for i, other := range req.GroupNames {
		if other == name && !req.Grants.Revoked(cmp.Or(req.GroupIDs[i], name)) {
			return false
		}
	}
	return true
}

// contains searches sorted by plain comparison: slices.BinarySearch also orders NaN,
// which makes every comparison of strings slower.
func contains(sorted []string, text string) bool {
	low, high := 0, len(sorted)
	for low < high {
		middle := (low + high) / 2
		if sorted[middle] < text {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low < len(sorted) && sorted[low] == text
}

func checkGroupRefs(groups []GroupRef, o Options, fault faultFunc) {
	for i, g := range groups {
		switch {
		case g.ID == "" && g.Name == "":
			fault(index(i), "names no group; write id: with the group's object ID")
		case g.ID == "" && !o.TrustGroupNames:
			fault(index(i)+".name", fmt.Sprintf("%q alone does not say which group: names can be taken by another; write id: with its object ID, or set trust_group_names: true", g.Name))
		case strings.TrimSpace(g.ID) != g.ID:
			fault(index(i)+".id", "begins or ends with a space")
		}
	}
}

// compileReportsTo does not match a user without a manager.
func compileReportsTo(m *Match, _ bool) (matcher, error) {
	return func(req *Request) bool {
		if req.Organization == nil || req.UserID == "" {
			return false
		}
		userName, externalID, ok := req.Organization.Manager(req.UserID)
		if !ok {
			return false
		}
		for _, name := range m.ReportsTo {
			if name == userName || name == externalID {
				return true
			}
		}
		return false
	}, nil
}

func checkReportsTo(m *Match, _ Options, fault faultFunc) { checkTexts(m.ReportsTo, fault) }

func compileManagerOf(m *Match, _ bool) (matcher, error) {
	return func(req *Request) bool {
		if req.Organization == nil || req.UserID == "" {
			return false
		}
		for _, name := range m.ManagerOf {
			if req.Organization.Manages(req.UserID, name) {
				return true
			}
		}
		return false
	}, nil
}

func checkManagerOf(m *Match, _ Options, fault faultFunc) { checkTexts(m.ManagerOf, fault) }

func compileRoles(m *Match, _ bool) (matcher, error) {
	return func(req *Request) bool {
		return slices.ContainsFunc(m.Roles, func(role string) bool { return slices.Contains(req.Roles, role) })
	}, nil
}

func checkRoles(m *Match, _ Options, fault faultFunc) { checkTexts(m.Roles, fault) }

func checkTexts(texts []string, fault faultFunc) {
	for i, text := range texts {
		if text == "" || strings.TrimSpace(text) != text {
			fault(index(i), "is empty, or begins or ends with a space")
		}
	}
}

func index(i int) string { return fmt.Sprintf("[%d]", i) }

// groupsText names groups by their names, or by their ids.
func groupsText(groups []GroupRef) string {
	names := make([]string, len(groups))
	for i, g := range groups {
		names[i] = cmp.Or(g.Name, g.ID)
	}
	return strings.Join(names, ", ")
}
