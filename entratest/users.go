package entratest

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// FindUser is the id of the user with this userName, or "".
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

// CreateUser pushes a person, and returns the id the target gave; an account
// that is there already is matched and brought up to date.
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

// create posts a resource and compares what was made of it.
func (p *Provisioner) create(path, urn string, body document) (id string, err error) {
	made, err := p.call(http.MethodPost, path, body, http.StatusCreated)
	if err != nil {
		return "", err
	}
	sent := maps.Clone(body)
	delete(sent, "schemas") // the target's own to say
	problem := resourceProblem(made, urn)
	if problem == "" {
		problem = echoes("", sent, made)
	}
	if problem != "" {
		return "", fmt.Errorf("POST %s: what was made is not what was sent: %s", path, problem)
	}
	return text(made, "id"), nil
}

// userBody is a person by Entra's default mapping, with objectId as externalId.
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

// patch sends operations; an answer of 200 must be the resource.
func (p *Provisioner) patch(path, urn string, operations ...operation) error {
	now, err := p.call(http.MethodPatch, path, document{"schemas": []any{patchURN}, "Operations": operations}, http.StatusOK, http.StatusNoContent)
	if err != nil || now == nil {
		return err
	}
	if problem := resourceProblem(now, urn); problem != "" {
		return fmt.Errorf("PATCH %s: the answer is not the resource: %s", path, problem)
	}
	return nil
}

// op spells an operation in the dialect.
func (p *Provisioner) op(name string) string {
	if p.Modern {
		return strings.ToLower(name)
	}
	return name
}

// UpdateUser pushes attributes by path, such as {"displayName": "…"} or
// {`emails[type eq "work"].value`: "…"}; all in one request, which the modern
// dialect makes one path-less operation as far as paths have no filter.
func (p *Provisioner) UpdateUser(id string, attributes map[string]any) error {
	var operations []operation
	loose := document{}
	for _, path := range slices.Sorted(maps.Keys(attributes)) {
		if p.Modern && !strings.Contains(path, "[") {
			loose[path] = attributes[path]
			continue
		}
		operations = append(operations, operation{"op": p.op("Replace"), "path": path, "value": attributes[path]})
	}
	if len(loose) > 0 {
		operations = append([]operation{{"op": "replace", "value": loose}}, operations...)
	}
	if err := p.patch(usersPath+"/"+id, userURN, operations...); err != nil {
		return err
	}
	return p.confirm(id, attributes)
}

// confirm reads a user back and compares.
func (p *Provisioner) confirm(id string, attributes map[string]any) error {
	now, err := p.readBack(usersPath+"/"+id, http.StatusOK)
	if err != nil {
		return err
	}
	if problem := resourceProblem(now, userURN); problem != "" {
		return fmt.Errorf("the user %s read back: %s", id, problem)
	}
	for path, sent := range attributes {
		if problem := echoes(path, sent, valueAt(now, path)); problem != "" {
			return fmt.Errorf("the user %s read back: %s", id, problem)
		}
	}
	return nil
}

// differences are the attributes to push, by path.
func differences(was, now Person) map[string]any {
	changed := map[string]any{}
	for path, pair := range map[string][2]string{
		"userName":                     {was.UPN, now.UPN},
		"displayName":                  {was.Name, now.Name},
		"name.formatted":               {was.Name, now.Name},
		"name.givenName":               {was.GivenName, now.GivenName},
		"name.familyName":              {was.FamilyName, now.FamilyName},
		`emails[type eq "work"].value`: {was.Mail, now.Mail},
		"title":                        {was.Title, now.Title},
		staffURN + ":department":       {was.Department, now.Department},
	} {
		if pair[0] != pair[1] {
			changed[path] = pair[1]
		}
	}
	return changed
}

// Disable is what Entra sends when somebody is unassigned, blocked or deleted:
// the user stays, inactive.
func (p *Provisioner) Disable(id string) error { return p.setActive(id, false) }

// Restore undoes Disable, after the matching query that Entra makes first.
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
	o := operation{"op": p.op("Replace"), "path": "active", "value": active}
	if !p.Modern {
		o["value"] = map[bool]string{true: "True", false: "False"}[active]
	}
	if err := p.patch(usersPath+"/"+id, userURN, o); err != nil {
		return err
	}
	return p.confirm(id, map[string]any{"active": active})
}

// DeleteUser removes a user for good: nothing may be left under the id.
func (p *Provisioner) DeleteUser(id string) error { return p.remove(usersPath + "/" + id) }

func (p *Provisioner) remove(path string) error {
	if _, err := p.call(http.MethodDelete, path, nil, http.StatusNoContent); err != nil {
		return err
	}
	_, err := p.readBack(path, http.StatusNotFound)
	return err
}
