package header

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
)

// Edits removes headers, then sets others.
type Edits struct {
	Remove []string `yaml:"remove" doc:"names"`
	Set    []Edit   `yaml:"set" doc:"names and values, in place of what was sent"`
}

// Edit is one header.
type Edit struct {
	Name  string `yaml:"name"`
	Value string `yaml:"value" doc:"printable ASCII"`
}

// Check reports headers that cannot be edited: those that identify the caller, and those that frame messages.
func (e Edits) Check(key string, managed Names, fault func(path, problem string)) {
	checkName := func(at, name string) {
		spelling, ok := managed[CGI(name)]
		ok = ok && !Mounts.Has(CGI(name))
		switch {
		case !ValidName(name) || name == "":
			fault(at, fmt.Sprintf("%q cannot be the name of a header; write letters, digits and dashes", name))
		case Fixed(name) || ok && spelling == "" || managed != nil && SetByUs.HasPrefix([]byte(CGI(name))):
			fault(at, fmt.Sprintf("only the proxy itself may set or remove %s", name))
		}
	}
	for i, name := range e.Remove {
		checkName(fmt.Sprintf("%s.remove[%d]", key, i), name)
	}
	for i, set := range e.Set {
		checkName(fmt.Sprintf("%s.set[%d].name", key, i), set.Name)
		if strings.ContainsFunc(set.Value, func(c rune) bool { return c < ' ' || c > '~' }) {
			fault(fmt.Sprintf("%s.set[%d].value", key, i), "the value of a header must be printable ASCII here")
		}
	}
}

// EditsInForce are [Edits] with canonical names.
type EditsInForce struct {
	remove []string
	set    http.Header
}

func (e Edits) Compile() EditsInForce {
	c := EditsInForce{set: http.Header{}}
	for _, name := range e.Remove {
		c.remove = append(c.remove, http.CanonicalHeaderKey(name))
	}
	for _, one := range e.Set {
		c.set.Add(one.Name, one.Value)
	}
	return c
}

func (e EditsInForce) Apply(h http.Header) {
	for _, name := range e.remove {
		delete(h, name)
	}
	maps.Copy(h, e.set)
}
