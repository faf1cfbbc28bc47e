package main

import (
	"context"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
)

const (
	regoCommon = `package access

default allow := false

allow if {
	allowed
	not denied
}

applies(r) if {
	r.method in {"", input.method}
	startswith(input.path, r.prefix)
	r.within in {"", input.department}
}
`
	regoList = regoCommon + `
allowed if {
	some r in data.allow
	input.groups[r.group]
	applies(r)
}

denied if {
	some r in data.deny
	input.groups[r.group]
	applies(r)
}
`
	regoByGroup = regoCommon + `
allowed if {
	some group, _ in input.groups
	some r in data.allow[group]
	applies(r)
}

denied if {
	some group, _ in input.groups
	some r in data.deny[group]
	applies(r)
}
`
)

// opaEngine is a prepared query over rules in data.
type opaEngine struct {
	query  rego.PreparedEvalQuery
	groups []*ast.Term // of users: an object, in which looking up a group takes one step
	within []*ast.Term // departments of users
}

func loadOPAList(ctx context.Context, w *world) (engine, error) {
	lists := map[bool][]any{}
	for _, r := range w.rules {
		lists[r.deny] = append(lists[r.deny], regoRule(r))
	}
	return loadOPA(ctx, w, regoList, map[string]any{"allow": lists[false], "deny": lists[true]})
}

func loadOPAByGroup(ctx context.Context, w *world) (engine, error) {
	objects := map[bool]map[string]any{false: {}, true: {}}
	for _, r := range w.rules {
		list, _ := objects[r.deny][r.group].([]any)
		objects[r.deny][r.group] = append(list, regoRule(r))
	}
	return loadOPA(ctx, w, regoByGroup, map[string]any{"allow": objects[false], "deny": objects[true]})
}

func regoRule(r rule) map[string]any {
	return map[string]any{"group": r.group, "method": r.method, "prefix": r.prefix, "within": r.within}
}

func loadOPA(ctx context.Context, w *world, module string, data map[string]any) (engine, error) {
	for _, name := range []string{"allow", "deny"} { // none is an empty list
		if list, ok := data[name].([]any); ok && list == nil {
			data[name] = []any{}
		}
	}
	query, err := rego.New(rego.Query("data.access.allow"), rego.Module("access.rego", module),
		rego.Store(inmem.NewFromObjectWithOpts(data, inmem.OptReturnASTValuesOnRead(true)))).PrepareForEval(ctx)
	e := &opaEngine{query: query}
	for _, u := range w.users {
		var groups [][2]*ast.Term
		for _, group := range u.groups {
			groups = append(groups, ast.Item(ast.StringTerm(group), ast.BooleanTerm(true)))
		}
		e.groups, e.within = append(e.groups, ast.ObjectTerm(groups...)), append(e.within, ast.StringTerm(u.department))
	}
	return e, err
}

var regoGroups, regoWithin, regoMethod, regoPath = ast.StringTerm("groups"), ast.StringTerm("department"), ast.StringTerm("method"), ast.StringTerm("path")

func (e *opaEngine) allows(r *request) (bool, error) {
	input := ast.NewObject(ast.Item(regoGroups, e.groups[r.user]), ast.Item(regoWithin, e.within[r.user]),
		ast.Item(regoMethod, ast.StringTerm(r.method)), ast.Item(regoPath, ast.StringTerm(r.path)))
	results, err := e.query.Eval(context.Background(), rego.EvalParsedInput(input))
	return results.Allowed(), err
}
