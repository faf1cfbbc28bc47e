package manifests_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"sallyport/charts/manifests"
)

// value is one entry of values.yaml.
type value struct {
	path, preset, comment string
	leaf                  bool // whether the chart says nothing of what is in it
}

// values reads values.yaml with its comments.
func values(t *testing.T) []value {
	t.Helper()
	text, err := os.ReadFile(manifests.Chart + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	return below(t, "", document.Content[0])
}

func below(t *testing.T, prefix string, node *yaml.Node) []value {
	t.Helper()
	var found []value
	for i := 0; i < len(node.Content); i += 2 {
		key, content := node.Content[i], node.Content[i+1]
		comment := key.HeadComment
		if at := strings.LastIndex(comment, "\n\n"); at >= 0 {
			comment = comment[at+2:]
		}
		v := value{path: prefix + key.Value, comment: strings.Join(strings.Fields(regexp.MustCompile(`(?m)^# ?`).ReplaceAllString(comment, "")), " "), leaf: true}
		if content.Kind == yaml.MappingNode && content.Style&yaml.FlowStyle == 0 {
			v.leaf = false
			found = append(found, v)
			found = append(found, below(t, v.path+".", content)...)
			continue
		}
		var decoded any
		if err := content.Decode(&decoded); err != nil {
			t.Fatal(err)
		}
		preset, err := json.Marshal(decoded)
		if err != nil {
			t.Fatal(err)
		}
		v.preset = string(preset)
		found = append(found, v)
	}
	return found
}

// TestValues_AreDocumented: each value has a comment, from which the table in the README is made.
func TestValues_AreDocumented(t *testing.T) {
	var table strings.Builder
	table.WriteString("| value | default | |\n|---|---|---|\n")
	for _, v := range values(t) {
		if v.comment == "" && v.leaf {
			t.Errorf("%s has no comment in values.yaml", v.path)
		}
		if !v.leaf && v.comment == "" {
			continue
		}
		preset := ""
		if v.leaf {
			preset = "`" + v.preset + "`"
		}
		table.WriteString("| `" + v.path + "` | " + preset + " | " + strings.ReplaceAll(v.comment, "|", `\|`) + " |\n")
	}
	const begin, end = "<!-- This table is made from values.yaml by UPDATE=1 ./test.sh chart. -->\n\n", "\n<!-- end of the table -->"
	file := manifests.Chart + "/README.md"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	old, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		t.Fatal("README.md does not say where the table of values begins and ends")
	}
	if old == table.String() {
		return
	}
	if os.Getenv("UPDATE") == "" {
		t.Fatal("the table of values in README.md is not that of values.yaml; run UPDATE=1 ./test.sh chart")
	}
	if err := os.WriteFile(file, []byte(before+begin+table.String()+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

type schema struct {
	Ref                  string            `json:"$ref"`
	Type                 any               `json:"type"`
	AdditionalProperties json.RawMessage   `json:"additionalProperties"`
	Properties           map[string]schema `json:"properties"`
	Items                *schema           `json:"items"`
	Definitions          map[string]schema `json:"definitions"`
}

func readSchema(t *testing.T) schema {
	t.Helper()
	text, err := os.ReadFile(manifests.Chart + "/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var root schema
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	return root
}

func (s schema) resolve(root schema) schema {
	if name, ok := strings.CutPrefix(s.Ref, "#/definitions/"); ok {
		return root.Definitions[name]
	}
	return s
}

// TestSchema_KnowsEveryValue: the schema has the values of values.yaml, and no others.
func TestSchema_KnowsEveryValue(t *testing.T) {
	root := readSchema(t)
	known := map[string]bool{}
	all := values(t)
	for _, v := range all {
		s := root
		for name := range strings.SplitSeq(v.path, ".") {
			next, ok := s.Properties[name]
			if !ok {
				t.Errorf("values.schema.json does not know %s", v.path)
				break
			}
			s = next.resolve(root)
		}
		known[v.path] = true
	}
	var walk func(prefix string, s schema)
	walk = func(prefix string, s schema) {
		for name, property := range s.Properties {
			path := prefix + name
			if path == "global" { // Helm's own
				continue
			}
			if !known[path] {
				t.Errorf("values.yaml does not have %s", path)
			}
			if i := slices.IndexFunc(all, func(v value) bool { return v.path == path }); i >= 0 && !all[i].leaf {
				if !walked(property.resolve(root)) {
					t.Errorf("values.schema.json accepts anything below %s", path)
				}
				walk(path+".", property.resolve(root))
			}
		}
	}
	walk("", root)
}

func walked(s schema) bool {
	return string(s.AdditionalProperties) == "false" && len(s.Properties) > 0
}

// handedOn are objects that the chart hands on to Kubernetes as they are, whose fields the cluster checks.
var handedOn = []string{"global", "podSelector", "namespaceSelector", "nodeAffinity", "podAffinity", "podAntiAffinity", "labelSelector",
	"valueFrom", "configMapRef", "secretRef", "relabelings", "named", "containers"}

// TestSchema_RejectsUnknownValues: an object without a list of its keys is one of those that are handed on.
func TestSchema_RejectsUnknownValues(t *testing.T) {
	root := readSchema(t)
	var walk func(name string, s schema)
	walk = func(name string, s schema) {
		if s.Type == "object" && len(s.AdditionalProperties) == 0 && !slices.Contains(handedOn, name) {
			t.Errorf("%s accepts keys that nobody knows", name)
		}
		for name, property := range s.Properties {
			walk(name, property)
		}
		if s.Items != nil {
			walk(name, *s.Items)
		}
		for name, definition := range s.Definitions {
			walk(name, definition)
		}
	}
	walk("the root", root)
}
