package policy

import (
	"fmt"
	"regexp"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
)

// condition is a compiled CEL expression (https://cel.dev) over the variables.
type condition struct {
	counted cel.Program // stops at costLimit
	cheap   cel.Program // does not count, which takes most of the time; nil if small requests can reach costLimit
	asks    fact        // that may be unknown
	reads   reading
	texts   []string // in its comparisons that ask for request.path
}

// variable is what a condition can ask for. Each is declared by its whole name and with its type, so that an attribute
// that does not exist, and a comparison of different types, are faults of the rule. What each is, [values] says.
type variable struct {
	name string
	kind *cel.Type
}

var variables = []variable{
	{varMethod, cel.StringType},
	{varHost, cel.StringType},
	{varPath, cel.StringType},
	{varTime, cel.TimestampType},
	{varID, cel.StringType},
	{varUserName, cel.StringType},
	{varExternalID, cel.StringType},
	{varGroups, cel.ListType(cel.StringType)}, // ids
	{varGroupNames, cel.ListType(cel.StringType)},
	{varRoles, cel.ListType(cel.StringType)},
	{varAttributes, cel.MapType(cel.StringType, cel.DynType)}, // the SCIM document
	{varApp, cel.StringType},                                  // client ID of an application that calls for itself, or ""
}

const (
	varMethod     = "request.method"
	varHost       = "request.host"
	varPath       = "request.path"
	varTime       = "request.time"
	varID         = "user.id"
	varUserName   = "user.userName"
	varExternalID = "user.externalId"
	varGroups     = "user.groups"
	varGroupNames = "user.groupNames"
	varRoles      = "user.roles"
	varAttributes = "user.attributes"
	varApp        = "user.app"
)

// costLimit bounds the work of one evaluation, in the units of CEL.
const costLimit = 100_000

var environment = sync.OnceValues(func() (*cel.Env, error) {
	var declared []cel.EnvOption
	for _, v := range variables {
		declared = append(declared, cel.Variable(v.name, v.kind))
	}
	return cel.NewEnv(declared...)
})

// compileCondition compiles a condition, or returns what it compiled before from the same text, as long as that is in use.
func compileCondition(text string) (*condition, error) { return compiledConditions.of(text) }

func newCondition(text string) (*condition, error) {
	env, err := environment()
	if err != nil {
		return nil, err
	}
	checked, issues := env.Compile(text)
	if err := unknownAttribute(text, issues); err != nil {
		return nil, err
	}
	if m := dashedAttribute().FindStringSubmatch(text); issues.Err() != nil && m != nil {
		return nil, fmt.Errorf("asks for %s, which is read as a subtraction; write user.attributes[%q]", m[0], m[1])
	}
	if err := issues.Err(); err != nil {
		return nil, fmt.Errorf("is not a condition: %w", err)
	}
	if t := checked.OutputType(); !t.IsExactType(cel.BoolType) && !t.IsExactType(cel.DynType) {
		return nil, fmt.Errorf("is a %s; write a condition that is true or false", t)
	}
	c := &condition{texts: textsOfPath(checked)}
	c.asks, c.reads = factsOf(checked)
	if c.counted, err = env.Program(checked, cel.CostLimit(costLimit), cel.EvalOptions(cel.OptOptimize)); err != nil {
		return nil, fmt.Errorf("cannot be prepared: %w", err)
	}
	if isCheap(env, checked) {
		if c.cheap, err = env.Program(checked, cel.EvalOptions(cel.OptOptimize)); err != nil {
			return nil, fmt.Errorf("cannot be prepared: %w", err)
		}
	}
	return c, nil
}

// factsOf returns the facts that a condition reads, and what else.
func factsOf(checked *cel.Ast) (asks fact, reads reading) {
	for _, reference := range checked.NativeRep().ReferenceMap() {
		switch variableOf(reference) {
		case varMethod:
			asks |= factMethod
		case varHost:
			asks |= factHost
		case varPath:
			asks |= factPath
		case varTime:
			asks |= factTime
		case varRoles:
			asks, reads = asks|factRoles, reads|readsRoles
		case varAttributes:
			reads |= readsAttributes
		}
	}
	return asks, reads
}

// variableOf returns the name of the variable that a reference is to. The reference has a dot before the name where a
// variable of a macro is called request or user.
func variableOf(reference *ast.ReferenceInfo) string { return strings.TrimPrefix(reference.Name, ".") }

// holds evaluates the condition. It returns onError if that fails or the result is
// not a boolean.
func (c *condition) holds(v *values, onError bool) bool {
	program := c.counted
	if c.cheap != nil && v.small() {
		program = c.cheap
	}
	out, _, err := program.Eval(v)
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
var attributePattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(request|user)\b\s*(?:\.\s*([A-Za-z_][A-Za-z0-9_]*)|\[\s*["']([^"']*)["'])?`)
})

// dashedAttribute matches an attribute of SCIM with a dash in its name, written as if there were none.
var dashedAttribute = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\buser\.attributes\.([A-Za-z]\w*(?:-[A-Za-z]\w*)+)`) })

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
		m := attributePattern().FindStringSubmatch(string(line[column:]))
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
