package config

import (
	"bytes"
	"reflect"

	"go.yaml.in/yaml/v4"
)

// Salvage is [Load] for commands that must reach the running server although the file has mistakes. Beside the error of
// Load, it returns the settings that could be read; the others have their defaults. Nothing may be put in force from
// them. The settings are nil if the file itself cannot be read.
func Salvage(path string) (*File, error) {
	data, dir, err := read(path)
	if err != nil {
		return nil, err
	}
	f, faults, isYAML := decode(path, dir, data)
	if len(faults) == 0 {
		return f, nil
	}
	if !isYAML {
		f = defaults()
		for _, section := range sections(data) {
			d := &decoder{name: path, positions: map[string]position{}}
			d.document(section, reflect.ValueOf(f).Elem())
		}
		makeAbsolute(reflect.ValueOf(f).Elem(), dir)
	}
	return f, faults
}

// sections splits a file that is not YAML as a whole into its keys of the first column, each with the lines below it,
// and returns those that are YAML.
func sections(data []byte) (sound [][]byte) {
	var section []byte
	add := func() {
		if err := yaml.Unmarshal(section, new(yaml.Node)); err == nil && len(bytes.TrimSpace(section)) > 0 {
			sound = append(sound, section)
		}
		section = nil
	}
	for line := range bytes.Lines(data) {
		if beginsKey(line) {
			add()
		}
		section = append(section, line...)
	}
	add()
	return sound
}

func beginsKey(line []byte) bool {
	c := line[0]
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
