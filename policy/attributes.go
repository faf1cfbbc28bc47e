package policy

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

const enterpriseURN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"

// coreAttributes are the attributes of RFC 7643 §4.1 that a rule can compare, with
// their sub-attributes. Users and active are not among them: users: names users, and
// nobody who is not active is a caller.
var coreAttributes = map[string][]string{
	"name":        {"formatted", "familyName", "givenName", "middleName", "honorificPrefix", "honorificSuffix"},
	"displayName": nil, "nickName": nil, "title": nil, "userType": nil, "preferredLanguage": nil, "locale": nil, "timezone": nil,
	"emails": multiValued, "phoneNumbers": multiValued, "entitlements": multiValued,
	"addresses": {"formatted", "streetAddress", "locality", "region", "postalCode", "country", "type"},
}

var multiValued = []string{"value", "type", "display"}

// enterpriseAttributes are those of RFC 7643 §4.3.
var enterpriseAttributes = map[string][]string{
	"employeeNumber": nil, "costCenter": nil, "organization": nil, "division": nil, "department": nil,
	"manager": {"value", "displayName"},
}

// attributePath is where an attribute is in a user's SCIM document.
type attributePath []string

// parseAttribute parses the name of an attribute: that of RFC 7643, such as userType
// or addresses.country; or one with the URN of an extension before it.
func parseAttribute(name string) (attributePath, error) {
	if strings.HasPrefix(name, "urn:") {
		end := strings.LastIndexByte(name, ':')
		path := append(attributePath{name[:end]}, strings.Split(name[end+1:], ".")...)
		if slices.Contains(path, "") || len(path) > 3 {
			return nil, fmt.Errorf("is not the URN of an extension, a colon and the name of an attribute, such as %s:department", enterpriseURN)
		}
		return path, nil
	}
	path := attributePath(strings.Split(name, "."))
	if sub, ok := coreAttributes[path[0]]; ok && path.within(sub) {
		return path, nil
	}
	if sub, ok := enterpriseAttributes[path[0]]; ok && path.within(sub) {
		return append(attributePath{enterpriseURN}, path...), nil
	}
	return nil, fmt.Errorf("is no SCIM attribute of a user that a rule can compare; %s", suggestAttribute(name))
}

// within reports whether the path is an attribute by itself or one of its sub-attributes.
func (p attributePath) within(sub []string) bool {
	return len(p) == 1 || len(p) == 2 && slices.Contains(sub, p[1])
}

// SuggestAttribute returns "; did you mean department?" if one of known may be meant by
// name, or else "".
func SuggestAttribute(name string, known []string) string {
	if best := Nearest(name, known, min(maxTypos, len(name)/2)); best != "" {
		return "; did you mean " + best + "?"
	}
	return ""
}

func suggestAttribute(name string) string {
	if meant := SuggestAttribute(name, attributeNames()); meant != "" {
		return strings.TrimPrefix(meant, "; ")
	}
	return "write its URN before it if an extension has it, such as " + enterpriseURN + ":department"
}

// attributeNames returns the names that parseAttribute knows, sorted.
func attributeNames() (names []string) {
	for _, attributes := range []map[string][]string{coreAttributes, enterpriseAttributes} {
		for name, sub := range attributes {
			names = append(names, name)
			for _, s := range sub {
				names = append(names, name+"."+s)
			}
		}
	}
	slices.Sort(names)
	return names
}

// hasOneOf reports whether the document has one of values at the path. Of an attribute
// that has several values, any will do; of a complex one, its sub-attribute value is
// compared.
func (p attributePath) hasOneOf(values []string, in any) bool {
	switch v := in.(type) {
	case []any:
		for _, element := range v {
			if p.hasOneOf(values, element) {
				return true
			}
		}
		return false
	case map[string]any:
		if len(p) > 0 {
			return p[1:].hasOneOf(values, v[p[0]])
		}
		return isOneOf(values, v["value"])
	}
	return len(p) == 0 && isOneOf(values, in)
}

// isOneOf compares without regard to case, as SCIM does unless an attribute's schema
// says otherwise (RFC 7643 §2.2).
func isOneOf(values []string, in any) bool {
	var text string
	switch v := in.(type) {
	case string:
		text = v
	case bool:
		text = strconv.FormatBool(v)
	case float64:
		text = strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return false
	}
	for _, value := range values {
		if strings.EqualFold(value, text) {
			return true
		}
	}
	return false
}

func compileAttributes(m *Match, _ bool) (matcher, error) {
	type attribute struct {
		path   attributePath
		values []string
	}
	var all []attribute
	for name, values := range m.Attributes {
		path, err := parseAttribute(name)
		if err != nil {
			return nil, err
		}
		all = append(all, attribute{path, values})
	}
	return func(req *Request) bool {
		if req.Attributes == nil {
			return false
		}
		document := req.Attributes.Attributes()
		for i := range all {
			if !all[i].path.hasOneOf(all[i].values, document) {
				return false
			}
		}
		return true
	}, nil
}

// attributesText writes attributes as "department: Finance, Sales; title: CFO".
func attributesText(m *Match) string {
	var texts []string
	for _, name := range slices.Sorted(maps.Keys(m.Attributes)) {
		texts = append(texts, name+": "+strings.Join(m.Attributes[name], ", "))
	}
	return strings.Join(texts, "; ")
}

func checkAttributes(m *Match, _ Options, fault faultFunc) {
	for _, name := range slices.Sorted(maps.Keys(m.Attributes)) {
		if _, err := parseAttribute(name); err != nil {
			fault("."+name, err.Error())
		}
		if len(m.Attributes[name]) == 0 {
			fault("."+name, "has no value; write those of which the user must have one, such as [Finance]")
		}
		checkTexts(m.Attributes[name], below("."+name, fault))
	}
}
