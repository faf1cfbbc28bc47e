package config

import (
	"fmt"
	"reflect"
	"regexp"

	"go.yaml.in/yaml/v4"
)

// Validate is [Load] for those who are about to put the file in force. It finds more: what the files that it names hold,
// and placeholders that nobody has replaced.
func Validate(path string) (*File, error) {
	data, dir, err := read(path)
	if err != nil {
		return nil, err
	}
	d := &decoder{name: path, positions: map[string]position{}}
	f := defaults()
	if d.document(data, reflect.ValueOf(f).Elem()) {
		makeAbsolute(reflect.ValueOf(f).Elem(), dir)
		f.check(d.fault)
		if len(d.faults) == 0 { // files that cannot be read are reported already
			f.TLS.CheckFiles(func(path, problem string) { d.fault(join("tls", path), problem) })
		}
		d.findPlaceholders(data)
	}
	if len(d.faults) > 0 {
		return nil, d.sorted()
	}
	return f, nil
}

// placeholder matches what is meant to be replaced before the file is used.
var placeholder = regexp.MustCompile(`TENANT-ID|\$\{[A-Za-z_][^}]*\}`)

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
		if found := placeholder.FindString(n.Value); found != "" {
			d.faultAt(positionOf(n), "", fmt.Sprintf("%s is left in; write the value itself, since nothing is put in its place when the file is read", found))
		}
	}
	for _, child := range n.Content {
		d.findPlaceholdersIn(child)
	}
}
