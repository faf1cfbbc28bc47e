package main

import (
	"context"
	"fmt"
	"time"

	"sallyport/policy"
)

// ours is Sallyport's package policy, which may remember what it found out about a user as long as their record is the same.
type ours struct {
	policy *policy.Policy
	users  []policy.Request // with all that a decision reads of a user
	fresh  bool             // each decision is about a record that was not seen before
	asked  policy.Request
	now    time.Time
}

// record is the record of a user, with their SCIM document.
type record struct{ document map[string]any }

func (r *record) Attributes() map[string]any { return r.document }

func loadSallyport(_ context.Context, w *world) (engine, error) { return loadOurs(w, false) }

func loadSallyportFresh(_ context.Context, w *world) (engine, error) { return loadOurs(w, true) }

func loadOurs(w *world, fresh bool) (engine, error) {
	var rules []policy.Rule
	for _, r := range w.rules {
		match := &policy.Match{Groups: []policy.GroupRef{{ID: r.group}}}
		if r.method != "" {
			match.Methods = []string{r.method}
		}
		if r.within != "" {
			match.When = fmt.Sprintf("user.attributes.department == %q && request.path.startsWith(%q)", r.within, r.prefix)
		} else {
			match.Paths = []string{r.prefix + "**"}
		}
		if r.deny {
			rules = append(rules, policy.Rule{Deny: match})
		} else {
			rules = append(rules, policy.Rule{Allow: match})
		}
	}
	compiled, err := policy.Compile([]policy.Named{{Name: "rules", Rules: rules}}, policy.Options{})
	o := &ours{policy: compiled, fresh: fresh, now: time.Now()}
	for _, u := range w.users {
		o.users = append(o.users, policy.Request{UserID: u.name, UserName: u.name, ExternalID: u.name, GroupIDs: u.groups, GroupNames: make([]string, len(u.groups)),
			Attributes: &record{map[string]any{"department": u.department}}})
	}
	return o, err
}

func (o *ours) allows(r *request) (bool, error) {
	o.asked = o.users[r.user]
	o.asked.Method, o.asked.Host, o.asked.Path, o.asked.Time = r.method, "app.example.com", r.path, o.now
	if o.fresh {
		o.asked.Attributes = &record{o.asked.Attributes.Attributes()}
	}
	return o.policy.Decide(&o.asked).Allow, nil
}
