package policy

import "time"

// Step is how one rule applies to a request.
type Step struct {
	Rule    string     `json:"rule"`
	Effect  string     `json:"effect"` // allow or deny
	Mode    string     `json:"mode,omitempty"`
	Matched bool       `json:"matched"`
	Missed  string     `json:"missed,omitempty"` // the first part that did not match
	Parts   []PartStep `json:"parts"`
}

// PartStep is how one part of a rule applies to a request.
type PartStep struct {
	Part    string `json:"part"`
	Text    string `json:"text"` // what the rule says there, or what leaving the part out means
	Matched bool   `json:"matched"`

	Written bool       `json:"-"` // and not what an absent part stands for
	Groups  []GroupRef `json:"-"` // of a part that wants membership
}

// Explain returns one step for every rule, in their order.
func (p *Policy) Explain(req *Request) []Step {
	steps := make([]Step, 0, len(p.rules))
	for i := range p.rules {
		steps = append(steps, p.rules[i].explain(req))
	}
	return steps
}

func (r *rule) explain(req *Request) Step {
	missed := r.misses(req)
	s := Step{Rule: r.name, Effect: "deny", Matched: missed == "", Missed: missed}
	if r.allow {
		s.Effect = "allow"
	}
	if r.report {
		s.Mode = modeReport
	}
	if !r.end.IsZero() {
		s.Parts = append(s.Parts, PartStep{Part: keyUntil, Text: r.end.Format(time.RFC3339), Matched: missed != keyUntil, Written: true})
	}
	if r.grant != "" {
		s.Parts = append(s.Parts, PartStep{Part: partGrant, Text: "of " + r.grant, Matched: r.granted(req), Written: true})
	}
	for i := range r.parts {
		part := &r.parts[i]
		s.Parts = append(s.Parts, PartStep{Part: part.key, Text: part.text, Matched: part.matches(req), Written: part.written, Groups: part.groups})
	}
	return s
}
