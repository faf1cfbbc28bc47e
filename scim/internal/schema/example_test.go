package schema_test

import (
	"encoding/json"
	"fmt"
	"strings"

	"sallyport/scim/internal/schema"
)

var types = schema.New(strings.ToLower)

func print(v any) {
	data, _ := json.Marshal(v)
	fmt.Println(string(data))
}

// A filter is parsed once and then evaluated on any number of documents.
func ExampleParseFilter() {
	filter, err := schema.ParseFilter(types.User, nil, `emails[type eq "work"].value ew "@example.com" and active eq true`, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	document, _ := schema.Decode([]byte(`{"active": true, "emails": [{"type": "work", "value": "Ann@Example.com"}]}`))
	fmt.Println(filter.Matches(&schema.Subject{Document: document}))

	_, err = schema.ParseFilter(types.User, nil, `active gt true`, nil)
	fmt.Println(err)
	// Output:
	// true <nil>
	// active has no order to compare by. (At character 11.)
}

// Entra ID writes booleans as text, leaves the URN of an extension out and sends attributes that are not in the schema.
func ExampleNormalize() {
	body, _ := schema.Decode([]byte(`{"schemas": [], "USERNAME": "ann", "active": "True", "department": "Sales", "shoeSize": 42}`))
	var quirks schema.Quirks
	document, err := schema.Normalize(types.User, body, &quirks)
	if err != nil {
		fmt.Println(err)
		return
	}
	print(document)
	print(quirks.Counts)
	// Output:
	// {"active":true,"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"Sales"},"userName":"ann"}
	// {"bare_extension":1,"boolean_string":1,"unknown_attribute":1}
}

func ExampleApplyPatch() {
	body, _ := schema.Decode([]byte(`{"schemas": [], "Operations": [
		{"op": "Replace", "path": "emails[type eq \"work\"].value", "value": "new@example.com"},
		{"op": "remove", "path": "title"}]}`))
	var quirks schema.Quirks
	operations, err := schema.ParsePatch(types.User, body, &quirks)
	if err != nil {
		fmt.Println(err)
		return
	}
	document, _ := schema.Decode([]byte(`{"userName": "ann", "title": "Clerk"}`))
	if err := schema.ApplyPatch(types.User, document, operations, &quirks); err != nil {
		fmt.Println(err)
		return
	}
	print(document)
	print(quirks.Counts)
	// Output:
	// {"emails":[{"type":"work","value":"new@example.com"}],"userName":"ann"}
	// {"filter_creates":1,"op_case":1}
}
