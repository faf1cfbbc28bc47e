package entratest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Push is one SCIM request and what came of it.
type Push struct {
	Method, Path string
	Body         string // as sent
	Status       int
	Took         time.Duration
	Problem      string // what Entra's provisioning log would say; "" for success
}

// Provisioner sends SCIM as Entra's provisioning service does and is particular
// about the answers.
type Provisioner struct {
	BaseURL string // the "tenant URL", such as https://host/scim/v2
	Token   string // the "secret token"
	Client  *http.Client
	Modern  bool       // speak as with ?aadOptscim062020: lower-case ops, path-less replace
	Observe func(Push) // told of every request; nil for nobody
}

const scimType = "application/scim+json"

// call makes one request, demands one of statuses, and decodes the answer into
// out (nil: it need not be read).
func (p *Provisioner) call(method, path string, body, out any, statuses ...int) error {
	push := Push{Method: method, Path: path}
	err := p.exchange(&push, body, out, statuses)
	if err != nil {
		push.Problem = err.Error()
	}
	if p.Observe != nil {
		p.Observe(push)
	}
	return err
}

func (p *Provisioner) exchange(push *Push, body, out any, statuses []int) error {
	var payload io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		push.Body = string(data)
		payload = bytes.NewReader(data)
	}
	req, err := http.NewRequest(push.Method, strings.TrimSuffix(p.BaseURL, "/")+push.Path, payload)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+p.Token)
	req.Header.Set("User-Agent", "") // Entra sends none
	if body != nil {
		req.Header.Set("Content-Type", scimType+"; charset=utf-8")
	}
	client := p.Client
	if client == nil {
		client = http.DefaultClient
	}
	began := time.Now()
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("no answer: %w", err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	push.Took, push.Status = time.Since(began), resp.StatusCode
	if err != nil {
		return fmt.Errorf("the answer broke off: %w", err)
	}
	return judge(resp, data, out, statuses)
}

// judge is what makes it stricter than Entra: any deviation is an error.
func judge(resp *http.Response, data []byte, out any, statuses []int) error {
	ok := false
	for _, s := range statuses {
		ok = ok || resp.StatusCode == s
	}
	switch {
	case !ok:
		return fmt.Errorf("StatusCode: %s Web Response: %.500s", resp.Status, data)
	case resp.StatusCode == http.StatusNoContent && len(data) > 0:
		return fmt.Errorf("204 with a body of %d bytes", len(data))
	case resp.StatusCode == http.StatusNoContent:
		return nil
	case !strings.HasPrefix(resp.Header.Get("Content-Type"), scimType):
		return fmt.Errorf("Content-Type is %q, not %s", resp.Header.Get("Content-Type"), scimType)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("the answer is not the JSON expected: %w", err)
	}
	return nil
}

// resource is what is read of a user or group.
type resource struct {
	Schemas     []string `json:"schemas"`
	ID          string   `json:"id"`
	ExternalID  string   `json:"externalId"`
	UserName    string   `json:"userName"`
	DisplayName string   `json:"displayName"`
	Active      *bool    `json:"active"`
}

type listAnswer struct {
	Schemas      []string   `json:"schemas"`
	TotalResults *int       `json:"totalResults"`
	Resources    []resource `json:"Resources"`
}

// TestConnection is what the portal's button does: ask for a user that cannot exist.
func (p *Provisioner) TestConnection() error {
	found, err := p.match("/Users?filter=" + url.QueryEscape(fmt.Sprintf("userName eq %q", guid())))
	if err == nil && found != "" {
		err = fmt.Errorf("a user that cannot exist was found")
	}
	return err
}

// match is the id of the one resource that a query finds, or "".
func (p *Provisioner) match(query string) (string, error) {
	var list listAnswer
	if err := p.call(http.MethodGet, query, nil, &list, http.StatusOK); err != nil {
		return "", err
	}
	switch {
	case len(list.Schemas) != 1 || list.Schemas[0] != "urn:ietf:params:scim:api:messages:2.0:ListResponse":
		return "", fmt.Errorf("the answer to a query is not a ListResponse")
	case list.TotalResults == nil || list.Resources == nil:
		return "", fmt.Errorf("the answer to a query lacks totalResults or Resources")
	case *list.TotalResults > 1:
		return "", fmt.Errorf("duplicate target entries: %d", *list.TotalResults)
	case *list.TotalResults == 0:
		return "", nil
	}
	return list.Resources[0].ID, nil
}

// FindUser is the id of the user with this userName, or "".
func (p *Provisioner) FindUser(upn string) (string, error) {
	return p.match("/Users?filter=" + url.QueryEscape(fmt.Sprintf("userName eq %q", upn)))
}

