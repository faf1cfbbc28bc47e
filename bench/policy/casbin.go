package main

import (
	"cmp"
	"context"

	"github.com/casbin/casbin/v3"
	"github.com/casbin/casbin/v3/model"
)

// casbinModel is casbin's own model of roles with a path that ends in *, where a denial goes before.
const casbinModel = `
[request_definition]
r = sub, obj, act, dep

[policy_definition]
p = sub, obj, act, dep, eft

[role_definition]
g = _, _

[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))

[matchers]
m = g(r.sub, p.sub) && (p.act == "*" || r.act == p.act) && (p.dep == "*" || r.dep == p.dep) && keyMatch(r.obj, p.obj)
`

type casbinEngine struct {
	enforcer *casbin.Enforcer
	users    []user
}

func loadCasbin(_ context.Context, w *world) (engine, error) {
	m, err := model.NewModelFromString(casbinModel)
	if err != nil {
		return nil, err
	}
	enforcer, err := casbin.NewEnforcer(m)
	if err != nil {
		return nil, err
	}
	var policies, members [][]string
	for _, r := range w.rules {
		effect := "allow"
		if r.deny {
			effect = "deny"
		}
		policies = append(policies, []string{r.group, r.prefix + "*", cmp.Or(r.method, "*"), cmp.Or(r.within, "*"), effect})
	}
	for _, u := range w.users {
		for _, group := range u.groups {
			members = append(members, []string{u.name, group})
		}
	}
	if _, err := enforcer.AddPolicies(policies); err != nil {
		return nil, err
	}
	_, err = enforcer.AddGroupingPolicies(members)
	return &casbinEngine{enforcer, w.users}, err
}

func (e *casbinEngine) allows(r *request) (bool, error) {
	return e.enforcer.Enforce(e.users[r.user].name, r.path, r.method, e.users[r.user].department)
}
