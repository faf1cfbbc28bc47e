package access

import (
	"fmt"
	"slices"
	"strings"

	"sallyport/policy"
)

// maxHints bounds how many rules are named that would let a caller in.
const maxHints = 5

// hints says what would change a denial.
func hints(t Target, c Caller, req *policy.Request, e *Explanation) []string {
	switch {
	case c.User != nil && c.User.Barred() != "":
		return []string{barredHints[c.User.Barred()]}
	case c.App != "" && !t.Route.Bearer:
		return []string{fmt.Sprintf("route %s accepts no bearer tokens; accept: [bearer] would let it accept them", t.Route.Name)}
	case e.Reason == ReasonNotSignedIn:
		return []string{"signing in, as a user whom the rules let in"}
	}
	var list []string
	for _, s := range e.Rules {
		if s.Effect == "deny" && s.Matched && s.Mode == "" {
			list = append(list, fmt.Sprintf("%s keeps the caller out: it is about %s", s.Rule, about(s)))
		}
	}
	if len(list) > 0 {
		return list
	}
	return nearest(t, req, e.Rules)
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

// nearest names the allow rules of which the request misses the fewest parts.
func nearest(t Target, req *policy.Request, steps []policy.Step) (list []string) {
	fewest := -1
	missing := make([]int, len(steps))
	for i, s := range steps {
		for _, p := range s.Parts {
			if !p.Matched {
				missing[i]++
			}
		}
		if s.Effect == "allow" && s.Mode == "" && (fewest < 0 || missing[i] < fewest) {
			fewest = missing[i]
		}
	}
	for i, s := range steps {
		if s.Effect != "allow" || s.Mode != "" || missing[i] != fewest || len(list) == maxHints {
			continue
		}
		var wanted []string
		for _, p := range s.Parts {
			if !p.Matched {
				wanted = append(wanted, wish(p))
			}
		}
		list = append(list, fmt.Sprintf("%s would let the caller in if %s%s", s.Rule, strings.Join(wanted, " and "), unlessDenied(t, req, s)))
	}
	return list
}

// unlessDenied names the rule that would still deny a caller who joined the groups that
// an allow rule asks for.
func unlessDenied(t Target, req *policy.Request, s policy.Step) string {
	joined := *req
	joined.GroupIDs, joined.GroupNames = slices.Clone(req.GroupIDs), slices.Clone(req.GroupNames)
	for _, p := range s.Parts {
		if !p.Matched {
			for _, g := range p.Groups {
				joined.GroupIDs, joined.GroupNames = append(joined.GroupIDs, g.ID), append(joined.GroupNames, g.Name)
			}
		}
	}
	slices.Sort(joined.GroupIDs)
	if d := t.Decide(&joined); d.Reason == policy.RuleDeny {
		return fmt.Sprintf(", but %s would keep the caller out then", d.Rule)
	}
	return ""
}

// wish says what would have to be so for a part to match.
func wish(p policy.PartStep) string {
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
	"users":         "they were named there: %s",
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
	"until":         "the rule had not ended at %s",
}
