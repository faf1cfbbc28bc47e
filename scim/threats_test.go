package scim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
)

// TestExternalID_IsNotAnID: whatever an identity provider writes into externalId,
// it cannot take over another user by it (CVE-2025-41115: "1" was user 1).
func TestExternalID_IsNotAnID(t *testing.T) {
	c := newClient(t)
	_, carol := c.do("POST", "/Users", `{"userName":"carol","externalId":"7d420df3-9995-4831-a406-ecf8166f5f6a","emails":[{"value":"carol@example.com"}]}`)
	id := carol["id"].(string)
	for i, external := range []string{"1", "0", "-1", "01", "1e3", "0x1", "null", "true", "admin", "carol", "carol@example.com", id, strings.ToUpper(id), "7d420df3-9995-4831-a406-ecf8166f5f6a",
		"../Users/" + id, "user/" + id, "*", `"`, `\`, "<script>", `id pr`, "é", "\u202e" + id, strings.Repeat("1", 1900)} {
		resp, made := c.do("POST", "/Users", `{"userName":"u`+strconv.Itoa(i)+`","emails":[{"value":"carol@example.com"}],"externalId":`+quoted(external)+`}`)
		if resp.StatusCode != http.StatusCreated || made["id"] == id || made["id"] == external || made["externalId"] != external {
			t.Errorf("externalId %.40q: status %d %.200v", external, resp.StatusCode, made)
			continue
		}
		if resp, _ := c.do("GET", "/Users/"+url.PathEscape(external), ""); external != id && resp.StatusCode != http.StatusNotFound {
			t.Errorf("somebody is found at /Users/%.40q: %d", external, resp.StatusCode)
		}
		if _, found := c.do("POST", "/Users/.search", `{"filter":`+quoted("externalId eq "+quoted(external)+` and userName ne "carol"`)+`}`); found["totalResults"] != 1.0 {
			t.Errorf("externalId %.40q is found %v times", external, found["totalResults"])
		}
	}
	if _, now := c.do("GET", "/Users/"+id, ""); fmt.Sprint(now) != fmt.Sprint(carol) {
		t.Errorf("carol became %v", now)
	}
}

// quoted returns text as a JSON string.
func quoted(text string) string {
	data, _ := json.Marshal(text)
	return string(data)
}

// TestPatch_CannotReachInternals: no path reaches what the server keeps. A read-only
// attribute is rejected; an attribute of no schema is ignored.
func TestPatch_CannotReachInternals(t *testing.T) {
	c := newClient(t)
	_, u := c.do("POST", "/Users", `{"userName":"u","externalId":"x","active":false}`)
	_, g := c.do("POST", "/Groups", `{"displayName":"g","members":[{"value":"`+u["id"].(string)+`"}]}`)
	user, group := "/Users/"+u["id"].(string), "/Groups/"+g["id"].(string)
	_, before := c.do("GET", user, "")
	_, beforeGroup := c.do("GET", group, "")
	readOnly := []string{"id", "ID", "schemas", "meta", "meta.created", "meta.lastModified", "meta.version", "meta.location", "META.resourceType", coreUser + ":id", coreUser + ":meta.version"}
	for path, also := range map[string][]string{
		user:  {"groups", "groups.value", "groups.display", `groups[value eq "x"]`, `groups[type eq "direct"].value`, coreUser + ":groups", "manager.displayName", enterprise + ":manager.displayName"},
		group: {"members.value", "members.type", "members.$ref", "members.display", `members[value pr].value`},
	} {
		for _, name := range append(also, readOnly...) {
			for _, op := range []string{"add", "replace", "remove"} {
				resp, result := c.do("PATCH", path, patch(`{"op":"`+op+`","path":`+quoted(name)+`,"value":"x"}`))
				urn := strings.HasPrefix(name, "urn:") && path == group
				if !urn && (resp.StatusCode != http.StatusBadRequest || result["scimType"] != "mutability") {
					t.Errorf("%s of %s: status %d %v", op, name, resp.StatusCode, result)
				}
			}
		}
		for _, name := range []string{"_id", "version", "epoch", "created", "modified", "revision", "token", "document", "damaged", "suspended", "held", "memory", "keys", "email", "isAdmin", "is_admin", "admin",
			"__proto__", "constructor", "prototype.active", "password", "Password", "active\u0000", "activ\u00e9", "u\u017ferName", "di\u017fplayName", "user/1", "../id", "active.x", "userName.value", "$", "*", "urn:x:active"} {
			c.do("PATCH", path, patch(`{"op":"replace","path":`+quoted(name)+`,"value":"True"}`))
			c.do("PATCH", path, patch(`{"op":"add","value":{`+quoted(name)+`:"True"}}`))
		}
	}
	_, after := c.do("GET", user, "")
	_, afterGroup := c.do("GET", group, "")
	if fmt.Sprint(after, afterGroup) != fmt.Sprint(before, beforeGroup) {
		t.Errorf("something changed:\n%v\n%v\n%v\n%v", before, after, beforeGroup, afterGroup)
	}
}
