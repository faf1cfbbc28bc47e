package audit

import (
	"fmt"
	"regexp"
	"slices"
	"sync"
)

// Term is a word that events use, and what it means.
type Term struct{ Name, Meaning string }

// Description says what events of a kind tell.
type Description struct {
	Kind    Kind
	Meaning string
	Fields  []string // that such an event may have beside time, kind, replica and reason, as in JSON
	Reasons []Term   // "" is an event without a reason
	Details []Term   // keys of detail; # stands for a number
}

// Catalogue describes every kind of event. No other event is written; docs/audit.md is made from it.
func Catalogue() []Description { return catalogue }

// Fields returns what the fields of an event mean, beside time, kind and reason.
func Fields() []Term { return fields }

// Actors returns what the kinds of actors mean.
func Actors() []Term { return actors }

// Describe returns the description of a kind.
func Describe(kind Kind) (Description, bool) {
	i := slices.IndexFunc(catalogue, func(d Description) bool { return d.Kind == kind })
	if i < 0 {
		return Description{}, false
	}
	return catalogue[i], true
}

// Check returns an error if the catalogue does not describe e.
func (e Event) Check() error {
	d, ok := Describe(e.Kind)
	if !ok {
		return fmt.Errorf("the catalogue has no kind %q", e.Kind)
	}
	fault := func(what, name string) error {
		return fmt.Errorf("an event of the kind %s (reason %q) has the %s %q, which the catalogue does not have: add it to audit/catalogue_kinds.go", e.Kind, e.Reason, what, name)
	}
	if !has(d.Reasons, e.Reason) {
		return fault("reason", e.Reason)
	}
	if e.Actor != (Actor{}) && !has(actors, string(e.Actor.Kind)) {
		return fault("kind of actor", string(e.Actor.Kind))
	}
	for name := range e.Detail {
		if !has(d.Details, digits().ReplaceAllString(name, "#")) {
			return fault("detail", name)
		}
	}
	for _, name := range e.present() {
		if !slices.Contains(d.Fields, name) {
			return fault("field", name)
		}
	}
	return nil
}

// digits is the number at the end of a key of detail, of several that mean the same.
var digits = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`[0-9]+$`) })

func has(terms []Term, name string) bool {
	return slices.ContainsFunc(terms, func(t Term) bool { return t.Name == name })
}

// present returns the names of the fields that e has, beside time, kind, replica and reason.
func (e Event) present() (names []string) {
	for _, f := range []struct {
		name string
		has  bool
	}{
		{"actor", e.Actor != Actor{}}, {"request", e.Request != ""}, {"user", e.User != ""}, {"user_name", e.UserName != ""},
		{"group", e.Group != ""}, {"session", e.Session != ""}, {"route", e.Route != ""}, {"host", e.Host != ""},
		{"method", e.Method != ""}, {"path", e.Path != ""}, {"address", e.Address != ""}, {"code", e.Code != 0},
		{"decision", e.Decision != ""}, {"rule", e.Rule != ""}, {"rev", e.Revision != 0}, {"detail", len(e.Detail) > 0},
	} {
		if f.has {
			names = append(names, f.name)
		}
	}
	return names
}
