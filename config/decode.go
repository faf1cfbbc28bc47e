package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// Fault is one thing wrong with a file.
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

// Faults is everything wrong with a file, in the order of its lines.
type Faults []Fault

func (f Faults) Error() string {
	lines := make([]string, len(f))
	for i, one := range f {
		lines[i] = one.String()
	}
	return strings.Join(lines, "\n")
}

// place is where a key or element stands.
type place struct{ line, col int }

// decoder fills settings from YAML nodes, remembering where each came from.
type decoder struct {
	name   string
	places map[string]place
	faults Faults
}

// fault notes a problem with what stands at path, or, where nothing stands
// there, with what it would stand in.
func (d *decoder) fault(path, problem string) {
	d.faultAt(d.placeOf(path), path, problem)
}

func (d *decoder) faultAt(at place, path, problem string) {
	d.faults = append(d.faults, Fault{d.name, at.line, at.col, path, problem})
}

func (d *decoder) placeOf(path string) place {
	for {
		if at, ok := d.places[path]; ok {
			return at
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut <= 0 {
			return place{1, 1}
		}
		path = path[:cut]
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

// document decodes the one document of data into v and says whether it was YAML
// at all.
func (d *decoder) document(data []byte, v reflect.Value) bool {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var root, second yaml.Node
	err := dec.Decode(&root)
	if errors.Is(err, io.EOF) || err == nil && len(root.Content) == 0 {
		d.faultAt(place{1, 1}, "", "the file is empty; `sallyport config example` prints one to begin with")
		return false
	}
	if err != nil {
		d.faultAt(place{lineOf(err), 1}, "", "is not YAML: "+strings.TrimPrefix(err.Error(), "yaml: "))
		return false
	}
	if err := dec.Decode(&second); err == nil || !errors.Is(err, io.EOF) {
		at := place{1, 1}
		if len(second.Content) > 0 {
			at = place{second.Content[0].Line, second.Content[0].Column}
		}
		d.faultAt(at, "", "a second document begins here; write one document, without ---")
	}
	d.value(root.Content[0], v, "")
	return true
}

var lineForm = regexp.MustCompile(`line (\d+)`)

func lineOf(err error) int {
	if m := lineForm.FindStringSubmatch(err.Error()); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			return n
		}
	}
	return 1
}

var unmarshaler = reflect.TypeFor[yaml.Unmarshaler]()

// value decodes a node into v, which stands at path.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string) {
	at := place{n.Line, n.Column}
	if path != "" {
		d.places[path] = at
	}
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		d.faultAt(at, path, "anchors and aliases are not taken; write the value out")
		return
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		return // as if it were not there
	case v.CanAddr() && v.Addr().Type().Implements(unmarshaler):
		if err := v.Addr().Interface().(yaml.Unmarshaler).UnmarshalYAML(n); err != nil {
			d.faultAt(at, path, "must be one text or a list of texts")
		}
		d.elements(n, path)
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
	default:
		d.scalar(n, v, path)
	}
}

// elements remembers where the elements of a list stand.
func (d *decoder) elements(n *yaml.Node, path string) {
	if n.Kind == yaml.SequenceNode {
		for i, one := range n.Content {
			d.places[fmt.Sprintf("%s[%d]", path, i)] = place{one.Line, one.Column}
		}
	}
}

func (d *decoder) object(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.MappingNode {
		d.faultAt(place{n.Line, n.Column}, path, "must have keys of its own: "+strings.Join(keysOf(v.Type()), ", "))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		at := place{key.Line, key.Column}
		inner := join(path, key.Value)
		if path == "" {
			inner = key.Value
		}
		if line, twice := seen[key.Value]; twice {
			d.faultAt(at, inner, fmt.Sprintf("stands in line %d already; write it once", line))
			continue
		}
		seen[key.Value] = key.Line
		field, ok := fieldOf(v, key.Value)
		if !ok {
			d.faultAt(at, inner, "is no key here; "+suggest(key.Value, keysOf(v.Type())))
			continue
		}
		d.value(value, field, inner)
	}
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, path string) {
	if n.Kind != yaml.SequenceNode {
		d.faultAt(place{n.Line, n.Column}, path, "must be a list; write it in [ ], or each element after a dash")
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, one := range n.Content {
		d.value(one, list.Index(i), fmt.Sprintf("%s[%d]", path, i))
	}
	v.Set(list)
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string) {
	want := map[reflect.Kind]string{reflect.String: "a text", reflect.Bool: "true or false", reflect.Int: "a whole number"}[v.Kind()]
	if v.Type() == reflect.TypeFor[time.Duration]() {
		want = "a time such as 90s, 10m or 12h"
	}
	bad := n.Kind != yaml.ScalarNode
	if !bad && v.Kind() == reflect.String {
		v.SetString(n.Value)
		return
	}
	if bad || n.Decode(v.Addr().Interface()) != nil {
		d.faultAt(place{n.Line, n.Column}, path, "must be "+want)
	}
}

// fieldOf finds the field of a key, in inlined structs too.
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

func keyOf(f reflect.StructField) (name string, inline bool) {
	name, option, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if name == "-" {
		name = ""
	}
	return name, option == "inline"
}

func keysOf(t reflect.Type) (keys []string) {
	for i := range t.NumField() {
		name, inline := keyOf(t.Field(i))
		if inline {
			keys = append(keys, keysOf(t.Field(i).Type)...)
		} else if name != "" {
			keys = append(keys, name)
		}
	}
	return keys
}

// suggest is what to write instead of an unknown key.
func suggest(key string, known []string) string {
	best, least := "", 4
	for _, k := range known {
		if n := distance(key, k); n < least {
			best, least = k, n
		}
	}
	if best != "" {
		return "write " + best
	}
	return "the keys here are " + strings.Join(known, ", ")
}

// distance is how many letters must be put in, taken out or changed.
func distance(a, b string) int {
	if len(a) > 64 {
		return len(a)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
