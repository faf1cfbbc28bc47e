package scim_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"sallyport/scim"
)

// TestWith_UsesOtherSettings serves the same directory by other settings: the deactivations that were carried out count
// toward the other limit, the tokens of an authorization server are accepted as long as it is named, and resources have the
// attributes that are declared. The former server still finishes what it has begun.
func TestWith_UsesOtherSettings(t *testing.T) {
	base, token, _, server := serveFor(t, scim.Settings{MaxDeactivations: scim.DeactivationLimit{Count: 1, Per: time.Hour}}, nil)
	c := &client{t, base, token}
	var ids []string
	for i := range 4 {
		_, u := c.do("POST", "/Users", fmt.Sprintf(`{"userName":"u%d"}`, i))
		ids = append(ids, u["id"].(string))
	}
	deactivate := func(c *client, i, want int) {
		t.Helper()
		resp, _ := c.do("PATCH", "/Users/"+ids[i], `{"Operations":[{"op":"replace","path":"active","value":false}]}`)
		if resp.StatusCode != want {
			t.Errorf("deactivation %d: status %d, want %d", i, resp.StatusCode, want)
		}
	}
	with := func(s scim.Settings, w scim.Workloads) *client {
		listening := httptest.NewServer(server.With(s, w))
		t.Cleanup(listening.Close)
		return &client{t, listening.URL + "/scim/v2", token}
	}
	deactivate(c, 0, http.StatusOK)
	deactivate(c, 1, http.StatusServiceUnavailable)
	const urn = "urn:ietf:params:scim:schemas:extension:contoso:2.0:User"
	next := with(scim.Settings{MaxDeactivations: scim.DeactivationLimit{Count: 2, Per: time.Hour}, OAuth: federated.OAuth,
		Extensions: []scim.Extension{{URN: urn, Attributes: []scim.Attribute{{Name: "badge"}}}}}, issuer{})
	deactivate(next, 1, http.StatusServiceUnavailable) // it is held until an operator decides
	deactivate(next, 2, http.StatusOK)
	deactivate(next, 3, http.StatusServiceUnavailable)
	deactivate(c, 3, http.StatusServiceUnavailable)

	federatedClient := &client{t, next.base, "good.jwt"}
	body := fmt.Sprintf(`{"userName":"u9","%s":{"badge":"7"}}`, urn)
	if resp, u := federatedClient.do("POST", "/Users", body); resp.StatusCode != http.StatusCreated || fmt.Sprint(u[urn]) != "map[badge:7]" {
		t.Errorf("a push by the other settings: %d, %v", resp.StatusCode, u)
	}
	if resp, _ := next.do("GET", "/Schemas/"+urn, ""); resp.StatusCode != http.StatusOK {
		t.Errorf("the declared schema: %d", resp.StatusCode)
	}
	_, issued := next.requestToken(url.Values{"grant_type": {"client_credentials"}, "client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {"good.jwt"}}, http.Header{})
	text, _ := issued["access_token"].(string)
	other, renamed := *federated.OAuth, *federated.OAuth
	other.Issuer, renamed.ClientIDs = "https://other.example", []string{"another"}
	for name, c := range map[string]struct {
		oauth *scim.OAuth
		want  int
	}{"the same issuer": {federated.OAuth, http.StatusOK}, "another issuer": {&other, http.StatusUnauthorized}, "another client": {&renamed, http.StatusUnauthorized}, "none": {nil, http.StatusUnauthorized}} {
		if resp, _ := (&client{t, with(scim.Settings{OAuth: c.oauth}, issuer{}).base, text}).do("GET", "/Users", ""); resp.StatusCode != c.want {
			t.Errorf("with %s, a token that was issued for an assertion gets %d, want %d", name, resp.StatusCode, c.want)
		}
	}
	if resp, _ := (&client{t, with(scim.Settings{}, nil).base, "good.jwt"}).do("GET", "/Users", ""); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("a token of an authorization server that is no longer named: %d", resp.StatusCode)
	}
	if resp, _ := c.do("GET", "/Schemas/"+urn, ""); resp.StatusCode != http.StatusNotFound {
		t.Errorf("the schema, by the former settings: %d", resp.StatusCode)
	}
}
