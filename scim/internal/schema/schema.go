// Package schema is the language of SCIM: what a user and a group are made of, what a filter means, and how a change
// is applied to a document.
//
// It is pure. It imports none of our packages, does no I/O and reads no clock, so that every input can be tested, and
// fuzzed, without a server. Whatever a client sends becomes canonical here, in one place ([Normalize] and
// [ApplyPatch]); each deviation from the RFCs that is accepted has a name ([Quirk]) and is counted.
package schema

import "strings"

// DataType is the data type of an attribute (RFC 7643 §2.3).
type DataType string

// The data types, as /Schemas names them.
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

// Mutability tells who may change an attribute (RFC 7643 §7).
type Mutability string

// The mutabilities. The zero value is ReadWrite.
const (
	ReadWrite Mutability = ""
	ReadOnly  Mutability = "readOnly"
	Immutable Mutability = "immutable"
	WriteOnly Mutability = "writeOnly" // accepted, never stored, never returned
)

// Attribute is one attribute of a schema, with its characteristics (RFC 7643 §7).
type Attribute struct {
	Name            string
	Type            DataType
	Description     string
	MultiValued     bool
	Required        bool
	CaseExact       bool
	Unique          bool
	Mutability      Mutability
	CanonicalValues []string
	ReferenceTypes  []string
	SubAttributes   []Attribute
}

// Schema is the schema of a resource type or of an extension.
type Schema struct {
	URN, Name, Description string
	Attributes             []Attribute
}

// EqualNames reports whether two names are equal, ignoring the case of ASCII letters. Unlike [strings.EqualFold] it
// does not take ſ for s or the Kelvin sign for k.
func EqualNames(a, b string) bool { return len(a) == len(b) && strings.EqualFold(a, b) }

// find returns the attribute of that name; nil if there is none.
func find(attributes []Attribute, name string) *Attribute {
	for i := range attributes {
		if EqualNames(attributes[i].Name, name) {
			return &attributes[i]
		}
	}
	return nil
}

// identifies reports whether a resource is found by the attribute's value, here or at the identity provider.
func (a *Attribute) identifies() bool { return a.Unique || a.Name == externalID }

// exampleSubAttribute returns the name of a sub-attribute, to show in an error.
func (a *Attribute) exampleSubAttribute() string {
	if len(a.SubAttributes) == 0 {
		return "value"
	}
	return a.SubAttributes[0].Name
}
