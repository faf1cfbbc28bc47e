package entratest

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// CreateGroup pushes a group without its members, unless the target has one by that
// name. It returns the id at the target.
func (p *Provisioner) CreateGroup(team Team) (string, error) {
	found, err := p.match(groupPath + "?excludedAttributes=members&filter=" + equals("displayName", team.Name))
	switch {
	case err != nil:
		return "", err
	case found == nil:
		return p.create(groupPath, groupURN, document{"schemas": []any{groupURN, oldURN}, "externalId": team.OID,
			"displayName": team.Name, "meta": document{"resourceType": "Group"}})
	case found["members"] != nil:
		return "", errors.New("a group has its members though they were excluded")
	case !strings.EqualFold(text(found, "displayName"), team.Name):
		return "", fmt.Errorf("asked for the group %q, got %q", team.Name, text(found, "displayName"))
	}
	return text(found, "id"), nil
}

// AddMembers adds users to a group, in one operation.
func (p *Provisioner) AddMembers(group string, users ...string) error {
	err := p.patch(groupPath+"/"+group, groupURN, operation{"op": p.op("Add"), "path": "members", "value": memberValues(users)})
	if err != nil {
		return err
	}
	return p.confirmMembers(group, users, true)
}

// RemoveMembers removes users from a group. The old dialect lists them as the value,
// the modern one has a filter for each.
func (p *Provisioner) RemoveMembers(group string, users ...string) error {
	operations := []operation{{"op": "Remove", "path": "members", "value": memberValues(users)}}
	if p.Modern {
		operations = nil
		for _, user := range users {
			operations = append(operations, operation{"op": "remove", "path": fmt.Sprintf("members[value eq %q]", user)})
		}
	}
	if err := p.patch(groupPath+"/"+group, groupURN, operations...); err != nil {
		return err
	}
	return p.confirmMembers(group, users, false)
}

func memberValues(users []string) (values []any) {
	for _, user := range users {
		values = append(values, document{"$ref": nil, "value": user})
	}
	return values
}

// confirmMembers checks whether the first and the last of users are in the group, by
// the query with which Entra used to check references.
func (p *Provisioner) confirmMembers(group string, users []string, want bool) error {
	if len(users) == 0 {
		return nil
	}
	for _, user := range []string{users[0], users[len(users)-1]} {
		filter := fmt.Sprintf("id eq %q and members eq %q", group, user)
		list, err := p.readBack(groupPath+"?attributes=id&filter="+url.QueryEscape(filter), http.StatusOK)
		if err != nil {
			return err
		}
		found, err := only(list)
		if err != nil {
			return err
		}
		if (found != nil) != want {
			return fmt.Errorf("the group %s has the member %s: %v, against what was pushed", group, user, found != nil)
		}
	}
	return nil
}

// DeleteGroup deletes a group.
func (p *Provisioner) DeleteGroup(id string) error { return p.remove(groupPath + "/" + id) }
