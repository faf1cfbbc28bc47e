package scim

import (
	"bytes"
	"encoding/json"
	"strings"

	"sallyport/directory"
)

// decodeDocument returns the stored document of a resource.
func decodeDocument(stored json.RawMessage) (map[string]any, error) {
	if len(stored) == 0 {
		return map[string]any{}, nil
	}
	d := json.NewDecoder(bytes.NewReader(stored))
	d.UseNumber()
	document := map[string]any{}
	return document, d.Decode(&document)
}

// setUserDocument puts a document into u, with the attributes that decisions read.
func setUserDocument(u *directory.User, document map[string]any) error {
	userName, _ := document["userName"].(string)
	if strings.TrimSpace(userName) == "" {
		return invalid("invalidValue", "userName is required.")
	}
	data, err := json.Marshal(document)
	if err != nil {
		return err
	}
	u.UserName, u.Document = userName, data
	u.ExternalID, _ = document["externalId"].(string)
	u.Active = document["active"] == true
	u.Email, u.Emails = emailOf(document)
	u.Roles = rolesOf(document)
	u.DisplayName, _ = document["displayName"].(string)
	if name, ok := document["name"].(map[string]any); ok && u.DisplayName == "" {
		u.DisplayName, _ = name["formatted"].(string)
	}
	if u.DisplayName == "" {
		u.DisplayName = userName
	}
	return nil
}

// emailOf returns the primary e-mail address, else the one for work, else the first; and all of them.
func emailOf(document map[string]any) (best string, all []string) {
	rank := -1
	list, _ := document["emails"].([]any)
	for _, item := range list {
		element, _ := item.(map[string]any)
		value, _ := element["value"].(string)
		r := 0
		if element["type"] == "work" {
			r = 1
		}
		if element["primary"] == true {
			r = 2
		}
		if value != "" {
			all = append(all, value)
		}
		if value != "" && r > rank {
			best, rank = value, r
		}
	}
	return best, all
}

// rolesOf returns the values of roles. One of Entra ID's mappings writes a JSON object into the value.
func rolesOf(document map[string]any) (roles []string) {
	list, _ := document["roles"].([]any)
	for _, item := range list {
		element, _ := item.(map[string]any)
		value, _ := element["value"].(string)
		var inner struct{ Value string }
		if len(value) > 0 && value[0] == '{' && json.Unmarshal([]byte(value), &inner) == nil {
			value = inner.Value
		}
		if value != "" {
			roles = append(roles, value)
		}
	}
	return roles
}

// setGroupDocument puts a document into g, with the attributes that decisions read.
func setGroupDocument(g *directory.Group, document map[string]any) error {
	name, _ := document["displayName"].(string)
	if strings.TrimSpace(name) == "" {
		return invalid("invalidValue", "displayName is required.")
	}
	data, err := json.Marshal(document)
	if err != nil {
		return err
	}
	g.DisplayName, g.Document = name, data
	g.ExternalID, _ = document["externalId"].(string)
	return nil
}
