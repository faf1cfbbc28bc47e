package schema

import (
	"slices"
	"strings"
	"unicode"
)

// nameSet is a set of names in which names that differ in case alone are equal. A small one needs no map.
type nameSet struct {
	few  []string
	many map[string]bool // nil as long as few suffices
}

const maxFewNames = 16

// add adds a name. It reports whether the set did not have it.
func (s *nameSet) add(name string) bool {
	if s.many == nil {
		if slices.ContainsFunc(s.few, func(other string) bool { return strings.EqualFold(other, name) }) {
			return false
		}
		if len(s.few) < maxFewNames {
			s.few = append(s.few, name)
			return true
		}
		s.many = map[string]bool{}
		for _, other := range s.few {
			s.many[foldName(other)] = true
		}
	}
	name = foldName(name)
	if s.many[name] {
		return false
	}
	s.many[name] = true
	return true
}

// foldName returns the same text for names that strings.EqualFold calls equal.
func foldName(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, name)
}
