package policy

import (
	"fmt"
	"slices"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
)

// MapPaths returns lists with f applied to every pattern for paths. Conditions stay as they are.
func MapPaths(lists []Named, f func(string) string) []Named {
	mapped := slices.Clone(lists)
	for i, list := range mapped {
		mapped[i].Rules, mapped[i].Requestable = slices.Clone(list.Rules), list.Requestable.mapPaths(f)
		for j, rule := range list.Rules {
			mapped[i].Rules[j].Allow, mapped[i].Rules[j].Deny = rule.Allow.mapPaths(f), rule.Deny.mapPaths(f)
		}
	}
	return mapped
}

func (m *Match) mapPaths(f func(string) string) *Match {
	if m == nil {
		return nil
	}
	mapped := *m
	mapped.Paths = make([]string, len(m.Paths))
	for i, pattern := range m.Paths {
		mapped.Paths[i] = f(pattern)
	}
	return &mapped
}

// PathLiterals calls literal with each text that a condition of the list compares request.path with, and the path of the
// condition, such as "rules[0].deny.when". A condition that does not compile has none.
func (n Named) PathLiterals(literal func(path, text string)) {
	if q := n.Requestable; q != nil && q.Allow != nil {
		for _, text := range pathLiterals(q.Allow.When) {
			literal("requestable.allow.when", text)
		}
	}
	for i, r := range n.Rules {
		for key, m := range map[string]*Match{"allow": r.Allow, "deny": r.Deny} {
			if m == nil || m.When == "" {
				continue
			}
			for _, text := range pathLiterals(m.When) {
				literal(fmt.Sprintf("rules%s.%s.when", index(i), key), text)
			}
		}
	}
}

// pathLiterals returns the texts in each comparison of a condition that asks for request.path.
func pathLiterals(condition string) []string {
	c, err := compileCondition(condition)
	if err != nil {
		return nil
	}
	return c.texts
}

func textsOfPath(checked *cel.Ast) (texts []string) {
	for _, c := range comparisons(checked.NativeRep().Expr()) {
		if asksForPath(checked, c) {
			texts = append(texts, textsIn(c)...)
		}
	}
	return texts
}

// comparisons returns the parts of a condition that "and", "or", "not" and "?:" combine.
func comparisons(e ast.Expr) (parts []ast.Expr) {
	combining := []string{operators.LogicalAnd, operators.LogicalOr, operators.LogicalNot, operators.Conditional}
	if e.Kind() != ast.CallKind || !slices.Contains(combining, e.AsCall().FunctionName()) {
		return []ast.Expr{e}
	}
	for _, argument := range e.AsCall().Args() {
		parts = append(parts, comparisons(argument)...)
	}
	return parts
}

func asksForPath(condition *cel.Ast, e ast.Expr) (asks bool) {
	references := condition.NativeRep().ReferenceMap()
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		ref := references[e.ID()]
		asks = asks || ref != nil && variableOf(ref) == varPath
	}))
	return asks
}

func textsIn(e ast.Expr) (texts []string) {
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.LiteralKind {
			return
		}
		if text, ok := e.AsLiteral().(types.String); ok {
			texts = append(texts, string(text))
		}
	}))
	return texts
}
