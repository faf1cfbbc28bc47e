package scim

import (
	"slices"
	"strings"
)

// The schemas and messages we speak, by URN.
const (
	userURN       = "urn:ietf:params:scim:schemas:core:2.0:User"
	groupURN      = "urn:ietf:params:scim:schemas:core:2.0:Group"
	enterpriseURN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
)

// kind is the data type of an attribute (RFC 7643 §2.3).
type kind string

const (
	text      kind = "string"
	boolean   kind = "boolean"
	dateTime  kind = "dateTime"
	binary    kind = "binary"
	integer   kind = "integer"
	decimal   kind = "decimal"
	reference kind = "reference"
	complexed kind = "complex"
)

// mutability says who may change an attribute (RFC 7643 §7).
type mutability string

const (
	readWrite mutability = ""
	readOnly  mutability = "readOnly"
	immutable mutability = "immutable"
	writeOnly mutability = "writeOnly" // never returned
)

// attribute is one attribute of a schema, with its characteristics (RFC 7643 §7).
type attribute struct {
	name        string
	kind        kind
	description string
	multi       bool
	required    bool
	caseExact   bool
	mutability  mutability
	unique      bool
	canonical   []string
	refers      []string
	sub         []attribute
}

// schema is a resource's or an extension's.
type schema struct {
	urn, name, description string
	attributes             []attribute
}

// kindOfResource is what stands behind one endpoint.
type kindOfResource struct {
	name       string // User
	endpoint   string // Users
	core       schema
	extensions []schema
	fold       func(string) string
}

func find(attributes []attribute, name string) *attribute {
	for i := range attributes {
		if same(attributes[i].name, name) {
			return &attributes[i]
		}
	}
	return nil
}

// same says whether two names are the same, whatever their case: that of ASCII,
// for an ſ is no s in a name.
func same(a, b string) bool { return len(a) == len(b) && strings.EqualFold(a, b) }

// extension finds one of the kind's extensions by URN, whatever its case.
func (k *kindOfResource) extension(urn string) *schema {
	for i := range k.extensions {
		if same(k.extensions[i].urn, urn) {
			return &k.extensions[i]
		}
	}
	return nil
}

func str(name, description string) attribute {
	return attribute{name: name, kind: text, description: description}
}

// plural is a multi-valued complex attribute with the usual sub-attributes (RFC 7643 §2.4).
func plural(name, description string, value attribute, types ...string) attribute {
	value.name = "value"
	return attribute{name: name, kind: complexed, description: description, multi: true, sub: []attribute{
		value,
		str("display", "A name for people."),
		{name: "type", kind: text, description: "What kind of value this is.", canonical: types},
		{name: "primary", kind: boolean, description: "Whether this is the preferred one; at most one is."},
	}}
}

// common are the attributes of every resource (RFC 7643 §3, §3.1).
var common = []attribute{
	{name: "schemas", kind: reference, description: "The schemas of what the resource has.", multi: true, mutability: readOnly},
	{name: "id", kind: text, description: "Our identifier; never changes, never used again.", caseExact: true, mutability: readOnly},
	{name: "externalId", kind: text, description: "The identity provider's identifier.", caseExact: true},
	{name: "meta", kind: complexed, description: "Facts about the resource.", mutability: readOnly, sub: []attribute{
		{name: "resourceType", kind: text, caseExact: true, mutability: readOnly},
		{name: "created", kind: dateTime, mutability: readOnly},
		{name: "lastModified", kind: dateTime, mutability: readOnly},
		{name: "location", kind: reference, caseExact: true, mutability: readOnly},
		{name: "version", kind: text, caseExact: true, mutability: readOnly},
	}},
}

// kinds are the kinds of resource that a server keeps.
type kinds struct{ user, group *kindOfResource }

// newKinds is the kinds, users with further extensions.
func newKinds(fold func(string) string, extensions ...schema) kinds {
	user, group := userKind, groupKind
	user.fold, group.fold = fold, fold
	user.extensions = append(slices.Clone(user.extensions), extensions...)
	return kinds{&user, &group}
}

func (k kinds) all() []*kindOfResource { return []*kindOfResource{k.user, k.group} }

var userKind = kindOfResource{
	name: "User", endpoint: "Users",
	core:       schema{userURN, "User", "User Account", userAttributes},
	extensions: []schema{{enterpriseURN, "EnterpriseUser", "Enterprise User", enterpriseAttributes}},
}

var groupKind = kindOfResource{
	name: "Group", endpoint: "Groups",
	core: schema{groupURN, "Group", "Group", groupAttributes},
}

