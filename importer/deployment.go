package importer

import (
	"regexp"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v4"
)

// deployment reads the settings of a program from files that start it: Compose, Kubernetes, values of Helm.
type deployment struct {
	image     string // a part of the name of the program's image
	envPrefix string
	text      []string // the lines of the file
	add       func(setting)
	embedded  func(name, text string, first, indent int) // a whole file in a value
	values    map[string]string                          // names of settings by the keys of config in the values of a chart
}

var (
	fileKey = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?i)\.(cfg|toml|ini|conf|env|ya?ml)$|^(configFile|existingConfig)$`)
	})
	commandKeys = []string{"command", "args", "entrypoint"}
	extraKeys   = []string{"extraArgs", "additionalArgs"}
)

// isDeployment reports whether documents start programs, rather than set up one.
func isDeployment(documents []*yaml.Node) bool {
	return slices.ContainsFunc(documents, func(n *yaml.Node) bool {
		return child(n, "services") != nil && child(n, "services").Kind == yaml.MappingNode || child(n, "kind") != nil && child(n, "apiVersion") != nil ||
			child(n, "extraArgs") != nil || child(child(n, "config"), "configFile") != nil || child(n, "image") != nil
	})
}

func (r *deployment) read(n *yaml.Node) {
	if n.Kind == yaml.SequenceNode {
		for _, one := range n.Content {
			r.read(one)
		}
		return
	}
	if image := child(n, "image"); isScalar(image) && !strings.Contains(image.Value, r.image) {
		return // another program
	}
	for _, p := range pairs(n) {
		switch key := p.key.Value; {
		case key == "config" && p.value.Kind == yaml.MappingNode:
			r.chart(p.value)
		case slices.Contains(commandKeys, key):
			r.command(p.value)
		case slices.Contains(extraKeys, key):
			r.extra(p.value)
		case key == "environment" || key == "env" || key == "extraEnv":
			r.environment(p.value)
		case isScalar(p.value) && fileKey().MatchString(key) && strings.Contains(p.value.Value, "\n"):
			r.embedded(key, p.value.Value, p.value.Line+1, r.indentOf(p.value.Line+1))
		default:
			r.read(p.value)
		}
	}
}

// chart reads the settings that values of a chart have by names of their own.
func (r *deployment) chart(n *yaml.Node) {
	for _, p := range pairs(n) {
		if name, ok := r.values[p.key.Value]; ok && isScalar(p.value) {
			s := settingOf(p, name, inEnvironment) // as the chart passes them on
			s.key = "config." + p.key.Value
			r.add(s)
		}
	}
	r.read(n)
}

// indentOf returns how many blanks a line begins with.
func (r *deployment) indentOf(line int) int {
	if line < 1 || line > len(r.text) {
		return 0
	}
	return len(r.text[line-1]) - len(strings.TrimLeft(r.text[line-1], " "))
}

// command reads a command: one text, or a list of words.
func (r *deployment) command(n *yaml.Node) {
	if isScalar(n) {
		first, indent := n.Line, n.Column-1
		if strings.Contains(n.Value, "\n") {
			first, indent = n.Line+1, r.indentOf(n.Line+1)
		}
		lines{envPrefix: "\x00"}.read(n.Value, first, indent, r.add, func(place) {})
		return
	}
	var waiting *setting
	flush := func() {
		if waiting != nil {
			r.add(*waiting)
			waiting = nil
		}
	}
	for _, one := range n.Content {
		m := flagWord().FindStringSubmatch(one.Value)
		switch {
		case m == nil && waiting != nil:
			waiting.values, waiting.bare, waiting.opaque = []string{one.Value}, false, templates().MatchString(one.Value)
			flush()
		case m == nil:
		case strings.Contains(one.Value, "="):
			flush()
			r.add(setting{place: placeOf(one, "--"+m[1]), name: m[1], values: []string{m[2]}, form: inFlag, opaque: templates().MatchString(m[2])})
		default:
			flush()
			waiting = &setting{place: placeOf(one, "--"+m[1]), name: m[1], form: inFlag, bare: true}
		}
	}
	flush()
}

// extra reads flags as charts have them: names with values, or words.
func (r *deployment) extra(n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		r.command(n)
		return
	}
	for _, p := range pairs(n) {
		s := settingOf(p, p.key.Value, inFlag)
		s.bare = isNull(p.value)
		r.add(s)
	}
}

func (r *deployment) environment(n *yaml.Node) {
	for _, p := range pairs(n) {
		r.variable(settingOf(p, p.key.Value, inEnvironment), isNull(p.value))
	}
	if n.Kind != yaml.SequenceNode {
		return
	}
	for _, one := range n.Content {
		if name := child(one, "name"); isScalar(name) {
			value := child(one, "value")
			s := setting{place: placeOf(name, name.Value), name: name.Value, form: inEnvironment}
			s.values, _ = texts(value)
			s.opaque = len(s.values) > 0 && templates().MatchString(s.value())
			r.variable(s, isNull(value))
			continue
		}
		if name, value, ok := strings.Cut(one.Value, "="); one.Kind == yaml.ScalarNode {
			s := setting{place: placeOf(one, name), name: name, values: []string{value}, form: inEnvironment, opaque: templates().MatchString(value)}
			r.variable(s, !ok)
		}
	}
}

// variable adds a variable of the environment. elsewhere reports that its value stands somewhere else.
func (r *deployment) variable(s setting, elsewhere bool) {
	if strings.HasPrefix(s.name, r.envPrefix) {
		s.opaque = s.opaque || elsewhere
		r.add(s)
	}
}
