package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
)

// cedarEngine has a policy for each rule. Users are entities. Their groups are their parents, as Cedar has it, or else a set
// in an attribute, in which cedar-go finds a group that the user is not in sooner.
type cedarEngine struct {
	policies *cedar.PolicySet
	entities types.EntityMap
	users    []cedar.EntityUID
}

func loadCedarParents(_ context.Context, w *world) (engine, error) { return loadCedar(w, false) }

func loadCedarSets(_ context.Context, w *world) (engine, error) { return loadCedar(w, true) }

func loadCedar(w *world, sets bool) (engine, error) {
	var text strings.Builder
	for _, r := range w.rules {
		effect, principal, action := "permit", fmt.Sprintf("principal in Group::%q", r.group), "action"
		var when []string
		if sets {
			principal, when = "principal", append(when, fmt.Sprintf("principal.groups.contains(%q)", r.group))
		}
		if r.deny {
			effect = "forbid"
		}
		if r.method != "" {
			action = fmt.Sprintf("action == Action::%q", r.method)
		}
		if r.within != "" {
			when = append(when, fmt.Sprintf("principal.department == %q", r.within))
		}
		when = append(when, fmt.Sprintf("context.path like %q", r.prefix+"*"))
		fmt.Fprintf(&text, "%s (%s, %s, resource) when { %s };\n", effect, principal, action, strings.Join(when, " && "))
	}
	policies, err := cedar.NewPolicySetFromBytes("rules.cedar", []byte(text.String()))
	if err != nil {
		return nil, err
	}
	e := &cedarEngine{policies: policies, entities: types.EntityMap{}}
	for _, u := range w.users {
		uid := cedar.NewEntityUID("User", cedar.String(u.name))
		attributes := cedar.RecordMap{"department": cedar.String(u.department)}
		var parents []cedar.EntityUID
		var names []types.Value
		for _, group := range u.groups {
			parents, names = append(parents, cedar.NewEntityUID("Group", cedar.String(group))), append(names, cedar.String(group))
		}
		if sets {
			parents, attributes["groups"] = nil, cedar.NewSet(names...)
		}
		e.entities[uid] = cedar.Entity{UID: uid, Parents: cedar.NewEntityUIDSet(parents...), Attributes: cedar.NewRecord(attributes)}
		e.users = append(e.users, uid)
	}
	return e, nil
}

var cedarApplication = cedar.NewEntityUID("Application", "app")

func (e *cedarEngine) allows(r *request) (bool, error) {
	decision, diagnostic := cedar.Authorize(e.policies, e.entities, cedar.Request{
		Principal: e.users[r.user], Action: cedar.NewEntityUID("Action", cedar.String(r.method)), Resource: cedarApplication,
		Context: cedar.NewRecord(cedar.RecordMap{"path": cedar.String(r.path)}),
	})
	if len(diagnostic.Errors) > 0 {
		return false, fmt.Errorf("%s", diagnostic.Errors[0].Message)
	}
	return decision == cedar.Allow, nil
}