var userAttributes = []attribute{
	{name: "userName", kind: text, description: "The name the user signs in by; unique, whatever its case.", required: true, unique: true},
	{name: "name", kind: complexed, description: "The parts of the user's name.", sub: []attribute{
		str("formatted", "The whole name."), str("familyName", "The family name."), str("givenName", "The given name."),
		str("middleName", "The middle names."), str("honorificPrefix", "A title before the name."), str("honorificSuffix", "A title after the name.")}},
	str("displayName", "The name to show."),
	str("nickName", "The name to say."),
	{name: "profileUrl", kind: reference, description: "A page about the user.", caseExact: true, refers: []string{"external"}},
	str("title", "What the user does."),
	str("userType", "How the user relates to the organisation."),
	str("preferredLanguage", "The languages the user reads."),
	str("locale", "Where the user is, for dates and numbers."),
	str("timezone", "The user's time zone."),
	{name: "active", kind: boolean, description: "Whether the user may sign in anywhere."},
	{name: "password", kind: text, description: "Taken and thrown away: there are no passwords here.", caseExact: true, mutability: writeOnly},
	plural("emails", "E-mail addresses.", attribute{kind: text}, "work", "home", "other"),
	plural("phoneNumbers", "Telephone numbers.", attribute{kind: text}, "work", "home", "mobile", "fax", "pager", "other"),
	plural("ims", "Instant messaging addresses.", attribute{kind: text}),
	plural("photos", "Pictures of the user.", attribute{kind: reference, caseExact: true, refers: []string{"external"}}, "photo", "thumbnail"),
	{name: "addresses", kind: complexed, description: "Postal addresses.", multi: true, sub: []attribute{
		str("formatted", "The whole address."), str("streetAddress", "Street and number."), str("locality", "City."), str("region", "State or region."),
		str("postalCode", "Postal code."), str("country", "Country."),
		{name: "type", kind: text, description: "What kind of address this is.", canonical: []string{"work", "home", "other"}},
		{name: "primary", kind: boolean, description: "Whether this is the preferred one."}}},
	{name: "groups", kind: complexed, description: "The groups the user is a direct member of.", multi: true, mutability: readOnly, sub: []attribute{
		{name: "value", kind: text, caseExact: true, mutability: readOnly},
		{name: "$ref", kind: reference, caseExact: true, mutability: readOnly, refers: []string{"Group"}},
		{name: "display", kind: text, mutability: readOnly}, {name: "type", kind: text, mutability: readOnly, canonical: []string{"direct"}}}},
	plural("entitlements", "Things the user has.", attribute{kind: text}),
	plural("roles", "Roles the user holds.", attribute{kind: text}),
	plural("x509Certificates", "Certificates of the user.", attribute{kind: binary, caseExact: true}),
}

var enterpriseAttributes = []attribute{
	str("employeeNumber", "The organisation's number for the user."), str("costCenter", "The cost center."), str("organization", "The organisation."),
	str("division", "The division."), str("department", "The department."),
	{name: "manager", kind: complexed, description: "The user's manager.", sub: []attribute{
		{name: "value", kind: text, description: "The manager's id.", caseExact: true},
		{name: "$ref", kind: reference, caseExact: true, refers: []string{"User"}},
		{name: "displayName", kind: text, description: "The manager's name.", mutability: readOnly}}},
}

var groupAttributes = []attribute{
	{name: "displayName", kind: text, description: "The group's name; unique, whatever its case.", required: true, unique: true},
	{name: "members", kind: complexed, description: "The direct members.", multi: true, sub: []attribute{
		{name: "value", kind: text, description: "The member's id.", caseExact: true, mutability: immutable},
		{name: "$ref", kind: reference, caseExact: true, mutability: immutable, refers: []string{"User", "Group"}},
		{name: "display", kind: text, mutability: readOnly},
		{name: "type", kind: text, mutability: immutable, canonical: []string{"User", "Group"}}}},
}

// attributeAt finds a top-level attribute of the kind, in its core schema or, with
// urn, in an extension. ext is the extension's URN as it stands in documents.
func (k *kindOfResource) attributeAt(urn, name string) (a *attribute, ext string) {
	if urn == "" || same(urn, k.core.urn) {
		if a = find(k.core.attributes, name); a == nil {
			a = find(common, name)
		}
		if a == nil && urn == "" { // Entra leaves the URN away: path "manager"
			for i := range k.extensions {
				if a = find(k.extensions[i].attributes, name); a != nil {
					return a, k.extensions[i].urn
				}
			}
		}
		return a, ""
	}
	if x := k.extension(urn); x != nil {
		return find(x.attributes, name), x.urn
	}
	return nil, ""
}

// splitURN splits "urn:…:User:name.sub" into the URN of a schema of the kind and
// the rest. Without a known URN, rest is all of it.
func (k *kindOfResource) splitURN(path string) (urn, rest string) {
	if len(path) < 4 || !strings.EqualFold(path[:4], "urn:") {
		return "", path
	}
	for _, known := range append([]schema{k.core}, k.extensions...) {
		n := len(known.urn)
		if len(path) >= n && strings.EqualFold(path[:n], known.urn) && (len(path) == n || path[n] == ':') {
			return known.urn, strings.TrimPrefix(path[n:], ":")
		}
	}
	return "", path
}
