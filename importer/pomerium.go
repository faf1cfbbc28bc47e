package importer

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"
)

// pomerium is a configuration of Pomerium while it is read.
type pomerium struct {
	*draft
	settings

	sources     []pomeriumRoute
	certs       string          // why clients need certificates; "" if they do not
	closed      bool            // something restricts access that cannot be expressed
	byAddress   bool            // rules may ask for the client's address
	passHeaders bool            // identity headers are passed unless a route says otherwise
	passed      identityHeaders // those that are passed
	timeout     setting
	responseSet []headerValue
}

func importPomerium(d *draft, text []byte) error {
	p := &pomerium{draft: d, byAddress: true}
	if err := p.read(string(text)); err != nil {
		return err
	}
	for _, name := range p.names {
		s := p.byName[name]
		if !take(d, p, name, s, pomeriumKeys, pomeriumDropped) {
			p.unknown(s.place, name, &p.closed)
		}
	}
	if len(p.names)+len(p.sources) > 0 {
		p.finish()
	}
	return nil
}

// unknown reports a setting that is not known. One that may restrict access closes what it is about.
func (p *pomerium) unknown(at place, name string, closed *bool) {
	if mayRestrict(name) {
		*closed = true
		p.find(at, Unknown, "", "by its name it may say who gets in, so nobody does")
		return
	}
	p.find(at, Unknown, "", "Pomerium has no such setting that is known here")
}

func (p *pomerium) read(text string) error {
	strange := func(at place) { p.find(at, Unknown, "", "this line is no setting") }
	documents, err := readYAML(text)
	if err == nil && len(documents) > 0 && len(pairs(documents[0])) > 0 {
		if !isDeployment(documents) {
			p.readFile(documents[0])
			return nil
		}
		r := deployment{image: "pomerium", text: strings.Split(text, "\n"), add: p.addVariable}
		r.embedded = func(_, inner string, first, indent int) {
			if documents, err := readYAML(inner); err == nil && len(documents) > 0 {
				shift(documents[0], first-1, indent)
				p.readFile(documents[0])
			}
		}
		for _, document := range documents {
			r.read(document)
		}
		return nil
	}
	if envLine().MatchString(firstLine(text)) {
		lines{}.read(text, 1, 0, p.addVariable, strange)
		return nil
	}
	if err == nil {
		return ErrNothing
	}
	return err
}

// firstLine returns the first line with a setting.
func firstLine(text string) string {
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			return line
		}
	}
	return ""
}

// addVariable adds a variable of the environment. Routes are YAML in base64 there.
func (p *pomerium) addVariable(s setting) {
	if s.form == inFlag {
		return // Pomerium has no flag but that of its file
	}
	s.name = strings.ToLower(s.name)
	if s.name != "routes" && s.name != "policy" {
		if s.name == "idp_scopes" {
			s.values = s.list()
		}
		p.add(p.draft, s)
		return
	}
	inner, ok := decoded(s.value())
	documents, err := readYAML(inner)
	if !ok || err != nil || len(documents) == 0 {
		p.find(s.place, Dropped, "", "this is not a list of routes in base64; import the file that it was made of")
		return
	}
	p.readRoutes(documents[0], s.name, func(n *yaml.Node) { at(n, s.line, s.col) })
}

// at gives a node and all below it one place.
func at(n *yaml.Node, line, col int) {
	n.Line, n.Column = line, col
	for _, one := range n.Content {
		at(one, line, col)
	}
}

func (p *pomerium) readFile(root *yaml.Node) {
	for _, pair := range pairs(root) {
		name := strings.ToLower(pair.key.Value)
		if name == "routes" || name == "policy" {
			p.readRoutes(pair.value, pair.key.Value, func(*yaml.Node) {})
			continue
		}
		s := settingOf(pair, name, inFile)
		s.node = pair.value
		p.add(p.draft, s)
	}
}

func (p *pomerium) readRoutes(list *yaml.Node, path string, move func(*yaml.Node)) {
	for i, one := range list.Content {
		if list.Kind != yaml.SequenceNode {
			break
		}
		move(one)
		p.sources = append(p.sources, pomeriumRoute{node: one, keys: fmt.Sprintf("%s[%d]", path, i), order: len(p.sources)})
	}
	if len(list.Content) == 0 || list.Kind != yaml.SequenceNode {
		p.find(placeOf(list, path), Dropped, "", "this is no list of routes")
	}
}

// finish makes policies and routes of what was read.
func (p *pomerium) finish() {
	if !p.tls.off && p.listen.public == "" {
		p.listen.public = "0.0.0.0:443"
	}
	if (p.certs != "" || p.closed) && len(p.sources) > 0 {
		p.find(nowhere, FillIn, "policies", "something restricts access to all routes that could not be carried over, so nobody gets in; write policies, and name them in the routes")
	}
	p.identify()
	for i := range p.sources {
		p.parse(&p.sources[i])
	}
	p.choosePlaces()
	for i := range p.sources {
		p.addSource(i)
	}
}
