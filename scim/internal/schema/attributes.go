package schema

// str returns a plain attribute of type string.
func str(name, description string) Attribute {
	return Attribute{Name: name, Type: String, Description: description}
}

// plural returns a multi-valued complex attribute with the usual sub-attributes (RFC 7643 §2.4).
func plural(name, description string, value Attribute, types ...string) Attribute {
	value.Name = "value"
	return Attribute{Name: name, Type: Complex, Description: description, MultiValued: true, SubAttributes: []Attribute{
		value,
		str("display", "A name for people."),
		{Name: "type", Type: String, Description: "What kind of value this is.", CanonicalValues: types},
		{Name: "primary", Type: Boolean, Description: "Whether this is the preferred one; at most one is."},
	}}
}

// externalID is the name of the identity provider's identifier.
const externalID = "externalId"

// commonAttributes are the attributes of every resource (RFC 7643 §3, §3.1).
var commonAttributes = []Attribute{
	{Name: "schemas", Type: Reference, Description: "The schemas of the attributes that the resource has.", MultiValued: true, Mutability: ReadOnly},
	{Name: "id", Type: String, Description: "The server's identifier; it never changes and is never used again.", CaseExact: true, Mutability: ReadOnly},
	{Name: externalID, Type: String, Description: "The identity provider's identifier.", CaseExact: true},
	{Name: "meta", Type: Complex, Description: "Facts about the resource.", Mutability: ReadOnly, SubAttributes: []Attribute{
		{Name: "resourceType", Type: String, CaseExact: true, Mutability: ReadOnly},
		{Name: "created", Type: DateTime, Mutability: ReadOnly},
		{Name: "lastModified", Type: DateTime, Mutability: ReadOnly},
		{Name: "location", Type: Reference, CaseExact: true, Mutability: ReadOnly},
		{Name: "version", Type: String, CaseExact: true, Mutability: ReadOnly},
	}},
}
