package scim

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"sallyport/scim/internal/schema"
)

// Extension is an extension of the schema of users that the configuration declares (RFC 7643 §3.3).
type Extension struct {
	URN        string      `yaml:"urn" doc:"such as urn:ietf:params:scim:schemas:extension:contoso:2.0:User"`
	Name       string      `yaml:"name" doc:"what /Schemas calls it; the URN's last parts if absent"`
	Attributes []Attribute `yaml:"attributes" doc:"what it has"`
}

// Attribute is one attribute of an [Extension].
type Attribute struct {
	Name        string `yaml:"name" doc:"letters, digits, - and _"`
	Type        string `yaml:"type" doc:"string (if absent), boolean, integer, decimal, dateTime, reference or binary"`
	Multi       bool   `yaml:"multi" doc:"true: it has many values"`
	CaseExact   bool   `yaml:"case_exact" doc:"true: filters distinguish capitals"`
	Description string `yaml:"description" doc:"for those who read /Schemas"`
}

var (
	urnForm = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^urn:[A-Za-z0-9][A-Za-z0-9-]{1,31}(:[A-Za-z0-9_.-]+)+$`)
	})
	attributeForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,63}$`) })
	plainTypes    = []schema.DataType{schema.String, schema.Boolean, schema.Integer, schema.Decimal, schema.DateTime, schema.Reference, schema.Binary}
)

// Bounds of what a configuration may declare.
const (
	maxExtensions = 16
	maxAttributes = 200 // of one extension
)

// checkExtensions reports every fault of the extensions. No URN may be a prefix of another, since a path consists of a
// URN and the name of an attribute.
func (s Settings) checkExtensions(fault func(path, problem string)) {
	if len(s.Extensions) > maxExtensions {
		fault("extensions", fmt.Sprintf("are %d; at most %d are taken", len(s.Extensions), maxExtensions))
		return
	}
	used := []string{strings.ToLower(schema.UserURN), strings.ToLower(schema.GroupURN), strings.ToLower(schema.EnterpriseURN)}
	for i, x := range s.Extensions {
		nested := func(path, problem string) { fault(fmt.Sprintf("extensions[%d]%s", i, path), problem) }
		urn := strings.ToLower(x.URN)
		switch {
		case !urnForm().MatchString(x.URN):
			nested(".urn", fmt.Sprintf("%q is no URN; write one such as urn:ietf:params:scim:schemas:extension:contoso:2.0:User", x.URN))
		case slices.ContainsFunc(used, func(other string) bool {
			return urn == other || strings.HasPrefix(urn, other+":") || strings.HasPrefix(other, urn+":")
		}):
			nested(".urn", fmt.Sprintf("%q is another schema's, or begins as one does; write a URN of its own", x.URN))
		}
		used = append(used, urn)
		x.checkAttributes(nested)
	}
}

func (x Extension) checkAttributes(fault func(path, problem string)) {
	if len(x.Attributes) == 0 || len(x.Attributes) > maxAttributes {
		fault(".attributes", fmt.Sprintf("are %d; write between 1 and %d", len(x.Attributes), maxAttributes))
	}
	seen := map[string]bool{}
	for i, a := range x.Attributes {
		key := fmt.Sprintf(".attributes[%d]", i)
		if !attributeForm().MatchString(a.Name) {
			fault(key+".name", fmt.Sprintf("%q cannot be an attribute's name; write letters, digits, - and _, a letter first", a.Name))
		}
		if folded := strings.ToLower(a.Name); seen[folded] {
			fault(key+".name", fmt.Sprintf("%q stands twice, whatever its case", a.Name))
		} else {
			seen[folded] = true
		}
		if a.Type != "" && !slices.Contains(plainTypes, schema.DataType(a.Type)) {
			fault(key+".type", fmt.Sprintf("%q is unknown; write string, boolean, integer, decimal, dateTime, reference or binary", a.Type))
		}
	}
}

// schemas returns the schemas of the extensions.
func (s Settings) schemas() (list []schema.Schema) {
	for _, x := range s.Extensions {
		list = append(list, x.schema())
	}
	return list
}

func (x Extension) schema() schema.Schema {
	s := schema.Schema{URN: x.URN, Name: x.Name, Description: "Declared in the configuration."}
	if s.Name == "" {
		parts := strings.Split(x.URN, ":")
		s.Name = strings.Join(parts[max(0, len(parts)-3):], ":")
	}
	for _, a := range x.Attributes {
		dataType := cmp.Or(schema.DataType(a.Type), schema.String)
		s.Attributes = append(s.Attributes, schema.Attribute{Name: a.Name, Type: dataType, MultiValued: a.Multi, Description: a.Description,
			CaseExact: a.CaseExact || dataType == schema.Reference || dataType == schema.Binary})
	}
	return s
}
