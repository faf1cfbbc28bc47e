package policy

import (
	"sync"
	"time"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

// values are what the variables of conditions are for one request. Converting a value for CEL takes memory, so values
// that are used again keep what they converted last, and convert only what is different.
type values struct {
	req  *Request
	path string // that of the request, or one that is served alike

	method, host, pathText, id, userName, externalID, app celText
	groups, groupNames, roles                             celTexts
	time                                                  ref.Val
	at                                                    time.Time
}

// celText is a string as it is, and as CEL has it.
type celText struct {
	is  string
	cel ref.Val
}

// celTexts are a list of strings as it is, and as CEL has it.
type celTexts struct {
	is  []string
	cel ref.Val
}

var unused = sync.Pool{New: func() any { return new(values) }}

// valuesOf returns the values of a request, to be released when it is decided.
func valuesOf(req *Request) *values {
	v := unused.Get().(*values)
	v.req, v.path = req, req.Path
	return v
}

func (v *values) release() {
	v.req, v.path = nil, ""
	unused.Put(v)
}

func (t *celText) of(is string) ref.Val {
	if t.cel == nil || t.is != is {
		t.is, t.cel = is, types.String(is)
	}
	return t.cel
}

func (l *celTexts) of(is []string) ref.Val {
	if l.cel == nil || !sameSlice(l.is, is) {
		l.is, l.cel = is, types.NewStringList(types.DefaultTypeAdapter, is)
	}
	return l.cel
}

// ResolveName implements [interpreter.Activation].
func (v *values) ResolveName(name string) (any, bool) {
	switch name {
	case varMethod:
		return v.method.of(v.req.Method), true
	case varHost:
		return v.host.of(v.req.Host), true
	case varPath:
		return v.pathText.of(v.path), true
	case varTime:
		return v.timestamp(), true
	case varID:
		return v.id.of(v.req.UserID), true
	case varUserName:
		return v.userName.of(v.req.UserName), true
	case varExternalID:
		return v.externalID.of(v.req.ExternalID), true
	case varGroups:
		return v.groups.of(v.req.GroupIDs), true
	case varGroupNames:
		return v.groupNames.of(v.req.GroupNames), true
	case varRoles:
		return v.roles.of(v.req.Roles), true
	case varAttributes:
		return v.attributes(), true
	case varApp:
		return v.app.of(v.req.App), true
	}
	return nil, false
}

// Parent implements [interpreter.Activation].
func (v *values) Parent() interpreter.Activation { return nil }

func (v *values) timestamp() ref.Val {
	if v.time == nil || v.at != v.req.Time {
		v.at, v.time = v.req.Time, types.Timestamp{Time: v.req.Time.UTC()}
	}
	return v.time
}

func (v *values) attributes() map[string]any {
	if v.req.Attributes == nil {
		return map[string]any{}
	}
	return v.req.Attributes.Attributes()
}
