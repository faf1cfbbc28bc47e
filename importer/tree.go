package importer

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v4"
)

// Bounds of a YAML text: aliases can make a small text a large one.
const (
	maxDepth = 50
	maxNodes = 50_000
)

var errTooLarge = errors.New("is too large once its aliases are written out")

// readYAML returns the documents of a YAML text, with aliases and merges written out.
func readYAML(text string) (documents []*yaml.Node, err error) {
	defer func() {
		if recover() != nil {
			documents, err = nil, errors.New("is not YAML")
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader([]byte(text)))
	budget := maxNodes
	for len(documents) < 200 {
		var root yaml.Node
		if err := dec.Decode(&root); errors.Is(err, io.EOF) {
			return documents, nil
		} else if err != nil {
			return nil, fmt.Errorf("is not YAML (line %d)", yamlLine(err))
		}
		if len(root.Content) == 0 {
			continue
		}
		document, err := written(root.Content[0], &budget, 0)
		if err != nil {
			return nil, err
		}
		documents = append(documents, document)
	}
	return documents, nil
}

// yamlLine returns the line that an error names. The error itself may quote the text.
func yamlLine(err error) int {
	line := 1
	if _, after, ok := strings.Cut(err.Error(), "line "); ok {
		_, _ = fmt.Sscanf(after, "%d", &line)
	}
	return line
}

// written returns a copy of a node without aliases and merges.
func written(n *yaml.Node, budget *int, depth int) (*yaml.Node, error) {
	if *budget--; *budget < 0 || depth > maxDepth {
		return nil, errTooLarge
	}
	if n.Kind == yaml.AliasNode {
		if n.Alias == nil {
			return nil, errors.New("has an alias that leads nowhere")
		}
		target, err := written(n.Alias, budget, depth+1)
		if err != nil {
			return nil, err
		}
		target.Line, target.Column = n.Line, n.Column
		return target, nil
	}
	c := *n
	c.Content, c.Anchor, c.Alias = nil, "", nil
	for i := 0; i < len(n.Content); i++ {
		if n.Kind == yaml.MappingNode && i%2 == 0 && n.Content[i].Tag == "!!merge" && i+1 < len(n.Content) {
			merged, err := written(n.Content[i+1], budget, depth+1)
			if err != nil {
				return nil, err
			}
			merge(&c, n, merged)
			i++
			continue
		}
		child, err := written(n.Content[i], budget, depth+1)
		if err != nil {
			return nil, err
		}
		c.Content = append(c.Content, child)
	}
	return &c, nil
}

// merge adds the keys of merged, or of each of its elements, that neither n nor c has.
func merge(c, n, merged *yaml.Node) {
	if merged.Kind == yaml.SequenceNode {
		for _, one := range merged.Content {
			merge(c, n, one)
		}
		return
	}
	for _, p := range pairs(merged) {
		if child(n, p.key.Value) == nil && child(c, p.key.Value) == nil {
			c.Content = append(c.Content, p.key, p.value)
		}
	}
}

type pair struct{ key, value *yaml.Node }

// pairs returns the keys of a mapping with their values.
func pairs(n *yaml.Node) (all []pair) {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		all = append(all, pair{n.Content[i], n.Content[i+1]})
	}
	return all
}

// child returns the value of a key; nil if there is none.
func child(n *yaml.Node, key string) *yaml.Node {
	for _, p := range pairs(n) {
		if p.key.Value == key {
			return p.value
		}
	}
	return nil
}

func isScalar(n *yaml.Node) bool { return n != nil && n.Kind == yaml.ScalarNode && n.Tag != "!!null" }

func isNull(n *yaml.Node) bool { return n == nil || n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// texts returns the texts of a scalar or of a list of scalars.
func texts(n *yaml.Node) (all []string, ok bool) {
	switch {
	case isNull(n):
		return nil, true
	case n.Kind == yaml.ScalarNode:
		return []string{n.Value}, true
	case n.Kind != yaml.SequenceNode:
		return nil, false
	}
	for _, one := range n.Content {
		if one.Kind != yaml.ScalarNode {
			return nil, false
		}
		all = append(all, one.Value)
	}
	return all, true
}

// settingOf returns a key of a mapping as a setting.
func settingOf(p pair, name string, form form) setting {
	s := setting{place: placeOf(p.key, p.key.Value), name: name, form: form}
	values, ok := texts(p.value)
	s.values, s.tree = values, !ok
	s.opaque = len(values) > 0 && templates().MatchString(s.value())
	return s
}

func placeOf(n *yaml.Node, key string) place { return place{n.Line, n.Column, key} }
