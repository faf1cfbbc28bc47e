package entratest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// FindUser returns the id of the user with a userName, or "".
func (p *Provisioner) FindUser(upn string) (string, error) {
	found, err := p.match(usersPath + "?filter=" + equals("userName", upn))
	if err != nil || found == nil {
		return "", err
	}
	if !strings.EqualFold(text(found, "userName"), upn) {
		return "", fmt.Errorf("asked for the user %q, got %q", upn, text(found, "userName"))
	}
	return text(found, "id"), nil
}

// CreateUser pushes a person and returns the id at the target. A user who exists
// there by that userName is updated.
func (p *Provisioner) CreateUser(person Person) (id string, err error) {
	id, err = p.FindUser(person.UPN)
	switch {
	case err != nil:
		return "", err
	case id == "":
		return p.create(usersPath, userURN, userBody(person))
	}
	attributes := differences(Person{}, person)
	attributes["externalId"], attributes["active"] = person.OID, !person.Disabled
	return id, p.UpdateUser(id, attributes)
}

// create posts a resource and compares it with the response.
func (p *Provisioner) create(path, urn string, body document) (id string, err error) {
	created, err := p.call(http.MethodPost, path, body, http.StatusCreated)
	if err != nil {
		return "", err
	}
	sent := maps.Clone(body)
	delete(sent, "schemas") // may differ
	problem := resourceProblem(created, urn)
	if problem == "" {
		problem = difference("", sent, created)
	}
	if problem != "" {
		return "", fmt.Errorf("POST %s: the resource differs from the request: %s", path, problem)
	}
	return text(created, "id"), nil
}

// userBody returns a person in Entra's default mapping, with objectId as externalId.
func userBody(person Person) document {
	body := document{
		"schemas":     []any{userURN, staffURN},
		"externalId":  person.OID,
		"userName":    person.UPN,
		"active":      !person.Disabled,
		"displayName": person.Name,
		"emails":      []any{document{"primary": true, "type": "work", "value": person.Mail}},
		"meta":        document{"resourceType": "User"},
		"name":        document{"formatted": person.Name, "familyName": person.FamilyName, "givenName": person.GivenName},
		"roles":       []any{},
	}
	if person.Title != "" {
		body["title"] = person.Title
	}
	if person.Department != "" {
		body[staffURN] = document{"department": person.Department}
	}
	return body
}

type operation = document

// patch sends operations. A 200 response must have the resource.
func (p *Provisioner) patch(path, urn string, operations ...operation) error {
	now, err := p.call(http.MethodPatch, path, document{"schemas": []any{patchURN}, "Operations": operations}, http.StatusOK, http.StatusNoContent)
	if err != nil || now == nil {
		return err
	}
	if problem := resourceProblem(now, urn); problem != "" {
		return fmt.Errorf("PATCH %s: the response is not the resource: %s", path, problem)
	}
	return nil
}

// op returns the name of an operation in the dialect of the provisioner.
func (p *Provisioner) op(name string) string {
	if p.Modern {
		return strings.ToLower(name)
	}
	return name
}

// UpdateUser pushes attributes by path, such as {"displayName": "…"} or
// {`emails[type eq "work"].value`: "…"}, in one request. In the modern dialect, all
// attributes whose paths have no filter are one operation without path.
func (p *Provisioner) UpdateUser(id string, attributes map[string]any) error {
	var operations []operation
	pathless := document{}
	for _, path := range slices.Sorted(maps.Keys(attributes)) {
		if p.Modern && !strings.Contains(path, "[") {
			pathless[path] = attributes[path]
			continue
		}
		operations = append(operations, operation{"op": p.op("Replace"), "path": path, "value": attributes[path]})
	}
	if len(pathless) > 0 {
		operations = append([]operation{{"op": "replace", "value": pathless}}, operations...)
	}
	if err := p.patch(usersPath+"/"+id, userURN, operations...); err != nil {
		return err
	}
	return p.confirm(id, attributes)
}

// confirm reads a user back and compares the attributes.
func (p *Provisioner) confirm(id string, attributes map[string]any) error {
	now, err := p.readBack(usersPath+"/"+id, http.StatusOK)
	if err != nil {
		return err
	}
	if problem := resourceProblem(now, userURN); problem != "" {
		return fmt.Errorf("the user %s read back: %s", id, problem)
	}
	for path, sent := range attributes {
		if problem := difference(path, sent, valueAt(now, path)); problem != "" {
			return fmt.Errorf("the user %s read back: %s", id, problem)
		}
	}
	return nil
}

// differences returns the attributes that changed, by path.
func differences(old, now Person) map[string]any {
	changed := map[string]any{}
	for path, pair := range map[string][2]string{
		"userName":                     {old.UPN, now.UPN},
		"displayName":                  {old.Name, now.Name},
		"name.formatted":               {old.Name, now.Name},
		"name.givenName":               {old.GivenName, now.GivenName},
		"name.familyName":              {old.FamilyName, now.FamilyName},
		`emails[type eq "work"].value`: {old.Mail, now.Mail},
		"title":                        {old.Title, now.Title},
		staffURN + ":department":       {old.Department, now.Department},
	} {
		if pair[0] != pair[1] {
			changed[path] = pair[1]
		}
	}
	return changed
}

// Disable deactivates a user, as Entra does when a person is unassigned, blocked or
// deleted.
func (p *Provisioner) Disable(id string) error { return p.setActive(id, false) }

// Restore reverts [Provisioner.Disable], after the matching query that Entra makes.
func (p *Provisioner) Restore(person Person) (id string, err error) {
	id, err = p.FindUser(person.UPN)
	if err == nil && id == "" {
		err = fmt.Errorf("the user %q is gone, though it was only disabled", person.UPN)
	}
	if err != nil {
		return "", err
	}
	return id, p.setActive(id, true)
}

func (p *Provisioner) setActive(id string, active bool) error {
	change := operation{"op": p.op("Replace"), "path": "active", "value": active}
	if !p.Modern {
		change["value"] = map[bool]string{true: "True", false: "False"}[active]
	}
	if err := p.patch(usersPath+"/"+id, userURN, change); err != nil {
		return err
	}
	return p.confirm(id, map[string]any{"active": active})
}

// DeleteUser deletes a user and checks that the id is gone.
func (p *Provisioner) DeleteUser(id string) error { return p.remove(usersPath + "/" + id) }

func (p *Provisioner) remove(path string) error {
	if _, err := p.call(http.MethodDelete, path, nil, http.StatusNoContent); err != nil {
		return err
	}
	_, err := p.readBack(path, http.StatusNotFound)
	return err
}
