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

// setUserDocument puts a document into u, with the attributes that the directory stores beside it.
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
	return nil
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
