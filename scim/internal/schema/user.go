package schema

// The schemas of users, by URN (RFC 7643 §10.3.1).
const (
	UserURN       = "urn:ietf:params:scim:schemas:core:2.0:User"
	EnterpriseURN = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
)

// userAttributes are those of RFC 7643 §4.1.
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
	{Name: "password", Type: String, Description: "Accepted and thrown away: there are no passwords here.", CaseExact: true, Mutability: WriteOnly},
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

// enterpriseAttributes are those of RFC 7643 §4.3.
var enterpriseAttributes = []Attribute{
	str("employeeNumber", "The organisation's number for the user."), str("costCenter", "The cost center."), str("organization", "The organisation."),
	str("division", "The division."), str("department", "The department."),
	{Name: "manager", Type: Complex, Description: "The user's manager.", SubAttributes: []Attribute{
		{Name: "value", Type: String, Description: "The manager's id.", CaseExact: true},
		{Name: "$ref", Type: Reference, CaseExact: true, ReferenceTypes: []string{"User"}},
		{Name: "displayName", Type: String, Description: "The manager's name.", Mutability: ReadOnly}}},
}
