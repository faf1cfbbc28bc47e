package importer

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v4"
)

// form is how a setting was written.
type form int

// The forms, each of which outweighs those before it.
const (
	inFile form = iota
	inEnvironment
	inFlag
)

// setting is one setting of a text, with all values that it has there.
type setting struct {
	place
	name   string // of the setting, in one spelling
	values []string
	form   form
	opaque bool       // the value is somewhere else: in a variable, a secret of Kubernetes
	bare   bool       // a flag without a value
	tree   bool       // the value is no text and no list of texts
	node   *yaml.Node // the value in YAML; nil in other texts
}

// value returns the last value.
func (s setting) value() string {
	if len(s.values) == 0 {
		return ""
	}
	return s.values[len(s.values)-1]
}

// list returns the values, each of which may be several behind commas. Blanks stay, since the programs compare them too.
func (s setting) list() (all []string) {
	for _, v := range s.values {
		if v != "" {
			all = append(all, strings.Split(v, ",")...)
		}
	}
	return all
}

// on returns the value of a switch; ok is false if it is none.
func (s setting) on() (on, ok bool) {
	if s.bare {
		return true, true
	}
	on, err := strconv.ParseBool(strings.ToLower(strings.TrimSpace(s.value())))
	return on, err == nil && !s.opaque && !s.tree
}

// isOff reports whether a switch is off.
func (s setting) isOff() bool {
	on, ok := s.on()
	return ok && !on
}

func (s setting) duration() (time.Duration, bool) {
	d, err := time.ParseDuration(strings.TrimSpace(s.value()))
	return d, err == nil && d >= 0 && !s.opaque && !s.tree
}

// templates match values that something puts another value in the place of, before the program reads them.
var templates = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\$\{[A-Za-z_][^}]*\}|\$\([A-Z_][A-Z0-9_]*\)|\$[A-Z_][A-Z0-9_]+\b|\{\{[^{}]*\}\}`)
})

// unwritable match what `sallyport validate` takes for something that nobody has filled in.
var unwritable = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`TENANT[-_]ID|\$\{[A-Za-z_][^}]*\}|\$\([A-Z_][A-Z0-9_]*\)|\{\{[^{}]*\}\}|\w://.*/(?i:tenant[-_]?id)\b|\w://.*\{[A-Za-z_-]+\}|<[A-Za-z][A-Za-z0-9 _-]*>`)
})

// writable reports whether text can stand in a configuration: printable, one line, no template.
func writable(text string) bool {
	return len(text) <= 4096 && !unwritable().MatchString(text) && strings.ToValidUTF8(text, "") == text &&
		!strings.ContainsFunc(text, func(r rune) bool {
			return r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == '\ufeff'
		})
}

// settings are those of a text, by their names.
type settings struct {
	byName map[string]setting
	names  []string // in the order of the text
	count  int
}

// add adds one occurrence of a setting. Of several forms the strongest counts; what is repeated in one form is added up.
func (s *settings) add(d *draft, one setting) {
	if s.count++; s.count > maxSettings {
		return
	}
	if s.byName == nil {
		s.byName = map[string]setting{}
	}
	former, ok := s.byName[one.name]
	switch {
	case !ok:
		s.names = append(s.names, one.name)
		s.byName[one.name] = one
	case one.form > former.form:
		d.find(former.place, Dropped, "", "line %d has it too, and outweighs this", one.line)
		s.byName[one.name] = one
	case one.form < former.form:
		d.find(one.place, Dropped, "", "line %d has it too, and outweighs this", former.line)
	default:
		former.values = append(former.values, one.values...)
		former.opaque, former.tree, former.bare = former.opaque || one.opaque, former.tree || one.tree, one.bare
		s.byName[one.name] = former
	}
}

func (s *settings) get(name string) (setting, bool) {
	one, ok := s.byName[name]
	return one, ok
}

// text returns the value of a setting; "" if it is absent or not to be known.
func (s *settings) text(name string) string {
	if one, ok := s.byName[name]; ok && !one.opaque && !one.tree {
		return one.value()
	}
	return ""
}

// isOn reports whether a switch is on; absent if it is not written, or is not to be known.
func (s *settings) isOn(name string, absent bool) bool {
	if one, ok := s.byName[name]; ok {
		if on, ok := one.on(); ok {
			return on
		}
	}
	return absent
}
