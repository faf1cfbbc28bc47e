package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sallyport/directory"
	"sallyport/policy"
)

// ErrGroupNamed means that a group cannot be removed because a rule names it: a rule that denies its members would deny
// nobody.
var ErrGroupNamed = errors.New("a rule names the group; take it out of the rules first")

// groupNames are the groups that rules name.
type groupNames struct{ ids, names map[string]bool }

// namedGroups returns the groups that the rules in force name.
func (a *Admin) namedGroups() groupNames {
	n := groupNames{map[string]bool{}, map[string]bool{}}
	if a.rules == nil {
		return n
	}
	rules := a.rules()
	for _, ref := range policy.GroupsIn(append(slices.Clone(rules.Policies), rules.Console)) {
		if ref.ID != "" {
			n.ids[ref.ID] = true
		} else {
			n.names[directory.Fold(ref.Name)] = true
		}
	}
	return n
}

func (n groupNames) has(externalID, displayName string) bool {
	return externalID != "" && n.ids[externalID] || n.names[directory.Fold(displayName)]
}

// GroupFacts is all that is known of a group, but for its members.
type GroupFacts struct {
	Group
	Created  time.Time       `json:"created"`
	Modified time.Time       `json:"modified"` // its name or members
	Uses     []GroupUse      `json:"uses"`
	Stale    bool            `json:"stale,omitempty"`
	Named    bool            `json:"named"`  // a rule names the group, of whatever policy
	Nested   []Group         `json:"nested"` // groups that are members, whose own members it gives nothing; the first of them
	Document json.RawMessage `json:"scim"`   // as it was pushed, without members
}

// GroupUse is a rule of a route that names a group.
type GroupUse struct {
	Route  string `json:"route,omitempty"` // "" for the console
	Rule   string `json:"rule"`
	Effect string `json:"effect"`         // allow, deny, console, or request and approve for who may ask and who may approve
	Part   string `json:"part,omitempty"` // of the rule, such as groups or unless_groups
	Mode   string `json:"mode,omitempty"` // report
}

// maxUses bounds how many uses of a group, and how many groups in it, are returned.
const maxUses = 500

// GroupFacts returns what is known of the group with this displayName, externalId or id.
func (a *Admin) GroupFacts(ctx context.Context, _ Actor, name string) (GroupFacts, error) {
	g, err := a.findGroup(ctx, name)
	if err != nil {
		return GroupFacts{}, err
	}
	f := GroupFacts{Group: Group{g.ID, g.DisplayName, g.ExternalID, g.Members}, Created: g.Created, Modified: g.Modified, Document: g.Document,
		Uses: a.usesOf(g), Named: a.namedGroups().has(g.ExternalID, g.DisplayName), Nested: []Group{}}
	f.Stale = g.Members == 0 && !f.Named && time.Since(g.Modified) > StaleAfter
	if _, users := a.directory.Find(directory.Query{Keep: func(u *directory.User) bool { return u.IsIn(g.ID) }}); users < g.Members {
		f.Nested, err = a.nestedIn(ctx, g.ID)
	}
	return f, err
}

// nestedIn returns groups that are members of a group.
func (a *Admin) nestedIn(ctx context.Context, group string) (nested []Group, err error) {
	err = a.directory.View(ctx, func(tx *directory.Tx) error {
		nested = []Group{}
		for m, err := range tx.Members(group, "") {
			if err != nil {
				return err
			}
			if g, ok := a.directory.GroupByID(m.ID); ok && m.IsGroup && len(nested) < maxUses {
				nested = append(nested, Group{g.ID, g.DisplayName, g.ExternalID, g.Members})
			}
		}
		return nil
	})
	return nested, err
}

// usesOf returns the rules of routes that name a group.
func (a *Admin) usesOf(g directory.Group) []GroupUse {
	uses := []GroupUse{}
	if a.rules == nil {
		return uses
	}
	names := func(list []policy.GroupRef) bool {
		return slices.ContainsFunc(list, func(ref policy.GroupRef) bool {
			return ref.ID != "" && ref.ID == g.ExternalID || ref.ID == "" && ref.Name == g.DisplayName
		})
	}
	add := func(use GroupUse) {
		if len(uses) < maxUses && !slices.Contains(uses, use) {
			uses = append(uses, use)
		}
	}
	rules := a.rules()
	if rule := slices.IndexFunc(rules.Console.Rules, func(r policy.Rule) bool { return names(r.Allow.Groups) }); rule >= 0 {
		add(GroupUse{Rule: fmt.Sprintf("%s[%d]", rules.Console.Name, rule), Effect: "console"})
	}
	for _, route := range rules.Routes {
		if !slices.Contains(route.Policy.GroupIDs(), g.ExternalID) && !slices.Contains(route.Policy.GroupNames(), g.DisplayName) && len(route.Policy.Offers()) == 0 {
			continue
		}
		for _, step := range route.Policy.Explain(&policy.Request{Anonymous: true}) {
			for _, part := range step.Parts {
				if names(part.Groups) {
					add(GroupUse{route.Name, step.Rule, step.Effect, part.Part, step.Mode})
				}
			}
		}
		for _, offer := range route.Policy.Offers() {
			if names(offer.By.Groups) {
				add(GroupUse{Route: route.Name, Rule: offer.Policy, Effect: "request"})
			}
			if names(offer.Approvers.Groups) {
				add(GroupUse{Route: route.Name, Rule: offer.Policy, Effect: "approve"})
			}
		}
	}
	return uses
}

// checkUnnamed returns an error if a rule in force names a group.
func (a *Admin) checkUnnamed(g directory.Group) error {
	if a.namedGroups().has(g.ExternalID, g.DisplayName) {
		return fmt.Errorf("%s: %w", strings.TrimSpace(cmp.Or(g.DisplayName, g.ID)), ErrGroupNamed)
	}
	return nil
}
