package importer

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"sync"
)

// Kind is what became of a setting.
type Kind string

// The kinds of findings.
const (
	Carried Kind = "carried" // it means the same here
	Changed Kind = "changed" // it means something else here, and the finding says what
	Dropped Kind = "dropped" // it is not here, and the finding says why, and what to do instead
	Unknown Kind = "unknown" // it is no setting of the program that is known here
	FillIn  Kind = "fill_in" // a person has to write something before the configuration does what it should
)

// words say the kind to people.
var words = map[Kind]string{Carried: "carried over", Changed: "carried over differently", Dropped: "not carried over", Unknown: "unknown", FillIn: "fill in"}

// Finding says what became of one setting. It never quotes a value that may be a secret.
type Finding struct {
	Line   int    `json:"line"` // 0 if no place in the text is meant
	Column int    `json:"column"`
	Key    string `json:"key"` // as the text has it
	Kind   Kind   `json:"kind"`
	Target string `json:"target,omitempty"` // the key here
	Text   string `json:"text,omitempty"`
	Denies bool   `json:"denies,omitempty"` // people may be kept out who were let in before
}

// Describe returns the finding as one line without its place.
func (f Finding) Describe() string {
	text := words[f.Kind]
	if f.Target != "" && (f.Kind == Carried || f.Kind == Changed) {
		text += " to " + f.Target
	} else if f.Target != "" {
		text += " " + f.Target
	}
	if f.Text != "" {
		text += ": " + f.Text
	}
	if f.Denies {
		text += "; nobody gets in by it"
	}
	if f.Key == "" {
		return text
	}
	return f.Key + ": " + text
}

// place is where a setting stands in the text.
type place struct {
	line, col int
	key       string
}

var plainKey = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^-{0,2}[A-Za-z][A-Za-z0-9_.\[\]/-]{0,99}$`) })

// shownKey returns a key as findings may show it: what stands in the place of a key may be a secret.
func shownKey(key string) string {
	if !plainKey().MatchString(key) {
		return "(not shown)"
	}
	return key
}

func (d *draft) find(at place, kind Kind, target, text string, args ...any) {
	if len(args) > 0 {
		text = fmt.Sprintf(text, args...)
	}
	key := at.key
	if key != "" {
		key = shownKey(key)
	}
	d.findings = append(d.findings, Finding{Line: at.line, Column: at.col, Key: key, Kind: kind, Target: target, Text: text})
}

// deny is find for what keeps people out who were let in before.
func (d *draft) deny(at place, text string, args ...any) {
	d.find(at, Dropped, "", text, args...)
	d.findings[len(d.findings)-1].Denies = true
}

// sortedFindings returns findings in the order of the text; those without a place come last.
func sortedFindings(all []Finding) []Finding {
	slices.SortStableFunc(all, func(a, b Finding) int {
		if (a.Line == 0) != (b.Line == 0) {
			return cmp.Compare(b.Line, a.Line)
		}
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return slices.CompactFunc(all, func(a, b Finding) bool { return a == b })
}
