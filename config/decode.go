package config

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.yaml.in/yaml/v4"

	"sallyport/policy"
)

// Fault is one mistake in a file.
type Fault struct {
	File      string
	Line, Col int
	Path      string // of keys, such as routes[0].host
	Problem   string
}

func (f Fault) String() string {
	if f.Path == "" {
		return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Line, f.Col, f.Problem)
	}
	return fmt.Sprintf("%s:%d:%d: %s: %s", f.File, f.Line, f.Col, f.Path, f.Problem)
}

// Faults are all mistakes in a file, in the order of its lines.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, fault := range f {
		lines[i] = fault.String()
	}
	return strings.Join(lines, "\n")
}

// position is where a key or an element begins in the file.
type position struct{ line, col int }

var start = position{1, 1}

func positionOf(n *yaml.Node) position { return position{n.Line, n.Column} }

// decoder decodes YAML nodes into settings, and remembers the position of each by its path.
type decoder struct {
	name      string // of the file
	positions map[string]position
	faults    Faults
}

// fault adds a problem with the value at path. If the file has no such value, the position is that of the nearest
// value that contains it.
func (d *decoder) fault(path, problem string) {
	d.faultAt(d.nearestPosition(path), path, problem)
}

func (d *decoder) faultAt(pos position, path, problem string) {
	d.faults = append(d.faults, Fault{d.name, pos.line, pos.col, path, problem})
}

func (d *decoder) nearestPosition(path string) position {
	for {
		if pos, ok := d.positions[path]; ok {
			return pos
		}
		end := strings.LastIndexAny(path, ".[")
		if end <= 0 {
			return start
		}
		path = path[:end]
	}
}

func (d *decoder) sorted() Faults {
	slices.SortStableFunc(d.faults, func(a, b Fault) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Col - b.Col
	})
	return d.faults
}

// document decodes the one document in data into v. It reports whether data is a YAML document at all.
func (d *decoder) document(data []byte, v reflect.Value) bool {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var root, second yaml.Node
	err := dec.Decode(&root)
	if errors.Is(err, io.EOF) || err == nil && len(root.Content) == 0 {
		d.faultAt(start, "", "the file is empty; `sallyport config example` prints one to start with")
		return false
	}
	if err != nil {
		d.faultAt(position{lineOf(err), 1}, "", "is not YAML: "+strings.TrimPrefix(err.Error(), "yaml: "))
		return false
	}
	if err := dec.Decode(&second); err == nil || !errors.Is(err, io.EOF) {
		pos := start
		if len(second.Content) > 0 {
			pos = positionOf(second.Content[0])
		}
		d.faultAt(pos, "", "a second document begins here; write one document, without ---")
	}
	d.value(root.Content[0], v, "")
	return true
}

var linePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`line (\d+)`) })

// lineOf returns the line that a YAML error names, or 1.
func lineOf(err error) int {
	if m := linePattern().FindStringSubmatch(err.Error()); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			return n
		}
	}
	return 1
}

var unmarshaler = reflect.TypeFor[yaml.Unmarshaler]()

// value decodes n, the value at path, into v.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	pos := positionOf(n)
	if path != "" {
		d.positions[path] = pos
	}
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		d.faultAt(pos, path, "anchors and aliases are not supported; write the value out")
		return
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return // as if the key were absent
	case v.CanAddr() && v.Addr().Type().Implements(unmarshaler):
		if err := v.Addr().Interface().(yaml.Unmarshaler).UnmarshalYAML(n); err != nil {
			d.faultAt(pos, path, "must be a text or a list of texts")
		}
		d.rememberElements(n, path)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		d.value(n, v.Elem(), path)
	case reflect.Struct:
		d.object(n, v, path)
	case reflect.Slice:
		d.list(n, v, path)
	case reflect.Map:
		d.mapping(n, v, path)
	default:
		d.scalar(n, v, path)
	}
}

