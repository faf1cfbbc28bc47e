// Package schema is the language of SCIM: what a user and a group are made of, what a filter means, and how a change
// is applied to a document.
//
// It is pure. It imports none of our packages, does no I/O and reads no clock, so that every input can be tested, and
// fuzzed, without a server. Whatever a client sends becomes canonical here, in one place ([Normalize] and
// [ApplyPatch]); each deviation from the RFCs that is accepted has a name ([Quirk]) and is counted.
package schema

import (
	"slices"
	"strings"
)

// The schemas and messages we speak, by URN.
const (
	UserURN       = "urn:ietf:params:scim:schemas:core:2.0:User"
	GroupURN      = "urn:ietf:params:scim:schemas:core:2.0:Group"
	EnterpriseURN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
)

// kind is the data type of an attribute (RFC 7643 §2.3).
type DataType string

const (
	String    DataType = "string"
	Boolean   DataType = "boolean"
	DateTime  DataType = "dateTime"
	Binary    DataType = "binary"
	Integer   DataType = "integer"
	Decimal   DataType = "decimal"
	Reference DataType = "reference"
	Complex   DataType = "complex"
)

// mutability says who may change an attribute (RFC 7643 §7).
type Mutability string

const (
	ReadWrite Mutability = ""
	ReadOnly  Mutability = "readOnly"
	Immutable Mutability = "immutable"
	WriteOnly Mutability = "writeOnly" // never returned
)

// attribute is one attribute of a schema, with its characteristics (RFC 7643 §7).
type Attribute struct {
	Name            string
	Type            DataType
	Description     string
	MultiValued     bool
	Required        bool
	CaseExact       bool
	Mutability      Mutability
	Unique          bool
	CanonicalValues []string
	ReferenceTypes  []string
	SubAttributes   []Attribute
}

// schema is a resource's or an extension's.
type Schema struct {
	URN, Name, Description string
	Attributes             []Attribute
}

// kindOfResource is what stands behind one endpoint.
type ResourceType struct {
	Name       string // User
	Endpoint   string // Users
	Core       Schema
	Extensions []Schema
	fold       func(string) string
}

func find(attributes []Attribute, name string) *Attribute {
	for i := range attributes {
		if EqualNames(attributes[i].Name, name) {
			return &attributes[i]
		}
	}
	return nil
}

// same says whether two names are the same, whatever their case: that of ASCII,
// for an ſ is no s in a name.
func EqualNames(a, b string) bool { return len(a) == len(b) && strings.EqualFold(a, b) }

// extension finds one of the kind's extensions by URN, whatever its case.
func (k *ResourceType) Extension(urn string) *Schema {
	for i := range k.Extensions {
		if EqualNames(k.Extensions[i].URN, urn) {
			return &k.Extensions[i]
		}
	}
	return nil
}

func str(name, description string) Attribute {
	return Attribute{Name: name, Type: String, Description: description}
}

// plural is a multi-valued complex attribute with the usual sub-attributes (RFC 7643 §2.4).
func plural(name, description string, value Attribute, types ...string) Attribute {
	value.Name = "value"
	return Attribute{Name: name, Type: Complex, Description: description, MultiValued: true, SubAttributes: []Attribute{
		value,
		str("display", "A name for people."),
		{Name: "type", Type: String, Description: "What kind of value this is.", CanonicalValues: types},
		{Name: "primary", Type: Boolean, Description: "Whether this is the preferred one; at most one is."},
	}}
}

// common are the attributes of every resource (RFC 7643 §3, §3.1).
var common = []Attribute{
	{Name: "schemas", Type: Reference, Description: "The schemas of what the resource has.", MultiValued: true, Mutability: ReadOnly},
	{Name: "id", Type: String, Description: "Our identifier; never changes, never used again.", CaseExact: true, Mutability: ReadOnly},
	{Name: "externalId", Type: String, Description: "The identity provider's identifier.", CaseExact: true},
	{Name: "meta", Type: Complex, Description: "Facts about the resource.", Mutability: ReadOnly, SubAttributes: []Attribute{
		{Name: "resourceType", Type: String, CaseExact: true, Mutability: ReadOnly},
		{Name: "created", Type: DateTime, Mutability: ReadOnly},
		{Name: "lastModified", Type: DateTime, Mutability: ReadOnly},
		{Name: "location", Type: Reference, CaseExact: true, Mutability: ReadOnly},
		{Name: "version", Type: String, CaseExact: true, Mutability: ReadOnly},
	}},
}

// kinds are the kinds of resource that a server keeps.
type Types struct{ User, Group *ResourceType }

// newKinds is the kinds, users with further extensions.
func New(fold func(string) string, extensions ...Schema) Types {
	user, group := userKind, groupKind
	user.fold, group.fold = fold, fold
	user.Extensions = append(slices.Clone(user.Extensions), extensions...)
	return Types{&user, &group}
}

func (k Types) All() []*ResourceType { return []*ResourceType{k.User, k.Group} }

var userKind = ResourceType{
	Name: "User", Endpoint: "Users",
	Core:       Schema{UserURN, "User", "User Account", userAttributes},
	Extensions: []Schema{{EnterpriseURN, "EnterpriseUser", "Enterprise User", enterpriseAttributes}},
}

var groupKind = ResourceType{
	Name: "Group", Endpoint: "Groups",
	Core: Schema{GroupURN, "Group", "Group", groupAttributes},
}

