package config

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v4"
)

// LoadToServe is [Load] for a server that starts. Its error names all that would keep the server from starting for a
// reason that lies in the file, or in the files and addresses that the file names.
func LoadToServe(path string) (*File, error) {
	f, d, data, err := readToServe(path)
	if err != nil {
		return nil, err
	}
	if len(d.faults) > 0 {
		return nil, d.sorted()
	}
	f.Text = data
	return f, nil
}

// Validate is [LoadToServe] for those who are about to put the file in force. It also finds placeholders that nobody has
// replaced, and warns of what is allowed but may not be meant.
func Validate(path string) (f *File, warnings Faults, err error) {
	f, d, data, err := readToServe(path)
	if err != nil {
		return nil, nil, err
	}
	d.findPlaceholders(data)
	if len(d.faults) > 0 {
		return nil, nil, d.sorted()
	}
	f.warn(func(path, other, problem string) {
		if other != "" {
			problem = fmt.Sprintf("%s (%s is in line %d)", problem, other, d.nearestPosition(other).line)
		}
		d.fault(path, problem)
	})
	return f, d.sorted(), nil
}

// ValidateWithoutFiles is [Validate] where the files that the configuration names are not there, such as where it is
// reviewed. Nothing is said of what they hold.
func ValidateWithoutFiles(path string) (f *File, err error) {
	data, dir, err := read(path)
	if err != nil {
		return nil, err
	}
	f, d, _ := decodeInto(path, dir, data)
	d.findPlaceholders(data)
	named := map[string]bool{}
	for _, file := range f.files() {
		named[file.key] = true
	}
	if faults := slices.DeleteFunc(d.sorted(), func(fault Fault) bool { return named[fault.Path] }); len(faults) > 0 {
		return nil, faults
	}
	return f, nil
}

// readToServe reads the file at path. The decoder has the faults.
func readToServe(path string) (f *File, d *decoder, data []byte, err error) {
	data, dir, err := read(path)
	if err != nil {
		return nil, nil, nil, err
	}
	d, f = &decoder{name: path, positions: map[string]position{}}, defaults()
	if d.document(data, reflect.ValueOf(f).Elem()) {
		makeAbsolute(reflect.ValueOf(f).Elem(), dir)
		f.check(d.fault)
		d.checkStart(f)
	}
	return f, d, data, nil
}

// placeholders match what is meant to be replaced before the file is used: by a person, a shell, Kubernetes or a template.
var placeholders = sync.OnceValue(func() []*regexp.Regexp {
	return []*regexp.Regexp{
		regexp.MustCompile(`TENANT[-_]ID`),
		regexp.MustCompile(`\$\{[A-Za-z_][^}]*\}|\$\([A-Z_][A-Z0-9_]*\)|\{\{[^{}]*\}\}`),
		regexp.MustCompile(`\w://.*/(?i:tenant[-_]?id)\b|\w://.*\{[A-Za-z_-]+\}|<[A-Za-z][A-Za-z0-9 _-]*>`),
	}
})

// findPlaceholders reports every value that still holds a placeholder.
func (d *decoder) findPlaceholders(data []byte) {
	var root yaml.Node
	if err := yaml.Unmarshal(data, &root); err != nil {
		return // reported already
	}
	d.findPlaceholdersIn(&root)
}

func (d *decoder) findPlaceholdersIn(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		value := strings.Replace(n.Value, "://{label}.", "://label.", 1) // of an upstream, whose host is a wildcard
		for _, p := range placeholders() {
			if found := p.FindString(value); found != "" {
				d.faultAt(positionOf(n), "", fmt.Sprintf("%s is left in; write the value itself, since nothing is put in its place when the file is read", found))
				break
			}
		}
	}
	for _, child := range n.Content {
		d.findPlaceholdersIn(child)
	}
}
