package main

import (
	"context"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

// celEngine asks one expression for each rule.
type celEngine struct {
	allow, deny []cel.Program
	groups      []ref.Val // of users: a map, in which looking up a group takes one step
	attributes  []ref.Val // of users
}

func loadCEL(_ context.Context, w *world) (engine, error) {
	env, err := cel.NewEnv(cel.Variable("groups", cel.MapType(cel.StringType, cel.BoolType)), cel.Variable("method", cel.StringType), cel.Variable("path", cel.StringType),
		cel.Variable("attributes", cel.MapType(cel.StringType, cel.DynType)))
	if err != nil {
		return nil, err
	}
	e := &celEngine{}
	for _, r := range w.rules {
		terms := []string{fmt.Sprintf("%q in groups", r.group)}
		if r.method != "" {
			terms = append(terms, fmt.Sprintf("method == %q", r.method))
		}
		if r.within != "" {
			terms = append(terms, fmt.Sprintf("attributes.department == %q", r.within))
		}
		terms = append(terms, fmt.Sprintf("path.startsWith(%q)", r.prefix))
		ast, issues := env.Compile(strings.Join(terms, " && "))
		if err := issues.Err(); err != nil {
			return nil, err
		}
		program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize))
		if err != nil {
			return nil, err
		}
		if r.deny {
			e.deny = append(e.deny, program)
		} else {
			e.allow = append(e.allow, program)
		}
	}
	for _, u := range w.users {
		in := map[string]bool{}
		for _, group := range u.groups {
			in[group] = true
		}
		e.groups = append(e.groups, types.DefaultTypeAdapter.NativeToValue(in))
		e.attributes = append(e.attributes, types.DefaultTypeAdapter.NativeToValue(map[string]any{"department": u.department}))
	}
	return e, nil
}

// celInput has the variables of an evaluation.
type celInput struct {
	groups, attributes ref.Val
	method, path       string
}

func (i *celInput) ResolveName(name string) (any, bool) {
	switch name {
	case "groups":
		return i.groups, true
	case "attributes":
		return i.attributes, true
	case "method":
		return i.method, true
	case "path":
		return i.path, true
	}
	return nil, false
}

func (*celInput) Parent() interpreter.Activation { return nil }

func (e *celEngine) allows(r *request) (bool, error) {
	input := &celInput{e.groups[r.user], e.attributes[r.user], r.method, r.path}
	if denied, err := holdsOne(e.deny, input); denied || err != nil {
		return false, err
	}
	return holdsOne(e.allow, input)
}

func holdsOne(programs []cel.Program, input *celInput) (bool, error) {
	for _, program := range programs {
		out, _, err := program.Eval(input)
		if err != nil {
			return false, err
		}
		if out == types.True {
			return true, nil
		}
	}
	return false, nil
}
