package importer

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"
)

// readTOML calls add for each setting of a TOML text. The keys of tables are joined by dots.
func readTOML(text string, first int, add func(setting)) (err error) {
	defer func() {
		if recover() != nil { // the parser's nodes are used while they are valid; a fault in it must not end the program
			err = errors.New("is not TOML")
		}
	}()
	var p unstable.Parser
	p.Reset([]byte(text))
	table := ""
	for p.NextExpression() {
		e := p.Expression()
		switch e.Kind {
		case unstable.Table, unstable.ArrayTable:
			table, _ = keyOf(&p, e)
			table += "."
		case unstable.KeyValue:
			key, offset := keyOf(&p, e)
			s := setting{name: table + key, form: inFile}
			s.line, s.col = positionIn(text, offset)
			s.key, s.line = table+key, s.line+first-1
			s.values, s.tree = tomlValues(e.Value())
			s.opaque = len(s.values) > 0 && templates().MatchString(s.value())
			add(s)
		default:
		}
	}
	if err := p.Error(); err != nil {
		line := first
		if fault := new(unstable.ParserError); errors.As(err, &fault) && len(fault.Highlight) > 0 {
			n, _ := positionIn(text, int(p.Range(fault.Highlight).Offset))
			line += n - 1
		}
		return fmt.Errorf("is not TOML at line %d; oauth2-proxy reads key = \"value\", with texts in quotes", line)
	}
	return nil
}

func keyOf(p *unstable.Parser, e *unstable.Node) (key string, offset int) {
	var parts []string
	offset = -1
	for it := e.Key(); it.Next(); {
		if offset < 0 {
			offset = int(it.Node().Raw.Offset)
			if it.Node().Raw.Length == 0 {
				offset = int(p.Range(it.Node().Data).Offset)
			}
		}
		parts = append(parts, string(it.Node().Data))
	}
	return strings.Join(parts, "."), max(offset, 0)
}

// tomlValues returns the texts of a value. tree reports whether it is no text and no list of texts.
func tomlValues(n *unstable.Node) (values []string, tree bool) {
	switch n.Kind {
	case unstable.Array:
		for it := n.Children(); it.Next(); {
			inner, isTree := tomlValues(it.Node())
			if isTree || it.Node().Kind == unstable.Array {
				return nil, true
			}
			values = append(values, inner...)
		}
		return values, false
	case unstable.InlineTable:
		return nil, true
	}
	return []string{string(n.Data)}, false
}

// positionIn returns line and column of a byte of text.
func positionIn(text string, offset int) (line, col int) {
	offset = min(max(offset, 0), len(text))
	before := []byte(text[:offset])
	return 1 + bytes.Count(before, []byte("\n")), offset - bytes.LastIndexByte(before, '\n')
}
