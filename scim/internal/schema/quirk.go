package schema

import "maps"

// Quirk is one named deviation from the RFCs that is accepted and counted.
type Quirk string

// The quirks. docs/entra.md names who is known to show them and has the requests.
const (
	QuirkOpCase           Quirk = "op_case"           // "Add", "Replace", "Remove"
	QuirkBooleanString    Quirk = "boolean_string"    // "False" for false
	QuirkArrayOfOne       Quirk = "array_of_one"      // [x] for a single value
	QuirkSingleForMany    Quirk = "single_for_many"   // x for [x]
	QuirkBareValue        Quirk = "bare_value"        // "id" for {"value": "id"}
	QuirkWrappedValue     Quirk = "wrapped_value"     // {"value": "x"} for "x"
	QuirkNumberString     Quirk = "number_string"     // 7 for "7", where nobody is identified by it
	QuirkNumberText       Quirk = "number_text"       // "7" for 7
	QuirkEmptyString      Quirk = "empty_string"      // "" for no value
	QuirkFilterCreates    Quirk = "filter_creates"    // emails[type eq "work"].value where there is no such element
	QuirkRemoveListed     Quirk = "remove_listed"     // remove of members with a value
	QuirkDottedKey        Quirk = "dotted_key"        // {"name.givenName": …} without a path
	QuirkBareExtension    Quirk = "bare_extension"    // path "manager" without its URN
	QuirkUnknownAttribute Quirk = "unknown_attribute" // ignored
	QuirkUnknownExtension Quirk = "unknown_extension" // ignored
	QuirkUnknownMember    Quirk = "unknown_member"    // the id of a member that does not exist
	QuirkRefForValue      Quirk = "ref_for_value"     // a member's $ref without its value
	QuirkMissingSchemas   Quirk = "missing_schemas"   // no schemas in the body
	QuirkPrimaryTwice     Quirk = "primary_twice"     // two primary elements; the last one stays primary
	QuirkSameValueTwice   Quirk = "same_value_twice"  // two elements of the same type and value; they become one
	QuirkTypedCompare     Quirk = "typed_compare"     // emails[type eq "work"].value eq "x" in a filter
	QuirkPlainJSON        Quirk = "plain_json"        // Content-Type: application/json
	QuirkReadOnlyIgnored  Quirk = "read_only_ignored" // id, meta or groups sent along
	QuirkDottedURN        Quirk = "dotted_urn"        // urn:…:2.0:User.employeeNumber, with a dot for the last colon
	QuirkCoreObject       Quirk = "core_object"       // the core schema's attributes in an object below its URN
	QuirkJSONString       Quirk = "json_string"       // "{\"active\": false}" for the object, as the value without a path
	QuirkOperationsCase   Quirk = "operations_case"   // "operations" for "Operations"
	QuirkRemoveWithValue  Quirk = "remove_with_value" // remove of some elements, listed in the value
)

// Quirks counts the quirks of one request. Its methods may be called on nil, which counts nothing.
type Quirks struct{ Counts map[Quirk]int }

// Add counts q once more.
func (qs *Quirks) Add(q Quirk) {
	if qs == nil {
		return
	}
	if qs.Counts == nil {
		qs.Counts = map[Quirk]int{}
	}
	qs.Counts[q]++
}

// Clone returns a copy, from which a transaction that is tried again can begin.
func (qs *Quirks) Clone() Quirks { return Quirks{maps.Clone(qs.Counts)} }
