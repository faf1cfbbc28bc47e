package main

import (
	"context"
	"fmt"
	"time"

	"sallyport/policy"
)

// ours is Sallyport's package policy.
type ours struct {
	policy *policy.Policy
	users  []policy.Request // with all that a decision reads of a user
	asked  policy.Request
	now    time.Time
}

// document is the SCIM document of a user.
type document map[string]any

func (d document) Attributes() map[string]any { return d }

func loadSallyport(_ context.Context, w *world) (engine, error) {
	var rules []policy.Rule
	for _, r := range w.rules {
		match := &policy.Match{Groups: []policy.GroupRef{{ID: r.group}}}
		if r.method != "" {
			match.Methods = []string{r.method}
		}
		if r.prefix != "/" {
			match.Paths = []string{r.prefix + "**"}
		}
		if r.within != "" {
			match.When = fmt.Sprintf("user.attributes.department == %q", r.within)
		}
		if r.deny {
			rules = append(rules, policy.Rule{Deny: match})
		} else {
			rules = append(rules, policy.Rule{Allow: match})
		}
	}
	compiled, err := policy.Compile([]policy.Named{{Name: "rules", Rules: rules}}, policy.Options{})
	o := &ours{policy: compiled, now: time.Now()}
	for _, u := range w.users {
		o.users = append(o.users, policy.Request{UserID: u.name, UserName: u.name, ExternalID: u.name, GroupIDs: u.groups, GroupNames: make([]string, len(u.groups)),
			Attributes: document{"department": u.department}})
	}
	return o, err
}

func (o *ours) allows(r *request) (bool, error) {
	o.asked = o.users[r.user]
	o.asked.Method, o.asked.Host, o.asked.Path, o.asked.Time = r.method, "app.example.com", r.path, o.now
	return o.policy.Decide(&o.asked).Allow, nil
}
