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
//	(the client ID of an application that calls for itself, else "")
type condition struct{ program cel.Program }

// costLimit bounds the work of one evaluation, in CEL's own units.
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

// holds evaluates; doubt is what an error, or an answer that is no boolean, counts as.
func (c *condition) holds(q *Request, doubt bool) bool {
	out, _, err := c.program.Eval(map[string]any{"request": requestFacts(q), "user": userFacts(q)})
	if err != nil {
		return doubt
	}
	answer, ok := out.Value().(bool)
	if !ok {
		return doubt
	}
	return answer
}

func requestFacts(q *Request) map[string]any {
	return map[string]any{"method": q.Method, "host": q.Host, "path": q.Path, "time": q.Time.UTC()}
}

func userFacts(q *Request) map[string]any {
	attributes := map[string]any{}
	if q.Attributes != nil {
		attributes = q.Attributes.Attributes()
	}
	return map[string]any{"id": q.UserID, "userName": q.UserName, "externalId": q.ExternalID,
		"groups": q.GroupIDs, "groupNames": q.GroupNames, "roles": q.Roles, "attributes": attributes, "app": q.App}
}
