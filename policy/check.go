package policy

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

const modeReport = "report"

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

// Check reports every fault of the list.
func (n Named) Check(o Options, fault func(path, problem string)) {
	if !nameForm.MatchString(n.Name) {
		fault("name", "must be 1 to 63 letters, digits, dots, dashes and underscores")
	}
	if len(n.Rules) == 0 {
		fault("rules", "has no rule; write at least one allow, such as allow: {groups: [{id: …}]}")
	}
	for i, r := range n.Rules {
		r.check(o, func(path, problem string) { fault(fmt.Sprintf("rules[%d]%s", i, path), problem) })
	}
}

func (r Rule) check(o Options, fault func(path, problem string)) {
	if (r.Allow == nil) == (r.Deny == nil) {
		fault("", "must have exactly one of allow and deny, with what it is about")
	}
	if r.Mode != "" && r.Mode != modeReport {
		fault(".mode", fmt.Sprintf("%q is not known; write report, or leave mode out to enforce the rule", r.Mode))
	}
	if r.Allow != nil {
		r.Allow.check(o, func(path, problem string) { fault(".allow"+path, problem) })
		r.Allow.checkAllow(func(path, problem string) { fault(".allow"+path, problem) })
	}
	if r.Deny != nil {
		r.Deny.check(o, func(path, problem string) { fault(".deny"+path, problem) })
		if r.Deny.MaxAuthAge != 0 {
			fault(".deny.max_auth_age", "belongs in an allow rule: it says how recent a login must be")
		}
		if r.Deny.Anyone {
			fault(".deny.anyone", "means nothing in a deny rule; a deny rule without groups, users or roles is about everybody")
		}
	}
}

// checkAllow refuses rules that let in more people than they seem to.
func (m *Match) checkAllow(fault func(path, problem string)) {
	named := len(m.Groups)+len(m.Users)+len(m.Roles)+len(m.Apps) > 0
	switch {
	case m.Anyone && (named || len(m.UnlessGroups) > 0):
		fault(".anyone", "is for everybody; leave out groups, unless_groups, users, apps and roles, or leave out anyone")
	case m.Anyone && strings.Contains(m.When, "user."):
		fault(".when", "cannot ask about the user in a rule for anyone, who may not be signed in")
	case !m.Anyone && !named && m.When == "":
		fault("", "names no groups, users, apps or roles; name some, or write anyone: true to open it to all")
	}
}

func (m *Match) check(o Options, fault func(path, problem string)) {
	if m.MaxAuthAge != 0 && m.MaxAuthAge < leastAuthAge {
		fault(".max_auth_age", fmt.Sprintf("is %s; write at least %s, or people sign in without end", m.MaxAuthAge, leastAuthAge))
	}
	if m.MaxAuthAge != 0 && m.Anyone {
		fault(".max_auth_age", "asks for a login, and anyone for none; leave one of them out")
	}
	checkGroups("groups", m.Groups, o, fault)
	checkGroups("unless_groups", m.UnlessGroups, o, fault)
	checkTexts("users", m.Users, fault)
	checkTexts("roles", m.Roles, fault)
	checkTexts("apps", m.Apps, fault)
	if len(m.Apps) > 0 && len(m.Groups)+len(m.UnlessGroups)+len(m.Users) > 0 {
		fault(".apps", "cannot match together with groups, unless_groups or users, which no application has; write a rule of its own")
	}
	if len(m.Apps) > 0 && m.MaxAuthAge != 0 {
		fault(".max_auth_age", "means nothing for applications, which do not sign in")
	}
	for i, method := range m.Methods {
		if !methodForm.MatchString(method) {
			fault(fmt.Sprintf(".methods[%d]", i), fmt.Sprintf("%q is not a method; methods are compared exactly, so write GET, POST and so on", method))
		}
	}
	for i, path := range m.Paths {
		if problem := globProblem(path); problem != "" {
			fault(fmt.Sprintf(".paths[%d]", i), problem)
		}
	}
	if m.When != "" {
		if _, err := compileCondition(m.When); err != nil {
			fault(".when", err.Error())
		}
	}
}

// leastAuthAge is how recent a login can be asked for at most.
const leastAuthAge = time.Minute

var methodForm = regexp.MustCompile(`^[A-Z][A-Z-]{0,31}$`)

func checkGroups(key string, groups []GroupRef, o Options, fault func(path, problem string)) {
	for i, g := range groups {
		switch {
		case g.ID == "" && g.Name == "":
			fault(fmt.Sprintf(".%s[%d]", key, i), "names no group; write id: with the group's object ID")
		case g.ID == "" && !o.TrustGroupNames:
			fault(fmt.Sprintf(".%s[%d].name", key, i), fmt.Sprintf("%q alone does not say which group: names can be taken by another; write id: with its object ID, or set trust_group_names: true", g.Name))
		case strings.TrimSpace(g.ID) != g.ID:
			fault(fmt.Sprintf(".%s[%d].id", key, i), "begins or ends with a space")
		}
	}
}

func checkTexts(key string, texts []string, fault func(path, problem string)) {
	for i, text := range texts {
		if text == "" || strings.TrimSpace(text) != text {
			fault(fmt.Sprintf(".%s[%d]", key, i), "is empty, or begins or ends with a space")
		}
	}
}

func globProblem(path string) string {
	switch {
	case !strings.HasPrefix(path, "/"):
		return fmt.Sprintf("%q does not begin with /", path)
	case strings.Contains(path, "//") || strings.Contains(path, "/./") || strings.Contains(path, "/../") || strings.HasSuffix(path, "/.") || strings.HasSuffix(path, "/.."):
		return fmt.Sprintf("%q has an empty or dot segment, which no request has", path)
	case strings.ContainsAny(path, "\\;?#%"):
		return fmt.Sprintf("%q has a character that a canonical path cannot have", path)
	}
	segments := strings.Split(path[1:], "/")
	for i, s := range segments {
		if strings.Contains(s, "*") && s != "*" && (s != "**" || i != len(segments)-1) {
			return fmt.Sprintf("%q: * stands for one whole segment, and /** only at the end, for the path before it and all below", path)
		}
	}
	return ""
}
