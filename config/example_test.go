package config_test

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"sallyport/config"
)

// schemaNode is a node of the JSON Schema of the configuration.
type schemaNode struct {
	Properties map[string]*schemaNode
	Items      *schemaNode
}

func loadSchema(t *testing.T) *schemaNode {
	t.Helper()
	data, err := config.Schema()
	if err != nil {
		t.Fatal(err)
	}
	root := new(schemaNode)
	if err := json.Unmarshal(data, root); err != nil {
		t.Fatal(err)
	}
	return root
}

// paths adds the path of every key below n. The conditions of allow and of deny have the same keys, which are counted
// once.
func (n *schemaNode) paths(prefix string, all map[string]bool) {
	for key, child := range n.Properties {
		path := prefix + key
		all[path] = true
		child.paths(mergeConditions(path)+".", all)
	}
	if n.Items != nil {
		n.Items.paths(strings.TrimSuffix(prefix, ".")+"[].", all)
	}
}

// mergeConditions gives allow and deny the same path, and that of requestable too.
func mergeConditions(path string) string {
	path = strings.Replace(path, ".requestable.allow", ".rules[].allow", 1)
	if strings.HasSuffix(path, ".allow") || strings.HasSuffix(path, ".deny") {
		return strings.TrimSuffix(strings.TrimSuffix(path, ".allow"), ".deny") + ".condition"
	}
	return path
}

// commentedKey is the beginning of a line of the example that shows a key that is not in force.
var commentedKey = regexp.MustCompile(`(?m)^( *)#(\S)`)

// completeExample returns the example with every commented key in force.
func completeExample() string {
	return commentedKey.ReplaceAllString(string(config.Example()), "$1$2")
}

// exampleWalk compares the example with the schema, key by key.
type exampleWalk struct {
	t         *testing.T
	lines     []string
	lineOf    map[int]string  // the first key of each line, by its path
	explained map[string]bool // paths with a line of their own and a comment on it
}

func (w *exampleWalk) node(n *yaml.Node, schema *schemaNode, path string) {
	switch n.Kind {
	case yaml.SequenceNode:
		for _, element := range n.Content {
			if schema.Items != nil {
				w.node(element, schema.Items, path+"[]")
			}
		}
	case yaml.MappingNode:
		seen := map[string]bool{}
		for i := 0; i+1 < len(n.Content); i += 2 {
			w.key(n.Content[i], n.Content[i+1], schema, path)
			if key := n.Content[i].Value; seen[key] {
				w.t.Errorf("line %d: %s stands twice", n.Content[i].Line, key)
			}
			seen[n.Content[i].Value] = true
		}
	}
}

func (w *exampleWalk) key(key, value *yaml.Node, schema *schemaNode, path string) {
	inner := strings.TrimPrefix(path+"."+key.Value, ".")
	child := schema.Properties[key.Value]
	if child == nil {
		w.t.Errorf("line %d: the schema has no key %s", key.Line, inner)
		return
	}
	if _, ok := w.lineOf[key.Line]; !ok {
		w.lineOf[key.Line] = inner
		if strings.Contains(w.lines[key.Line-1], " # ") {
			w.explained[inner] = true
		}
	}
	if child.Properties != nil || child.Items != nil { // the keys of a mapping are not in the schema
		w.node(value, child, mergeConditions(inner))
	}
}

// TestExample_ShowsEveryKey: every key of the schema has a line of the example, at its position in the tree and with an
// explanation, in force or commented; and everything that looks like a commented key is a key of the schema.
func TestExample_ShowsEveryKey(t *testing.T) {
	text := completeExample()
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(text), &root); err != nil {
		t.Fatalf("with every comment removed, the example is not YAML: %v", err)
	}
	schema := loadSchema(t)
	w := &exampleWalk{t: t, lines: strings.Split(text, "\n"), lineOf: map[int]string{}, explained: map[string]bool{}}
	w.node(root.Content[0], schema, "")
	want := map[string]bool{}
	schema.paths("", want)
	if len(want) < 110 {
		t.Errorf("only %d keys were looked for", len(want))
	}
	for _, path := range slices.Sorted(maps.Keys(want)) {
		if !w.explained[path] {
			t.Errorf("the example has no line about %s", path)
		}
	}
}

// TestExample_CommentedValuesAreValid: with every commented key in force, the only mistakes are the choices that
// exclude each other.
func TestExample_CommentedValuesAreValid(t *testing.T) {
	path := writeExample(t)
	dir := filepath.Dir(path)
	server := httptest.NewTLSServer(nil)
	defer server.Close()
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	key, err := x509.MarshalPKCS8PrivateKey(server.TLS.Certificates[0].PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	private := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	secret := strings.Repeat("x", 64)
	for name, content := range map[string]string{"secrets/eab": secret, "secrets/front": secret, "secrets/postgres": secret,
		"secrets/webhook": "whsec_" + secret, "webhook-ca.pem": ca, "idp-ca.pem": ca, "issuer-ca.pem": ca, "oauth-ca.pem": ca,
		"secrets/siem": secret, "secrets/logs": "sallyport:" + secret, "siem-ca.pem": ca, "siem.crt": ca, "siem.key": private} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(path, []byte(completeExample()), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = config.Load(path)
	var faults config.Faults
	if !errors.As(err, &faults) {
		t.Fatalf("loading gives %v", err)
	}
	want := []string{
		"listen.proxy_protocol: has no effect, since no proxy is trusted",
		"tls.acme: stands beside files or off",
		"store.postgres: stands beside bolt; remove one of the two",
	}
	for _, f := range faults {
		i := slices.IndexFunc(want, func(text string) bool { return strings.HasPrefix(f.Path+": "+f.Problem, text) })
		if i < 0 {
			t.Error(f)
			continue
		}
		want = slices.Delete(want, i, i+1)
	}
	for _, text := range want {
		t.Errorf("there is no such mistake: %s", text)
	}
}
