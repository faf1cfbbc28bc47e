package policy

import (
	"fmt"
	"sync"

	"cel.dev/cel-go/cel"
)

// condition is a compiled CEL expression (https://cel.dev) over
//
//	request.method, request.host, request.path (strings), request.time (timestamp)
//	user.id, user.userName, user.externalId (strings), user.groups, user.groupNames,
//	user.roles (lists of strings), user.attributes (the SCIM document), user.app
//	(the client ID of an application that calls for itself, otherwise "")
type condition struct{ program cel.Program }

// costLimit bounds the work of one evaluation, in the units of CEL.
const costLimit = 100_000

var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("request", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("user", cel.MapType(cel.StringType, cel.DynType)),
	)
})

func compileCondition(text string) (*condition, error) {
	env, err := environment()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(text)
	if err := issues.Err(); err != nil {
		return nil, fmt.Errorf("is not a condition: %w", err)
	}
	if t := ast.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("is a %s; write a condition that is true or false", t)
	}
	program, err := env.Program(ast, cel.CostLimit(costLimit), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, fmt.Errorf("cannot be prepared: %w", err)
	}
	return &condition{program}, nil
}

// holds evaluates the condition. It returns onError if that fails or the result is
// not a boolean.
func (c *condition) holds(req *Request, onError bool) bool {
	out, _, err := c.program.Eval(map[string]any{"request": requestVars(req), "user": userVars(req)})
	if err != nil {
		return onError
	}
	holds, ok := out.Value().(bool)
	if !ok {
		return onError
	}
	return holds
}

func requestVars(req *Request) map[string]any {
	return map[string]any{"method": req.Method, "host": req.Host, "path": req.Path, "time": req.Time.UTC()}
}

func userVars(req *Request) map[string]any {
	attributes := map[string]any{}
	if req.Attributes != nil {
		attributes = req.Attributes.Attributes()
	}
	return map[string]any{"id": req.UserID, "userName": req.UserName, "externalId": req.ExternalID,
		"groups": req.GroupIDs, "groupNames": req.GroupNames, "roles": req.Roles, "attributes": attributes, "app": req.App}
}
