package access

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"sallyport/policy"
)

// maxHints bounds how many rules are named that would let a caller in.
const maxHints = 5

// hints says what would change a denial. Of the past it says what in the rules would have.
func hints(t Target, c Caller, req *policy.Request, e *Explanation, past bool) (list []string) {
	switch {
	case !t.Route.accepts(c):
		sent := "bearer tokens"
		if t.Route.Bearer {
			sent = "sessions"
		}
		return []string{fmt.Sprintf("route %s accepts no %s, so that the caller counts as nobody who is signed in", t.Route.Name, sent)}
	case t.Method == http.MethodOptions && t.Route.Preflights:
		list = append(list, "being a CORS preflight request, which the route lets through without a caller")
	}
	switch isBarred := c.User != nil && c.User.Barred() != ""; {
	case past && (isBarred || e.Reason == string(policy.AccessRevoked)):
		return list // which may have ended since
	case isBarred:
		return append(list, barredHints[c.User.Barred()])
	case e.Reason == string(policy.AccessRevoked):
		return append(list, "lifting the revocation of the membership that let the caller in, or the identity provider removing that membership and adding it anew")
	case e.Reason == ReasonNotSignedIn:
		return append(list, "signing in, as a user whom the rules let in")
	}
	denies := false
	for _, s := range e.Rules {
		if s.Effect == "deny" && s.Matched && s.Mode == "" {
			denies = true
			list = append(list, fmt.Sprintf("%s keeps the caller out: it is about %s", s.Rule, about(s)))
		}
	}
	if denies {
		return list
	}
	list = append(list, nearest(t, req, slices.DeleteFunc(slices.Clone(e.Rules), func(s policy.Step) bool { return t.Route.standsForGrants(s.Rule) }))...)
	if c.User != nil && e.Reason == string(policy.NoRule) && !past {
		list = append(list, t.askable(req)...)
	}
	if tooWeak := e.Reason == string(policy.LoginTooOld) || e.Reason == string(policy.LoginTooWeak); tooWeak && t.Route.Session {
		list = append(list, "a browser is sent to sign in so, and comes back")
	}
	return list
}

var barredHints = map[string]string{
	"inactive_user":  "the identity provider reactivating the user: it pushed that the user is not active",
	"suspended":      "`sallyport users unsuspend`: an operator suspended the user",
	"damaged_record": "a sound record: `sallyport store check` says what is damaged",
}

// about describes a rule by what is written in it.
func about(s policy.Step) string {
	var texts []string
	for _, p := range s.Parts {
		texts = append(texts, p.Part+" "+p.Text)
	}
	if len(texts) == 0 {
		return "everybody"
	}
	return strings.Join(texts, ", ")
}

// nearest names the allow rules of which the request misses the fewest parts. Rules for applications are none for users,
// nor the other way round, unless there are no others.
func nearest(t Target, req *policy.Request, steps []policy.Step) (list []string) {
	allows := slices.DeleteFunc(slices.Clone(steps), func(s policy.Step) bool { return s.Effect != "allow" || s.Mode != "" })
	if ofKind := slices.DeleteFunc(slices.Clone(allows), func(s policy.Step) bool { return slices.ContainsFunc(missing(s), isApps) }); len(ofKind) > 0 {
		allows = ofKind
	}
	fewest := 0
	for i, s := range allows {
		if n := len(missing(s)); i == 0 || n < fewest {
			fewest = n
		}
	}
	for _, s := range allows {
		missed := missing(s)
		if len(missed) != fewest || len(list) == maxHints {
			continue
		}
		var wanted []string
		for _, p := range missed {
			wanted = append(wanted, wish(p))
		}
		if caveat, ok := caveat(t, req, s, steps); ok {
			list = append(list, fmt.Sprintf("%s would let the caller in if %s%s", s.Rule, strings.Join(wanted, " and "), caveat))
		}
	}
	return list
}

func isApps(p policy.PartStep) bool { return p.Part == "apps" }

// missing returns the parts of a rule that do not match.
func missing(s policy.Step) []policy.PartStep {
	return slices.DeleteFunc(slices.Clone(s.Parts), func(p policy.PartStep) bool { return p.Matched })
}

