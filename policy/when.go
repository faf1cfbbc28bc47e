package policy

import (
	"slices"
	"strings"
)

// when is the condition of a rule. One that cannot be evaluated counts as false in an allow
// rule and as true in a deny rule. A deny rule for /secret applies to /secret/ too,
// and one for /secret/ to /secret, as with paths.
type when struct {
	*condition
	deny     bool
	bothEnds bool     // whether the path has a slash at its end makes no difference
	ends     []string // the texts ending with a slash that the condition has
}

func newWhen(text string, allow bool) (*when, error) {
	c, err := compileCondition(text)
	if err != nil {
		return nil, err
	}
	w := &when{condition: c, deny: !allow, bothEnds: !allow && strings.Contains(text, "path")}
	if w.bothEnds {
		w.ends = slices.DeleteFunc(slices.Clone(c.texts), func(text string) bool { return len(text) < 2 || !strings.HasSuffix(text, "/") })
	}
	return w, nil
}

func compileWhen(m *Match, allow bool) (matcher, error) {
	w, err := newWhen(m.When, allow)
	if err != nil {
		return nil, err
	}
	return func(req *Request) bool {
		v := valuesOf(req)
		defer v.release()
		return w.holds(v)
	}, nil
}

// holds reports whether the condition applies to the request of v.
func (w *when) holds(v *values) bool {
	if w.condition.holds(v, w.deny) {
		return true
	}
	if !w.bothEnds {
		return false
	}
	path, ok := servedAlike(v.path, w.ends)
	if !ok {
		return false
	}
	own := v.path
	v.path = path
	holds := w.condition.holds(v, true)
	v.path = own
	return holds
}

// servedAlike returns path without the slash at its end. It returns path with one if a condition asks for that: ends are
// the texts ending with a slash that the condition has.
func servedAlike(path string, ends []string) (string, bool) {
	if bare, ok := strings.CutSuffix(path, "/"); ok {
		return bare, bare != ""
	}
	return path + "/", slices.ContainsFunc(ends, func(end string) bool { return strings.HasSuffix(path+"/", end) })
}

func checkWhen(m *Match, _ Options, fault faultFunc) {
	if _, err := compileCondition(m.When); err != nil {
		fault("", err.Error())
	}
}
