package scim

import "maps"

// quirk is one named deviation from the RFCs that is accepted and counted.
type quirk string

// The quirks, by who is known to show them (docs/entra.md has the exchanges).
const (
	quirkOpCase           quirk = "op_case"           // "Add", "Replace", "Remove"
	quirkBooleanString    quirk = "boolean_string"    // "False" for false
	quirkArrayOfOne       quirk = "array_of_one"      // [x] for a single value
	quirkSingleForMany    quirk = "single_for_many"   // x for [x]
	quirkBareValue        quirk = "bare_value"        // "id" for {"value": "id"}
	quirkWrappedValue     quirk = "wrapped_value"     // {"value": "x"} for "x"
	quirkNumberString     quirk = "number_string"     // 7 for "7"
	quirkNumberText       quirk = "number_text"       // "7" for 7
	quirkEmptyString      quirk = "empty_string"      // "" for no value
	quirkFilterCreates    quirk = "filter_creates"    // emails[type eq "work"].value on nothing
	quirkRemoveListed     quirk = "remove_listed"     // remove members with a value
	quirkDottedKey        quirk = "dotted_key"        // {"name.givenName": …} without a path
	quirkBareExtension    quirk = "bare_extension"    // path "manager" without its URN
	quirkUnknownAttribute quirk = "unknown_attribute" // passed over
	quirkUnknownExtension quirk = "unknown_extension" // passed over
	quirkUnknownMember    quirk = "unknown_member"    // a member id that names nothing
	quirkRefForValue      quirk = "ref_for_value"     // a member's $ref without its value
	quirkMissingSchemas   quirk = "missing_schemas"   // no schemas in the body
	quirkPrimaryTwice     quirk = "primary_twice"     // the last one wins
	quirkSameValueTwice   quirk = "same_value_twice"  // two of a type and value are one
	quirkTypedCompare     quirk = "typed_compare"     // emails[type eq "work"].value eq "x" in a filter
	quirkPlainJSON        quirk = "plain_json"        // Content-Type: application/json
	quirkReadOnlyIgnored  quirk = "read_only_ignored" // id, meta or groups sent along
	quirkPatchOpsCase     quirk = "operations_case"   // "operations" for "Operations"
	quirkReplaceWithValue quirk = "remove_with_value" // remove of a plain value that is listed
)

// notes collects the quirks of one request.
type notes struct{ seen map[quirk]int }

func (n *notes) add(q quirk) {
	if n == nil {
		return
	}
	if n.seen == nil {
		n.seen = map[quirk]int{}
	}
	n.seen[q]++
}

// copied is the notes as they are now: what is tried again begins from them.
func (n *notes) copied() notes { return notes{maps.Clone(n.seen)} }
