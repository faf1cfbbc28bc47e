package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"sallyport/access"
	"sallyport/directory"
	"sallyport/policy"
)

// Rules are policies and the routes that use them.
type Rules struct {
	Policies []policy.Named
	Routes   []*access.Route
	Console  policy.Named                                    // of who may look at the console, and act in it
	Tests    []access.Case                                   // of the configuration file
	Target   func(method, url string) (access.Target, error) // by these rules
	Place    func(path string) (line, col int)               // of a path of keys, such as policies[0].rules[1]; nil: not known
}

// Fault is a mistake in a text of a configuration.
type Fault struct {
	Line    int    `json:"line"`
	Col     int    `json:"column"`
	Path    string `json:"path,omitempty"` // of keys, such as routes[0].host
	Problem string `json:"problem"`
}

// Faults are all mistakes in a text, in the order of its lines.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fmt.Sprintf("%d:%d: %s", fault.Line, fault.Col, strings.TrimPrefix(fault.Path+": "+fault.Problem, ": "))
	}
	return strings.Join(lines, "\n")
}

// place returns where a finding stands.
func (r Rules) place(f access.Finding) Fault {
	placed := Fault{Path: f.Path, Problem: f.Problem}
	if r.Place != nil {
		placed.Line, placed.Col = r.Place(f.Path)
	}
	return placed
}

// Lint returns what the directory shows about rules, and what they say without meaning it.
func (a *Admin) Lint(_ context.Context, _ Actor, r Rules) []access.Finding {
	s := access.Subject{Policies: r.Policies, Routes: r.Routes, Groups: a.directory.Groups(), Users: a.directory.Users(), Scope: a.scope()}
	for _, route := range r.Routes {
		s.Uses = append(s.Uses, route.Policies)
	}
	return access.Lint(s)
}

// RunTests runs cases against rules and the users of the directory.
func (a *Admin) RunTests(ctx context.Context, actor Actor, r Rules, cases []access.Case) []access.Result {
	tester := access.Tester{Policies: r.Policies, Target: r.Target, Organization: a.directory, Now: time.Now().UTC(),
		User: func(name string) (*directory.User, error) { return a.userNamed(ctx, actor, name) }}
	return tester.Run(cases)
}

// userNamed returns the user with a name as in [Admin.Suspend], as memory has them.
func (a *Admin) userNamed(ctx context.Context, actor Actor, name string) (*directory.User, error) {
	id, err := a.FindUser(ctx, actor, name)
	if err != nil {
		return nil, err
	}
	u, ok := a.directory.ByID(id)
	if !ok {
		return nil, fmt.Errorf("%s was removed just now", name)
	}
	return u, nil
}

// TestResults returns the results of the tests in the configuration file, by the rules and the directory of now. They may be
// older: see [Computed].
func (a *Admin) TestResults(ctx context.Context, actor Actor) ([]access.Result, Computed) {
	return a.checks.tests.get(ctx, a.facts(), func(ctx context.Context, f facts) ([]access.Result, error) {
		return a.RunTests(ctx, actor, f.rules, f.rules.Tests), ctx.Err()
	})
}

// checks are computed findings about the rules in force.
type checks struct {
	tests    remembered[[]access.Result]
	findings remembered[[]Fault]
}

// Findings returns what the directory shows about the rules in force: see [Admin.Lint]. They may be older: see [Computed].
func (a *Admin) Findings(ctx context.Context, actor Actor) ([]Fault, Computed) {
	return a.checks.findings.get(ctx, a.facts(), func(ctx context.Context, f facts) (list []Fault, err error) {
		for _, finding := range a.Lint(ctx, actor, f.rules) {
			list = append(list, f.rules.place(finding))
		}
		return list, ctx.Err()
	})
}

// RuleView is a rule in force, or the rule that grants of a policy stand for.
type RuleView struct {
	Policy string   `json:"policy"`
	Rule   string   `json:"rule"`
	Effect string   `json:"effect"`
	Mode   string   `json:"mode,omitempty"`
	Text   string   `json:"text"`
	Routes []string `json:"routes"`          // that use it
	Line   int      `json:"line,omitempty"`  // in the configuration file; 0: not known
	Notes  []string `json:"notes,omitempty"` // that it is shadowed by another, or has ended, or what the directory shows
	path   string
}

// RuleViews returns the rules in force, in the order of the file, with what the rules themselves show to be odd.
func (a *Admin) RuleViews(context.Context, Actor) (list []RuleView) {
	if a.rules == nil {
		return nil
	}
	r, now := a.rules(), time.Now()
	uses, steps := r.uses()
	for i, p := range r.Policies {
		notes := map[string][]string{}
		p.Warn(now, func(path, problem string) { notes[ruleOf(path)] = append(notes[ruleOf(path)], problem) })
		if len(uses[p.Name]) == 0 {
			steps.compile(p)
		}
		for j := range p.Rules {
			path := fmt.Sprintf("rules[%d]", j)
			v := RuleView{Policy: p.Name, Rule: fmt.Sprintf("%s[%d]", p.Name, j), Routes: uses[p.Name], Notes: notes[path], path: fmt.Sprintf("policies[%d].%s", i, path)}
			list = append(list, v.with(r, steps))
		}
		if p.Requestable != nil {
			v := RuleView{Policy: p.Name, Rule: policy.Offer{Policy: p.Name}.Rule(), Routes: uses[p.Name], Notes: notes["requestable"], path: fmt.Sprintf("policies[%d].requestable", i)}
			list = append(list, v.with(r, steps))
		}
	}
	return list
}

// ruleOf returns the part of a path that names a rule of a policy.
func ruleOf(path string) string {
	path, _, _ = strings.Cut(path, ".")
	return path
}

// Of returns those of findings that are about the rule.
func (v RuleView) Of(findings []Fault) (about []Fault) {
	for _, f := range findings {
		if f.Path == v.path || strings.HasPrefix(f.Path, v.path+".") {
			about = append(about, f)
		}
	}
	return about
}

func (v RuleView) with(r Rules, steps ruleSteps) RuleView {
	s := steps[v.Rule]
	v.Effect, v.Mode, v.Text = s.Effect, s.Mode, access.RuleTextOf(s)
	if r.Place != nil {
		v.Line, _ = r.Place(v.path)
	}
	return v
}

// ruleSteps are rules as they apply to nobody, by name.
type ruleSteps map[string]policy.Step

// uses returns which routes use each policy, and the rules of the policies that routes use.
func (r Rules) uses() (map[string][]string, ruleSteps) {
	uses, steps := map[string][]string{}, ruleSteps{}
	for _, route := range r.Routes {
		fresh := false
		for _, name := range route.Policies {
			fresh = fresh || len(uses[name]) == 0
			uses[name] = append(uses[name], route.Name)
		}
		if !fresh {
			continue
		}
		steps.add(route.Policy)
	}
	return uses, steps
}

func (s ruleSteps) add(p *policy.Policy) {
	for _, step := range p.Explain(&policy.Request{}) {
		s[step.Rule] = step
	}
}

// compile adds the rules of a policy that no route uses.
func (s ruleSteps) compile(p policy.Named) {
	if compiled, err := policy.Compile([]policy.Named{p}, policy.Options{TrustGroupNames: true}); err == nil {
		s.add(compiled)
	}
}

// errNoRules means that the rules of a file cannot be read here.
var errNoRules = errors.New("this process reads no configuration")
