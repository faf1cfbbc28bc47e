package scim

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"sallyport/scim/internal/schema"
)

// Extension is a schema of users that the configuration declares (RFC 7643 §3.3).
type Extension struct {
	URN        string      `yaml:"urn" doc:"such as urn:ietf:params:scim:schemas:extension:contoso:2.0:User"`
	Name       string      `yaml:"name" doc:"what /Schemas calls it; the URN's last parts if absent"`
	Attributes []Attribute `yaml:"attributes" doc:"what it has"`
}

// Attribute is one attribute of an Extension.
type Attribute struct {
	Name        string `yaml:"name" doc:"letters, digits, - and _"`
	Type        string `yaml:"type" doc:"string (if absent), boolean, integer, decimal, dateTime, reference or binary"`
	Multi       bool   `yaml:"multi" doc:"true: it has many values"`
	CaseExact   bool   `yaml:"case_exact" doc:"true: filters distinguish capitals"`
	Description string `yaml:"description" doc:"for those who read /Schemas"`
}

var (
	urnForm       = regexp.MustCompile(`^urn:[A-Za-z0-9][A-Za-z0-9-]{1,31}(:[A-Za-z0-9_.-]+)+$`)
	attributeForm = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,63}$`)
	plainKinds    = []schema.DataType{schema.String, schema.Boolean, schema.Integer, schema.Decimal, schema.DateTime, schema.Reference, schema.Binary}
)

// Bounds of what a configuration declares.
const (
	maxExtensions = 16
	maxAttributes = 200 // of one extension
)

func (s Settings) checkExtensions(fault func(path, problem string)) {
	if len(s.Extensions) > maxExtensions {
		fault("extensions", fmt.Sprintf("are %d; at most %d are taken", len(s.Extensions), maxExtensions))
		return
	}
	taken := []string{strings.ToLower(schema.UserURN), strings.ToLower(schema.GroupURN), strings.ToLower(schema.EnterpriseURN)}
	for i, x := range s.Extensions {
		under := func(path, problem string) { fault(fmt.Sprintf("extensions[%d]%s", i, path), problem) }
		urn := strings.ToLower(x.URN)
		switch {
		case !urnForm.MatchString(x.URN):
			under(".urn", fmt.Sprintf("%q is no URN; write one such as urn:ietf:params:scim:schemas:extension:contoso:2.0:User", x.URN))
		case slices.ContainsFunc(taken, func(t string) bool { return urn == t || strings.HasPrefix(urn, t+":") || strings.HasPrefix(t, urn+":") }):
			under(".urn", fmt.Sprintf("%q is another schema's, or begins as one does; write a URN of its own", x.URN))
		}
		taken = append(taken, urn)
		x.checkAttributes(under)
	}
}

func (x Extension) checkAttributes(fault func(path, problem string)) {
	if len(x.Attributes) == 0 || len(x.Attributes) > maxAttributes {
		fault(".attributes", fmt.Sprintf("are %d; write between 1 and %d", len(x.Attributes), maxAttributes))
	}
	seen := map[string]bool{}
	for i, a := range x.Attributes {
		at := fmt.Sprintf(".attributes[%d]", i)
		if !attributeForm.MatchString(a.Name) {
			fault(at+".name", fmt.Sprintf("%q cannot be an attribute's name; write letters, digits, - and _, a letter first", a.Name))
		}
		if folded := strings.ToLower(a.Name); seen[folded] {
			fault(at+".name", fmt.Sprintf("%q stands twice, whatever its case", a.Name))
		} else {
			seen[folded] = true
		}
		if a.Type != "" && !slices.Contains(plainKinds, schema.DataType(a.Type)) {
			fault(at+".type", fmt.Sprintf("%q is unknown; write string, boolean, integer, decimal, dateTime, reference or binary", a.Type))
		}
	}
}

// schemas are the extensions as the server works with them.
func (s Settings) schemas() (list []schema.Schema) {
	for _, x := range s.Extensions {
		list = append(list, x.schema())
	}
	return list
}

// schema is the extension as the server works with it.
func (x Extension) schema() schema.Schema {
	s := schema.Schema{URN: x.URN, Name: x.Name, Description: "Declared in the configuration."}
	if s.Name == "" {
		parts := strings.Split(x.URN, ":")
		s.Name = strings.Join(parts[max(0, len(parts)-3):], ":")
	}
	for _, a := range x.Attributes {
		k := schema.DataType(a.Type)
		if k == "" {
			k = schema.String
		}
		s.Attributes = append(s.Attributes, schema.Attribute{Name: a.Name, Type: k, MultiValued: a.Multi, Description: a.Description,
			CaseExact: a.CaseExact || k == schema.Reference || k == schema.Binary})
	}
	return s
}
