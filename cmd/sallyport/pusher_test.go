package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"testing"
)

// pusher sends SCIM as Entra does, to the scim listener at base.
type pusher struct {
	t      testing.TB
	base   string
	token  string
	client *http.Client
}

// send makes one SCIM request, demands status and returns the body.
func (p *pusher) send(method, path string, body any, status int) map[string]any {
	p.t.Helper()
	got, resource, err := p.try(method, path, body)
	if err != nil {
		p.t.Fatal(err)
	}
	if got != status {
		p.t.Fatalf("%s %s gets %d, want %d: %v", method, path, got, status, resource)
	}
	return resource
}

func (p *pusher) try(method, path string, body any) (int, map[string]any, error) {
	var data []byte
	if body != nil {
		var err error
		if data, err = json.Marshal(body); err != nil {
			return 0, nil, err
		}
	}
	req, err := http.NewRequest(method, p.base+path, bytes.NewReader(data))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	if body != nil {
		req.Header.Set("Content-Type", "application/scim+json; charset=utf-8")
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	data, err = io.ReadAll(resp.Body)
	if err != nil {
		return 0, nil, err
	}
	var resource map[string]any
	_ = json.Unmarshal(data, &resource) // a 204 has none
	return resp.StatusCode, resource, nil
}

// hire creates a user as Entra's documented example does and returns its id.
func (p *pusher) hire(name, oid string) string {
	p.t.Helper()
	u := p.send("POST", "/Users", map[string]any{
		"schemas":    []string{"urn:ietf:params:scim:schemas:core:2.0:User", "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"},
		"externalId": oid, "userName": name + "@example.com", "active": true, "displayName": name,
		"emails": []any{map[string]any{"primary": true, "type": "work", "value": name + "@example.com"}},
		"meta":   map[string]any{"resourceType": "User"}, "roles": []any{},
	}, http.StatusCreated)
	return u["id"].(string)
}

// form creates a group and returns its id.
func (p *pusher) form(name, oid string) string {
	p.t.Helper()
	g := p.send("POST", "/Groups", map[string]any{
		"schemas":    []string{"urn:ietf:params:scim:schemas:core:2.0:Group", "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"},
		"externalId": oid, "displayName": name, "meta": map[string]any{"resourceType": "Group"},
	}, http.StatusCreated)
	return g["id"].(string)
}

func patchOf(operations ...map[string]any) map[string]any {
	return map[string]any{"schemas": []string{"urn:ietf:params:scim:api:messages:2.0:PatchOp"}, "Operations": operations}
}

func (p *pusher) patch(path string, operations ...map[string]any) {
	p.t.Helper()
	status, resource, err := p.try("PATCH", path, patchOf(operations...))
	if err != nil {
		p.t.Fatal(err)
	}
	if status != http.StatusOK && status != http.StatusNoContent {
		p.t.Fatalf("PATCH %s gets %d: %v", path, status, resource)
	}
}

func (p *pusher) setActive(user, active string) {
	p.t.Helper()
	p.patch("/Users/"+user, map[string]any{"op": "Replace", "path": "active", "value": active})
}

func (p *pusher) member(op, group, user string) {
	p.t.Helper()
	p.patch("/Groups/"+group, map[string]any{"op": op, "path": "members", "value": []any{map[string]any{"$ref": nil, "value": user}}})
}
