package schema

// GroupURN names the schema of groups (RFC 7643 §10.3.1).
const GroupURN = "urn:ietf:params:scim:schemas:core:2.0:Group"

// MembersAttribute is the name of a group's members. No document holds them: a group may have 100,000.
const MembersAttribute = "members"

// isMembers reports whether a is the members of a group.
func isMembers(a *Attribute) bool {
	return a.Name == MembersAttribute && a.MultiValued && a.Type == Complex
}

// groupAttributes are those of RFC 7643 §4.2.
var groupAttributes = []Attribute{
	{Name: "displayName", Type: String, Description: "The group's name; unique, whatever its case.", Required: true, Unique: true},
	{Name: MembersAttribute, Type: Complex, Description: "The direct members.", MultiValued: true, SubAttributes: []Attribute{
		{Name: "value", Type: String, Description: "The member's id.", CaseExact: true, Mutability: Immutable},
		{Name: "$ref", Type: Reference, CaseExact: true, Mutability: Immutable, ReferenceTypes: []string{"User", "Group"}},
		{Name: "display", Type: String, Mutability: ReadOnly},
		{Name: "type", Type: String, Mutability: Immutable, CanonicalValues: []string{"User", "Group"}}}},
}
