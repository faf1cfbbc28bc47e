package policy

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
)

// The sizes up to which a request is small: of a text in bytes, and of a list in elements.
const (
	smallText = 4096
	smallList = 1000
)

// isCheap reports whether no small request can make a condition cost more than costLimit. A condition that calls for
// something again and again never is.
func isCheap(env *cel.Env, checked *cel.Ast) bool {
	repeats := false
	ast.PreOrderVisit(checked.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		repeats = repeats || e.Kind() == ast.ComprehensionKind
	}))
	if repeats {
		return false
	}
	estimate, err := env.EstimateCost(checked, smallSizes{})
	return err == nil && estimate.Max <= costLimit
}

// smallSizes are the sizes of variables in small requests. Nothing bounds the attributes of a user, nor the elements of a
// list.
type smallSizes struct{}

// EstimateSize implements [cost.Estimator].
func (smallSizes) EstimateSize(node cost.AstNode) *cost.SizeEstimate {
	if path := node.Path(); len(path) == 1 {
		switch path[0] {
		case varMethod, varHost, varPath, varID, varUserName, varExternalID, varApp:
			return &cost.SizeEstimate{Max: smallText}
		case varGroups, varGroupNames, varRoles:
			return &cost.SizeEstimate{Max: smallList}
		}
	}
	return nil
}

// EstimateCallCost implements [cost.Estimator]: calls cost what CEL says.
func (smallSizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

// small reports whether every variable with a bounded size is within it.
func (v *values) small() bool {
	r := v.req
	return max(len(v.path), len(r.Method), len(r.Host), len(r.UserID), len(r.UserName), len(r.ExternalID), len(r.App)) <= smallText &&
		max(len(r.GroupIDs), len(r.GroupNames), len(r.Roles)) <= smallList
}
