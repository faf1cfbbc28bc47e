package schema

import "maps"

// quirk is one named deviation from the RFCs that is accepted and counted.
type Quirk string

// The quirks, by who is known to show them (docs/entra.md has the exchanges).
const (
	QuirkOpCase           Quirk = "op_case"           // "Add", "Replace", "Remove"
	QuirkBooleanString    Quirk = "boolean_string"    // "False" for false
	QuirkArrayOfOne       Quirk = "array_of_one"      // [x] for a single value
	QuirkSingleForMany    Quirk = "single_for_many"   // x for [x]
	QuirkBareValue        Quirk = "bare_value"        // "id" for {"value": "id"}
	QuirkWrappedValue     Quirk = "wrapped_value"     // {"value": "x"} for "x"
	QuirkNumberString     Quirk = "number_string"     // 7 for "7"
	QuirkNumberText       Quirk = "number_text"       // "7" for 7
	QuirkEmptyString      Quirk = "empty_string"      // "" for no value
	QuirkFilterCreates    Quirk = "filter_creates"    // emails[type eq "work"].value on nothing
	QuirkRemoveListed     Quirk = "remove_listed"     // remove members with a value
	QuirkDottedKey        Quirk = "dotted_key"        // {"name.givenName": …} without a path
	QuirkBareExtension    Quirk = "bare_extension"    // path "manager" without its URN
	QuirkUnknownAttribute Quirk = "unknown_attribute" // passed over
	QuirkUnknownExtension Quirk = "unknown_extension" // passed over
	QuirkUnknownMember    Quirk = "unknown_member"    // a member id that names nothing
	QuirkRefForValue      Quirk = "ref_for_value"     // a member's $ref without its value
	QuirkMissingSchemas   Quirk = "missing_schemas"   // no schemas in the body
	QuirkPrimaryTwice     Quirk = "primary_twice"     // the last one wins
	QuirkSameValueTwice   Quirk = "same_value_twice"  // two of a type and value are one
	QuirkTypedCompare     Quirk = "typed_compare"     // emails[type eq "work"].value eq "x" in a filter
	QuirkPlainJSON        Quirk = "plain_json"        // Content-Type: application/json
	QuirkReadOnlyIgnored  Quirk = "read_only_ignored" // id, meta or groups sent along
	QuirkPatchOpsCase     Quirk = "operations_case"   // "operations" for "Operations"
	QuirkReplaceWithValue Quirk = "remove_with_value" // remove of a plain value that is listed
)

// notes collects the quirks of one request.
type Quirks struct{ Counts map[Quirk]int }

func (n *Quirks) Add(q Quirk) {
	if n == nil {
		return
	}
	if n.Counts == nil {
		n.Counts = map[Quirk]int{}
	}
	n.Counts[q]++
}

// copied is the notes as they are now: what is tried again begins from them.
func (n *Quirks) Clone() Quirks { return Quirks{maps.Clone(n.Counts)} }
