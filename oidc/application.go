package oidc

import (
	"fmt"
	"strings"
)

// Applications says how tokens of applications, which call for themselves (client
// credentials), are told from tokens of users. No standard says it.
type Applications struct {
	ClientClaims []string `yaml:"client_claims" doc:"claims that may hold the client ID; the first that a token has counts; azp, appid, client_id when absent"`
	Claim        string   `yaml:"claim" doc:"a claim that only tokens of applications have with the value below; absent: Entra's and Keycloak's are recognized"`
	Value        string   `yaml:"value" doc:"the value of claim in tokens of applications; absent: the client ID"`
}

// clientClaims are the claims that hold the client ID, if the settings name none.
var clientClaims = []string{"azp", "appid", "client_id"}

func (a Applications) check(fault func(path, problem string)) {
	for i, name := range a.ClientClaims {
		if strings.TrimSpace(name) == "" {
			fault(fmt.Sprintf("client_claims[%d]", i), "is empty; write the name of a claim, such as azp")
		}
	}
	if a.Value != "" && a.Claim == "" {
		fault("value", "belongs to a claim; write claim, such as gty")
	}
}

// clientOf returns the client ID of the application that calls for itself; "" if a
// user calls, or if that is in doubt.
func (a Applications) clientOf(c *claims) string {
	names := a.ClientClaims
	if len(names) == 0 {
		names = clientClaims
	}
	client := ""
	for _, name := range names {
		if client = c.text(name); client != "" {
			break
		}
	}
	value := a.Value
	if value == "" {
		value = client
	}
	switch {
	case client == "":
		return ""
	case a.Claim != "" && c.text(a.Claim) == value:
		return client
	case a.Claim == "" && (c.isOfEntraApp() || c.isOfServiceAccount(client)):
		return client
	}
	return ""
}

// isOfEntraApp reports whether Entra issued the token to an application. It sets idtyp
// only where that is configured. Without it, a token whose subject is its oid and that
// has no delegated scope is an application's.
func (c *claims) isOfEntraApp() bool {
	return c.TokenKind == "app" || c.Subject != "" && c.all["oid"] == c.Subject && !c.hasAny("scp", "scope")
}

// isOfServiceAccount reports whether Keycloak issued the token to the service account
// of a client. The name of the account alone does not show that: an administrator can
// give it to a user. But tokens of users have a sid, and those of service accounts have
// none.
func (c *claims) isOfServiceAccount(client string) bool {
	if c.hasAny("sid", "session_state", "auth_time", "nonce", "oid", "scp") {
		return false
	}
	for _, name := range clientClaims { // they must agree
		if other := c.text(name); other != "" && other != client {
			return false
		}
	}
	return c.text("preferred_username") == "service-account-"+strings.ToLower(client)
}