var userAttributes = []Attribute{
	{Name: "userName", Type: String, Description: "The name the user signs in by; unique, whatever its case.", Required: true, Unique: true},
	{Name: "name", Type: Complex, Description: "The parts of the user's name.", SubAttributes: []Attribute{
		str("formatted", "The whole name."), str("familyName", "The family name."), str("givenName", "The given name."),
		str("middleName", "The middle names."), str("honorificPrefix", "A title before the name."), str("honorificSuffix", "A title after the name.")}},
	str("displayName", "The name to show."),
	str("nickName", "The name to say."),
	{Name: "profileUrl", Type: Reference, Description: "A page about the user.", CaseExact: true, ReferenceTypes: []string{"external"}},
	str("title", "What the user does."),
	str("userType", "How the user relates to the organisation."),
	str("preferredLanguage", "The languages the user reads."),
	str("locale", "Where the user is, for dates and numbers."),
	str("timezone", "The user's time zone."),
	{Name: "active", Type: Boolean, Description: "Whether the user may sign in anywhere."},
	{Name: "password", Type: String, Description: "Taken and thrown away: there are no passwords here.", CaseExact: true, Mutability: WriteOnly},
	plural("emails", "E-mail addresses.", Attribute{Type: String}, "work", "home", "other"),
	plural("phoneNumbers", "Telephone numbers.", Attribute{Type: String}, "work", "home", "mobile", "fax", "pager", "other"),
	plural("ims", "Instant messaging addresses.", Attribute{Type: String}),
	plural("photos", "Pictures of the user.", Attribute{Type: Reference, CaseExact: true, ReferenceTypes: []string{"external"}}, "photo", "thumbnail"),
	{Name: "addresses", Type: Complex, Description: "Postal addresses.", MultiValued: true, SubAttributes: []Attribute{
		str("formatted", "The whole address."), str("streetAddress", "Street and number."), str("locality", "City."), str("region", "State or region."),
		str("postalCode", "Postal code."), str("country", "Country."),
		{Name: "type", Type: String, Description: "What kind of address this is.", CanonicalValues: []string{"work", "home", "other"}},
		{Name: "primary", Type: Boolean, Description: "Whether this is the preferred one."}}},
	{Name: "groups", Type: Complex, Description: "The groups the user is a direct member of.", MultiValued: true, Mutability: ReadOnly, SubAttributes: []Attribute{
		{Name: "value", Type: String, CaseExact: true, Mutability: ReadOnly},
		{Name: "$ref", Type: Reference, CaseExact: true, Mutability: ReadOnly, ReferenceTypes: []string{"Group"}},
		{Name: "display", Type: String, Mutability: ReadOnly}, {Name: "type", Type: String, Mutability: ReadOnly, CanonicalValues: []string{"direct"}}}},
	plural("entitlements", "Things the user has.", Attribute{Type: String}),
	plural("roles", "Roles the user holds.", Attribute{Type: String}),
	plural("x509Certificates", "Certificates of the user.", Attribute{Type: Binary, CaseExact: true}),
}

var enterpriseAttributes = []Attribute{
	str("employeeNumber", "The organisation's number for the user."), str("costCenter", "The cost center."), str("organization", "The organisation."),
	str("division", "The division."), str("department", "The department."),
	{Name: "manager", Type: Complex, Description: "The user's manager.", SubAttributes: []Attribute{
		{Name: "value", Type: String, Description: "The manager's id.", CaseExact: true},
		{Name: "$ref", Type: Reference, CaseExact: true, ReferenceTypes: []string{"User"}},
		{Name: "displayName", Type: String, Description: "The manager's name.", Mutability: ReadOnly}}},
}

var groupAttributes = []Attribute{
	{Name: "displayName", Type: String, Description: "The group's name; unique, whatever its case.", Required: true, Unique: true},
	{Name: "members", Type: Complex, Description: "The direct members.", MultiValued: true, SubAttributes: []Attribute{
		{Name: "value", Type: String, Description: "The member's id.", CaseExact: true, Mutability: Immutable},
		{Name: "$ref", Type: Reference, CaseExact: true, Mutability: Immutable, ReferenceTypes: []string{"User", "Group"}},
		{Name: "display", Type: String, Mutability: ReadOnly},
		{Name: "type", Type: String, Mutability: Immutable, CanonicalValues: []string{"User", "Group"}}}},
}

// attributeAt finds a top-level attribute of the kind, in its core schema or, with
// urn, in an extension. ext is the extension's URN as it stands in documents.
func (k *ResourceType) attributeAt(urn, name string) (a *Attribute, ext string) {
	if urn == "" || EqualNames(urn, k.Core.URN) {
		if a = find(k.Core.Attributes, name); a == nil {
			a = find(common, name)
		}
		if a == nil && urn == "" { // Entra leaves the URN away: path "manager"
			for i := range k.Extensions {
				if a = find(k.Extensions[i].Attributes, name); a != nil {
					return a, k.Extensions[i].URN
				}
			}
		}
		return a, ""
	}
	if x := k.Extension(urn); x != nil {
		return find(x.Attributes, name), x.URN
	}
	return nil, ""
}

// splitURN splits "urn:…:User:name.sub" into the URN of a schema of the kind and
// the rest. Without a known URN, rest is all of it.
func (k *ResourceType) splitURN(path string) (urn, rest string) {
	if len(path) < 4 || !strings.EqualFold(path[:4], "urn:") {
		return "", path
	}
	for _, known := range append([]Schema{k.Core}, k.Extensions...) {
		n := len(known.URN)
		if len(path) >= n && strings.EqualFold(path[:n], known.URN) && (len(path) == n || path[n] == ':') {
			return known.URN, strings.TrimPrefix(path[n:], ":")
		}
	}
	return "", path
}