// rememberElements remembers the positions of the elements of a list.
func (d *decoder) rememberElements(n *yaml.Node, path string) {
	if n.Kind == yaml.SequenceNode {
		for i, element := range n.Content {
			d.positions[fmt.Sprintf("%s[%d]", path, i)] = positionOf(element)
		}
	}
}

func (d *decoder) object(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.faultAt(positionOf(n), path, "must have keys of its own: "+strings.Join(keysOf(v.Type()), ", "))
		return
	}
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		pos := positionOf(key)
		inner := join(path, key.Value)
		if path == "" {
			inner = key.Value
		}
		if line, ok := lines[key.Value]; ok {
			d.faultAt(pos, inner, fmt.Sprintf("is already in line %d; write it once", line))
			continue
		}
		lines[key.Value] = key.Line
		field, ok := fieldOf(v, key.Value)
		if !ok {
			d.faultAt(pos, inner, "is not a key here; "+suggest(key.Value, keysOf(v.Type())))
			continue
		}
		d.value(value, field, inner)
	}
}

// mapping decodes a mapping whose keys are not known beforehand.
func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.faultAt(positionOf(n), path, "must have keys of its own, each with a value")
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	lines := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, element := n.Content[i], reflect.New(v.Type().Elem()).Elem()
		inner := join(path, key.Value)
		if line, ok := lines[key.Value]; ok {
			d.faultAt(positionOf(key), inner, fmt.Sprintf("is already in line %d; write it once", line))
			continue
		}
		lines[key.Value] = key.Line
		d.value(n.Content[i+1], element, inner)
		v.SetMapIndex(reflect.ValueOf(key.Value), element)
	}
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.faultAt(positionOf(n), path, "must be a list; write it in [ ], or each element after a dash")
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, element := range n.Content {
		d.value(element, list.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
	v.Set(list)
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	want := map[reflect.Kind]string{reflect.String: "a text", reflect.Bool: "true or false", reflect.Int: "a whole number", reflect.Int64: "one text or number"}[v.Kind()]
	if v.Type() == reflect.TypeFor[time.Duration]() {
		want = "a duration such as 90s, 10m or 12h"
	}
	isScalar := n.Kind == yaml.ScalarNode
	if text, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok && isScalar {
		if err := text.UnmarshalText([]byte(n.Value)); err != nil {
			d.faultAt(positionOf(n), path, err.Error())
		}
		return
	}
	if isScalar && v.Kind() == reflect.String {
		v.SetString(n.Value)
		return
	}
	if !isScalar || n.Decode(v.Addr().Interface()) != nil {
		d.faultAt(positionOf(n), path, "must be "+want)
	}
}

// fieldOf returns the field of v for key, which may be a field of an inlined struct.
func fieldOf(v reflect.Value, key string) (reflect.Value, bool) {
	for i := range v.NumField() {
		name, inline := keyOf(v.Type().Field(i))
		if inline {
			if field, ok := fieldOf(v.Field(i), key); ok {
				return field, true
			}
		}
		if name == key && name != "" {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

// keyOf returns the key of a field, or "" if it has none. inline reports whether the keys of the field's own fields
// stand in its place.
func keyOf(f reflect.StructField) (name string, inline bool) {
	name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if name == "-" {
		name = ""
	}
	return name, option == "inline"
}

// keysOf returns the keys of a struct.
func keysOf(t reflect.Type) (keys []string) {
	for field := range t.Fields() {
		name, inline := keyOf(field)
		if inline {
			keys = append(keys, keysOf(field.Type)...)
		} else if name != "" {
			keys = append(keys, name)
		}
	}
	return keys
}

// suggest returns what to write instead of an unknown key: the most similar of the known keys, or all of them.
func suggest(key string, known []string) string {
	const typos = 3
	if best := policy.Nearest(key, known, typos); best != "" {
		return "write " + best
	}
	return "the keys here are " + strings.Join(known, ", ")
}
