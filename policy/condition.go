package policy

import (
	"fmt"
	"regexp"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
)

// condition is a compiled CEL expression (https://cel.dev) over the variables.
type condition struct {
	program cel.Program
	asks    fact // that may be unknown
	reads   reading
}

// variable is what a condition can ask for. Each is declared by its whole name and with its type, so that an attribute
// that does not exist, and a comparison of different types, are faults of the rule.
type variable struct {
	name  string
	kind  *cel.Type
	value func(*Request) any
}

var variables = []variable{
	{"request.method", cel.StringType, func(r *Request) any { return r.Method }},
	{"request.host", cel.StringType, func(r *Request) any { return r.Host }},
	{"request.path", cel.StringType, func(r *Request) any { return r.Path }},
	{"request.time", cel.TimestampType, func(r *Request) any { return r.Time.UTC() }},
	{"user.id", cel.StringType, func(r *Request) any { return r.UserID }},
	{"user.userName", cel.StringType, func(r *Request) any { return r.UserName }},
	{"user.externalId", cel.StringType, func(r *Request) any { return r.ExternalID }},
	{"user.groups", cel.ListType(cel.StringType), func(r *Request) any { return r.GroupIDs }}, // ids
	{"user.groupNames", cel.ListType(cel.StringType), func(r *Request) any { return r.GroupNames }},
	{"user.roles", cel.ListType(cel.StringType), func(r *Request) any { return r.Roles }},
	{"user.attributes", cel.MapType(cel.StringType, cel.DynType), scimAttributes}, // the SCIM document
	{"user.app", cel.StringType, func(r *Request) any { return r.App }},           // client ID of an application that calls for itself, or ""
}

func scimAttributes(r *Request) any {
	if r.Attributes == nil {
		return map[string]any{}
	}
	return r.Attributes.Attributes()
}

// costLimit bounds the work of one evaluation, in the units of CEL.
const costLimit = 100_000

var environment = sync.OnceValues(func() (*cel.Env, error) {
	var declared []cel.EnvOption
	for _, v := range variables {
		declared = append(declared, cel.Variable(v.name, v.kind))
	}
	return cel.NewEnv(declared...)
})

func compileCondition(text string) (*condition, error) {
	env, err := environment()
	if err != nil {
		return nil, err
	}
	ast, issues := env.Compile(text)
	if err := unknownAttribute(text, issues); err != nil {
		return nil, err
	}
	if m := dashedAttribute.FindStringSubmatch(text); issues.Err() != nil && m != nil {
		return nil, fmt.Errorf("asks for %s, which is read as a subtraction; write user.attributes[%q]", m[0], m[1])
	}
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
	asks, reads := factsOf(ast)
	return &condition{program, asks, reads}, nil
}

// factsOf returns the facts that a condition reads, and what else.
func factsOf(ast *cel.Ast) (asks fact, reads reading) {
	for _, reference := range ast.NativeRep().ReferenceMap() {
		switch reference.Name {
		case "request.method":
			asks |= factMethod
		case "request.host":
			asks |= factHost
		case "request.path":
			asks |= factPath
		case "request.time":
			asks |= factTime
		case "user.roles":
			asks, reads = asks|factRoles, reads|readsRoles
		case "user.attributes":
			reads |= readsAttributes
		}
	}
	return asks, reads
}

// holds evaluates the condition. It returns onError if that fails or the result is
// not a boolean.
func (c *condition) holds(req *Request, onError bool) bool {
	values := make(map[string]any, len(variables))
	for _, v := range variables {
		values[v.name] = v.value(req)
	}
	out, _, err := c.program.Eval(values)
	if err != nil {
		return onError
	}
	holds, ok := out.Value().(bool)
	if !ok {
		return onError
	}
	return holds
}

// attributePattern matches what follows in a condition where an attribute of request or user is asked for.
var attributePattern = regexp.MustCompile(`^(request|user)\b\s*(?:\.\s*([A-Za-z_][A-Za-z0-9_]*)|\[\s*["']([^"']*)["'])?`)

// dashedAttribute matches an attribute of SCIM with a dash in its name, written as if there were none.
var dashedAttribute = regexp.MustCompile(`\buser\.attributes\.([A-Za-z]\w*(?:-[A-Za-z]\w*)+)`)

// unknownAttribute returns an error for the first attribute of request or user that does not exist, with its position in
// the condition and what may have been meant.
func unknownAttribute(text string, issues *cel.Issues) error {
	lines := strings.Split(text, "\n")
	for _, e := range issues.Errors() {
		at := e.Location
		if at == nil || !strings.HasPrefix(e.Message, "undeclared reference") || at.Line() < 1 || at.Line() > len(lines) {
			continue
		}
		line := []rune(lines[at.Line()-1])
		column := at.Column() // of the object, or of the dot after it
		if column < 0 || column >= len(line) {
			continue
		}
		for ; line[column] == '.' && column > 0 || column > 0 && isLetter(line[column-1]); column-- {
		}
		m := attributePattern.FindStringSubmatch(string(line[column:]))
		if m == nil {
			continue
		}
		return fmt.Errorf("asks at line %d, column %d of the condition for %s, which %s",
			at.Line(), column+1, strings.TrimSuffix(m[1]+"."+m[2]+m[3], "."), suggestVariable(m[1], m[2]+m[3]))
	}
	return nil
}

func isLetter(r rune) bool { return 'a' <= r && r <= 'z' }

// maxTypos is by how many letters an attribute may differ from the one that was meant.
const maxTypos = 3

// suggestVariable says what is wrong with an attribute of object, and what to write instead.
func suggestVariable(object, attribute string) string {
	var names, all []string
	for _, v := range variables {
		if name, ok := strings.CutPrefix(v.name, object+"."); ok {
			names, all = append(names, name), append(all, v.name)
		}
	}
	best := Nearest(attribute, names, maxTypos)
	switch known := strings.Join(all, ", "); {
	case best != "" && best == attribute:
		return fmt.Sprintf("is always there; write %s.%s, without has() or brackets", object, best)
	case best != "":
		return fmt.Sprintf("does not exist; did you mean %s.%s? There are %s", object, best, known)
	case object == "user" && attribute != "":
		return fmt.Sprintf("does not exist; did you mean user.attributes.%s, which SCIM pushes? Beside it there are %s", attribute, known)
	default:
		return "does not exist; there are " + known
	}
}
