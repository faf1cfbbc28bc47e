package policy

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/interpreter"
)

// largest returns the largest request that is small, of which every text is of a.
func largest() *Request {
	long := strings.Repeat("a", smallText)
	list := slices.Repeat([]string{strings.Repeat("b", 100)}, smallList)
	return &Request{UserID: long, UserName: long, ExternalID: long, App: long, GroupIDs: list, GroupNames: slices.Clone(list), Roles: slices.Clone(list),
		Method: long, Host: long, Path: long, Time: time.Unix(1_800_000_000, 0)}
}

// TestCondition_IsCheapOnlyBelowTheLimit: whatever is not counted costs less than the limit in every small request, and what
// could cost more is counted.
func TestCondition_IsCheapOnlyBelowTheLimit(t *testing.T) {
	chain := func(n int, text string) string { return strings.Repeat(text+" || ", n-1) + text }
	for _, c := range []struct {
		text  string
		cheap bool
	}{
		{`request.path == "/a"`, true},
		{`request.path.startsWith("/a/") && request.method in ["GET", "HEAD"]`, true},
		{`request.path == user.userName`, true},
		{`request.path.contains("secret")`, true},
		{`request.path.matches("^/x/[0-9]+$")`, true},
		{`"x" in user.groups`, true},
		{`user.groups == user.roles`, true},
		{`user.groups[0] == "x"`, true},
		{`user.attributes.title == "x"`, true},
		{`request.time.getHours("Europe/Berlin") < 20`, true},
		{chain(90, `"x" in user.groups`), true},
		{chain(110, `"x" in user.groups`), false},
		{chain(200, `request.path == user.id`), true},
		{chain(300, `request.path == user.id`), false},
		{chain(30, `request.path.matches("^(a|b)*c$")`), true},
		{chain(300, `request.path.matches("^(a|b)*c$")`), false},
		{`request.path.contains(request.host)`, false},
		{`request.path.matches(request.host)`, false},
		{`"x" in user.attributes.tags`, false},
		{`user.attributes.a == user.attributes.b`, false},
		{`user.groups[0].contains(user.groups[1])`, false},
		{`user.groups.exists(g, g == "x")`, false},
		{`[1, 2].exists(g, g == 1)`, false},
	} {
		condition, err := newCondition(c.text)
		if err != nil {
			t.Fatal(err)
		}
		if got := condition.cheap != nil; got != c.cheap {
			t.Errorf("%.60s… is cheap: %t", c.text, got)
		}
		if !c.cheap {
			continue
		}
		v := valuesOf(largest())
		if !v.small() {
			t.Fatal("the largest small request is not small")
		}
		if _, details, err := condition.counted.Eval(v); isTooMuch(err) {
			t.Errorf("%.60s… costs too much: %v", c.text, err)
		} else if details.ActualCost() != nil && *details.ActualCost() > costLimit {
			t.Errorf("%.60s… costs %d", c.text, *details.ActualCost())
		}
		v.release()
	}
}

func isTooMuch(err error) bool {
	var cancelled interpreter.EvalCancelledError
	return errors.As(err, &cancelled)
}

// TestCondition_CountsWhereARequestIsLarge: a condition on more groups than the limit allows cannot be evaluated, as ever.
func TestCondition_CountsWhereARequestIsLarge(t *testing.T) {
	rules := []Rule{{Allow: &Match{Anyone: true}}, {Deny: &Match{When: `"x" in user.groups`}}}
	lists := []Named{{Name: "p", Rules: rules}}
	p, err := Compile(lists, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, smallList, smallList + 1, costLimit / 2, costLimit + 1} {
		req := &Request{UserID: "1", Method: "GET", Path: "/", GroupIDs: slices.Repeat([]string{"g"}, n)}
		got, want := p.Decide(req), NewNaive(lists).Decide(req)
		if got.Reason != want.Reason || got.Allow != (n <= costLimit/2) {
			t.Errorf("with %d groups: %+v, want %+v", n, got, want)
		}
	}
	for _, path := range []string{"/", "/" + strings.Repeat("a", smallText-1), "/" + strings.Repeat("a", 100*smallText)} {
		lists := []Named{{Name: "p", Rules: []Rule{{Allow: &Match{Anyone: true, When: `!request.path.matches("^(a|b)*c$")`}}}}}
		p, err := Compile(lists, Options{})
		if err != nil {
			t.Fatal(err)
		}
		req := &Request{Anonymous: true, Method: "GET", Path: path}
		if got, want := p.Decide(req), NewNaive(lists).Decide(req); got.Reason != want.Reason {
			t.Errorf("with a path of %d bytes: %+v, want %+v", len(path), got, want)
		}
	}
}

// TestCondition_IsCompiledOnce: checking a configuration and compiling it for several routes compiles each text once, and
// a text of which no policy is in use is forgotten.
func TestCondition_IsCompiledOnce(t *testing.T) {
	text := `request.path == "/compiled-once"`
	lists := []Named{{Name: "p", Rules: []Rule{{Allow: &Match{When: text}}}}}
	first, err := Compile(lists, Options{})
	if err != nil {
		t.Fatal(err)
	}
	second, err := Compile(lists, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if first.rules[0].when.condition != second.rules[0].when.condition {
		t.Error("the text was compiled again")
	}
	runtime.KeepAlive(first)
	known := func() bool {
		compiledConditions.mu.Lock()
		defer compiledConditions.mu.Unlock()
		_, ok := compiledConditions.byText[text]
		return ok
	}
	if first, second = nil, nil; !known() {
		t.Error("the text is not known")
	}
	for i := 0; known(); i++ {
		if runtime.GC(); i > 1000 {
			t.Fatal("the text is not forgotten")
		}
		runtime.Gosched()
	}
}

// TestCondition_ReadsEachRequest: values that conditions share are those of the request that is decided.
func TestCondition_ReadsEachRequest(t *testing.T) {
	text := `request.path == user.id && request.method == user.userName && request.host == user.externalId && user.app == "" &&
		user.roles == user.groups && user.groups == user.groupNames && user.attributes.title == user.id && request.time == timestamp(user.roles[1])`
	p, err := Compile([]Named{{Name: "p", Rules: []Rule{{Allow: &Match{When: text, Methods: []string{"any"}}}}}}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		one, at := fmt.Sprint(i%3), time.Unix(int64(i), 0).UTC()
		list := func() []string { return []string{one, at.Format(time.RFC3339)} }
		req := &Request{UserID: one, Path: one, UserName: "M" + one, Method: "M" + one, ExternalID: "h" + one, Host: "h" + one, Roles: list(), GroupIDs: list(), GroupNames: list(),
			Attributes: title(one), Time: at}
		if d := p.Decide(req); !d.Allow {
			t.Errorf("request %d: %+v", i, d)
		}
		req.Roles = []string{"x", req.Roles[1]}
		if d := p.Decide(req); d.Allow {
			t.Errorf("request %d with other roles: %+v", i, d)
		}
	}
}

type title string

func (t title) Attributes() map[string]any { return map[string]any{"title": string(t)} }