// CreateUser pushes a person, and returns the id the target gave; an account
// that is there already is matched.
func (p *Provisioner) CreateUser(person Person) (string, error) {
	if id, err := p.FindUser(person.UPN); id != "" || err != nil {
		return id, err
	}
	var made resource
	if err := p.call(http.MethodPost, "/Users", userBody(person), &made, http.StatusCreated); err != nil {
		return "", err
	}
	if made.ID == "" || made.UserName != person.UPN || made.ExternalID != person.OID || made.Active == nil || *made.Active == person.Disabled {
		return "", fmt.Errorf("the created user is not what was sent: %+v", made)
	}
	return made.ID, nil
}

func userBody(person Person) map[string]any {
	body := map[string]any{
		"schemas":     []string{"urn:ietf:params:scim:schemas:core:2.0:User", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"},
		"externalId":  person.OID,
		"userName":    person.UPN,
		"active":      !person.Disabled,
		"displayName": person.Name,
		"title":       person.Title,
		"emails":      []any{map[string]any{"primary": true, "type": "work", "value": person.Mail}},
		"meta":        map[string]any{"resourceType": "User"},
		"name":        map[string]any{"formatted": person.Name, "familyName": person.FamilyName, "givenName": person.GivenName},
		"roles":       []any{},
	}
	if person.Department != "" {
		body["urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"] = map[string]any{"department": person.Department}
	}
	return body
}

type operation map[string]any

func (p *Provisioner) patch(path string, operations ...operation) error {
	return p.call(http.MethodPatch, path, map[string]any{"schemas": []string{"urn:ietf:params:scim:api:messages:2.0:PatchOp"},
		"Operations": operations}, nil, http.StatusOK, http.StatusNoContent)
}

func (p *Provisioner) op(name string) string {
	if p.Modern {
		return strings.ToLower(name)
	}
	return name
}

// UpdateUser pushes attributes by path, such as {"displayName": "…"}.
func (p *Provisioner) UpdateUser(id string, attributes map[string]any) error {
	if p.Modern {
		return p.patch("/Users/"+id, operation{"op": "replace", "value": attributes})
	}
	var operations []operation
	for path, value := range attributes {
		operations = append(operations, operation{"op": "Replace", "path": path, "value": value})
	}
	return p.patch("/Users/"+id, operations...)
}

// SetActive disables ("False") or restores ("True") a user.
func (p *Provisioner) SetActive(id string, active bool) error {
	o := operation{"op": p.op("Replace"), "path": "active", "value": active}
	if !p.Modern {
		o["value"] = map[bool]string{true: "True", false: "False"}[active]
	}
	if err := p.patch("/Users/"+id, o); err != nil {
		return err
	}
	var now resource
	if err := p.call(http.MethodGet, "/Users/"+id, nil, &now, http.StatusOK); err != nil {
		return err
	}
	if now.Active == nil || *now.Active != active {
		return fmt.Errorf("active was set to %v and reads %v", active, now.Active)
	}
	return nil
}

// DeleteUser removes a user for good.
func (p *Provisioner) DeleteUser(id string) error {
	return p.call(http.MethodDelete, "/Users/"+id, nil, nil, http.StatusNoContent)
}

// CreateGroup pushes a group without members, or matches one.
func (p *Provisioner) CreateGroup(team Team) (string, error) {
	id, err := p.match("/Groups?excludedAttributes=members&filter=" + url.QueryEscape(fmt.Sprintf("displayName eq %q", team.Name)))
	if id != "" || err != nil {
		return id, err
	}
	var made resource
	err = p.call(http.MethodPost, "/Groups", map[string]any{
		"schemas":     []string{"urn:ietf:params:scim:schemas:core:2.0:Group", "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"},
		"externalId":  team.OID,
		"displayName": team.Name,
		"meta":        map[string]any{"resourceType": "Group"},
	}, &made, http.StatusCreated)
	if err != nil {
		return "", err
	}
	if made.ID == "" || made.ExternalID != team.OID || made.DisplayName != team.Name {
		return "", fmt.Errorf("the created group is not what was sent: %+v", made)
	}
	return made.ID, nil
}

// AddMembers makes users members of a group.
func (p *Provisioner) AddMembers(group string, users ...string) error {
	return p.patch("/Groups/"+group, operation{"op": p.op("Add"), "path": "members", "value": memberValues(users)})
}

// RemoveMembers ends memberships: the old dialect lists them, the modern one filters.
func (p *Provisioner) RemoveMembers(group string, users ...string) error {
	if !p.Modern {
		return p.patch("/Groups/"+group, operation{"op": "Remove", "path": "members", "value": memberValues(users)})
	}
	var operations []operation
	for _, user := range users {
		operations = append(operations, operation{"op": "remove", "path": fmt.Sprintf("members[value eq %q]", user)})
	}
	return p.patch("/Groups/"+group, operations...)
}

func memberValues(users []string) (values []any) {
	for _, user := range users {
		values = append(values, map[string]any{"$ref": nil, "value": user})
	}
	return values
}

// DeleteGroup removes a group.
func (p *Provisioner) DeleteGroup(id string) error {
	return p.call(http.MethodDelete, "/Groups/"+id, nil, nil, http.StatusNoContent)
}