// caveat names a rule that would still deny the request if the parts that an allow rule misses matched, or that may. It
// returns false if these parts cannot match without others that then do not.
func caveat(t Target, req *policy.Request, rule policy.Step, steps []policy.Step) (text string, ok bool) {
	missed := missing(rule)
	joined := *req
	joined.GroupIDs, joined.GroupNames = slices.Clone(req.GroupIDs), slices.Clone(req.GroupNames)
	certain := true // there is one way to match
	var wished []string
	for _, p := range missed {
		wished = append(wished, p.Part)
		certain = certain && (p.Part == "groups" && len(p.Groups) == 1 || p.Part == "all_groups")
		for _, g := range p.Groups {
			at, _ := slices.BinarySearch(joined.GroupIDs, g.ID)
			joined.GroupIDs, joined.GroupNames = slices.Insert(joined.GroupIDs, at, g.ID), slices.Insert(joined.GroupNames, at, g.Name)
		}
	}
	if d := t.Decide(&joined); certain && d.Reason == policy.RuleDeny {
		return fmt.Sprintf(", but %s would keep the caller out then", d.Rule), true
	} else if certain {
		return "", d.Allow
	}
	for i, p := range stepOf(t, &joined, rule.Rule).Parts {
		switch {
		case rule.Parts[i].Matched && !p.Matched:
			return "", false
		case rule.Parts[i].Matched && p.Part == "when" && mayChange(p.Part, wished):
			text = ", and its condition still held"
		}
	}
	for _, s := range steps {
		if s.Effect == "deny" && s.Mode == "" && !slices.ContainsFunc(missing(s), func(p policy.PartStep) bool { return !mayChange(p.Part, wished) }) {
			return text + fmt.Sprintf(", unless %s keeps the caller out then: it is about %s", s.Rule, about(s)), true
		}
	}
	return text, true
}

// stepOf returns how one rule applies to another request for the target.
func stepOf(t Target, req *policy.Request, rule string) policy.Step {
	all := t.Route.Policy.Explain(req)
	return all[slices.IndexFunc(all, func(s policy.Step) bool { return s.Rule == rule })]
}

// mayChange reports whether a part that does not match may do so in a request for which wished parts match that do not
// now.
func mayChange(part string, wished []string) bool {
	return slices.ContainsFunc(wished, func(other string) bool {
		facts, changed := factsOfPart[part], factsOfPart[other]
		return strings.ContainsAny(facts, changed)
	})
}

// factsOfPart has what a part asks about: the (c)aller, the (m)ethod, the (p)ath, the (a)ddress and the (t)ime. How
// callers signed in is none of it: no deny rule asks.
var factsOfPart = map[string]string{"anyone": "c", "apps": "c", "groups": "c", "all_groups": "c", "unless_groups": "c", "roles": "c", "reports_to": "c",
	"manager_of": "c", "attributes": "c", "users": "c", "not_users": "c", "methods": "m", "paths": "p", "networks": "a", "hours": "t", "until": "t", "grant": "c", "when": "cmpat"}

// wish says what would have to be so for a part to match.
func wish(p policy.PartStep) string {
	if isApps(p) && !p.Written {
		return "it were a user"
	}
	format, ok := wishes[p.Part]
	if !ok {
		return fmt.Sprintf("%s matched: %s", p.Part, p.Text)
	}
	if !strings.Contains(format, "%s") {
		return format
	}
	return fmt.Sprintf(format, p.Text)
}

var wishes = map[string]string{
	"anyone":        "they were signed in",
	"apps":          "it were one of the applications %s",
	"methods":       "the method were one of %s",
	"paths":         "the path matched one of %s",
	"networks":      "they came from %s",
	"hours":         "it were %s",
	"users":         "they were one of %s",
	"not_users":     "they were not one of %s",
	"groups":        "they were in one of %s",
	"all_groups":    "they were in every one of %s",
	"unless_groups": "they were in none of %s",
	"roles":         "they had one of the roles %s",
	"reports_to":    "their manager were one of %s",
	"manager_of":    "they were the manager of one of %s",
	"attributes":    "their attributes were %s",
	"when":          "this held: %s",
	"max_auth_age":  "they had signed in within the last %s",
	"auth":          "they had signed in as the rule demands: %s",
	"grant":         "they had a grant %s, for which they may ask if the policy lets them",
	"until":         "the rule had not ended at %s",
}
