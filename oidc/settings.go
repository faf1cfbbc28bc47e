// Package oidc establishes who a caller is: by a login at the identity provider, or by
// a bearer token.
//
// If the caller's proof is invalid, the error is a [*Refusal] and matches
// [ErrRefused]. Every other error means that the proof could not be checked.
package oidc

import (
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"

	"sallyport/pemfile"
)

// Settings is the oidc node of the configuration.
type Settings struct {
	Issuer           string         `yaml:"issuer" doc:"the provider's issuer, exactly as it stands in its tokens"`
	ClientID         string         `yaml:"client_id" doc:"the application (client) ID"`
	ClientSecretFile string         `yaml:"client_secret_file" kind:"file" doc:"a file that holds the client secret"`
	APIAudiences     []string       `yaml:"api_audiences" doc:"a bearer token must name one of these as its audience; none: bearer tokens are refused"`
	UserClaim        string         `yaml:"user_claim" doc:"the claim that says who somebody is; oid for Entra ID"`
	UserAttribute    string         `yaml:"user_attribute" doc:"the SCIM attribute that has the same value: externalId or userName"`
	Scopes           []string       `yaml:"scopes" doc:"scopes to ask for at login"`
	Applications     Applications   `yaml:"applications" doc:"how tokens of applications, which call for themselves, are told from tokens of users"`
	BearerIssuers    []BearerIssuer `yaml:"bearer_issuers" doc:"further issuers whose bearer tokens are taken; nobody signs in there"`
	CAFile           string         `yaml:"ca_file" kind:"file" doc:"PEM certificates that may sign the provider's, instead of the system's"`
}

// BearerIssuer is another issuer of bearer tokens. A token is verified as one of the
// issuer that it names, and of no other.
type BearerIssuer struct {
	Issuer    string   `yaml:"issuer" doc:"exactly as it stands in the tokens; for Entra's version 1.0 https://sts.windows.net/TENANT-ID/"`
	Audiences []string `yaml:"audiences" doc:"a token must name one of these"`
	UserClaim string   `yaml:"user_claim" doc:"the claim by which its users are those of the directory; absent: only its applications are taken"`

	Applications Applications `yaml:"applications" doc:"how tokens of its applications are told from tokens of users"`

	CAFile string `yaml:"ca_file" kind:"file" doc:"PEM certificates that may sign the issuer's, instead of the system's"`
}

// Defaults returns the values of absent keys.
func Defaults() Settings {
	return Settings{UserClaim: "oid", UserAttribute: "externalId", Scopes: []string{openID, "profile", "email"}}
}

const openID = "openid" // the scope of every OpenID Connect login

// Check reports every fault of s.
func (s Settings) Check(fault func(path, problem string)) {
	if problem := issuerProblem(s.Issuer); problem != "" {
		fault("issuer", problem)
	}
	if s.ClientID == "" {
		fault("client_id", "is missing; write the application (client) ID from the provider's registration")
	}
	if _, err := readSecret(s.ClientSecretFile); err != nil {
		fault("client_secret_file", err.Error())
	}
	for i, audience := range s.APIAudiences {
		if strings.TrimSpace(audience) == "" {
			fault(fmt.Sprintf("api_audiences[%d]", i), "is empty; write the audience of your API's tokens, such as api://sallyport")
		}
	}
	if !slices.Contains(s.Scopes, openID) {
		fault("scopes", "lacks openid, without which the provider does not say who signed in; write [openid, profile, email]")
	}
	s.checkJoin(fault)
	s.Applications.check(func(path, problem string) { fault("applications."+path, problem) })
	s.checkBearerIssuers(fault)
	if _, err := pemfile.Pool(s.CAFile); err != nil {
		fault("ca_file", err.Error())
	}
}

func (s Settings) checkBearerIssuers(fault func(path, problem string)) {
	names := []string{s.Issuer}
	for i, b := range s.BearerIssuers {
		prefix := fmt.Sprintf("bearer_issuers[%d].", i)
		if problem := issuerProblem(b.Issuer); problem != "" {
			fault(prefix+"issuer", problem)
		}
		if slices.Contains(names, b.Issuer) {
			fault(prefix+"issuer", "is configured twice; remove one of the two")
		}
		names = append(names, b.Issuer)
		if len(b.Audiences) == 0 || slices.Contains(b.Audiences, "") {
			fault(prefix+"audiences", "is missing or has an empty one; write the audience of your API's tokens, such as api://sallyport")
		}
		if problem := claimProblem(b.UserClaim); b.UserClaim != "" && problem != "" {
			fault(prefix+"user_claim", problem)
		}
		b.Applications.check(func(path, problem string) { fault(prefix+"applications."+path, problem) })
		if _, err := pemfile.Pool(b.CAFile); err != nil {
			fault(prefix+"ca_file", err.Error())
		}
	}
}

// claimProblem returns why a claim must not identify a user, or "".
func claimProblem(claim string) string {
	switch claim {
	case "":
		return "is empty; write the claim that never changes and is never given to another, such as oid"
	case "email", "upn", "preferred_username", "unique_name", "name":
		return fmt.Sprintf("%s can be changed by its bearer or given to another person; write oid or sub", claim)
	}
	return ""
}

// checkJoin checks how an identity is joined with a user of the directory.
func (s Settings) checkJoin(fault func(path, problem string)) {
	if problem := claimProblem(s.UserClaim); problem != "" {
		fault("user_claim", problem)
	}
	if s.UserAttribute != "externalId" && s.UserAttribute != "userName" {
		fault("user_attribute", fmt.Sprintf("%q cannot be joined by; write externalId or userName", s.UserAttribute))
	}
}

func issuerProblem(issuer string) string {
	u, err := url.Parse(issuer)
	switch {
	case err != nil || u.Host == "" || u.User != nil || strings.ContainsAny(issuer, "?# "):
		return "is not the URL of an issuer; write it as in the tokens, such as https://login.microsoftonline.com/TENANT-ID/v2.0"
	case u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())):
		return "must be https, or anybody on the network path could pose as the provider"
	}
	return tenantProblem(u)
}

// tenantProblem returns why tokens of Entra never have this issuer, or why people of
// every organisation have it; otherwise "".
func tenantProblem(u *url.URL) string {
	tenant, version, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	for _, shared := range []string{"common", "organizations", "consumers"} {
		if strings.EqualFold(tenant, shared) {
			return fmt.Sprintf("%q lets every organisation's people sign in; write your own tenant's ID in its place", tenant)
		}
	}
	switch {
	case u.Host != "login.microsoftonline.com":
		return ""
	case strings.Contains(tenant, "."):
		return fmt.Sprintf("%q is a domain, and tokens name the tenant by its ID; write https://login.microsoftonline.com/TENANT-ID/v2.0", tenant)
	case version != "v2.0":
		return fmt.Sprintf("tokens have no such issuer; write https://login.microsoftonline.com/%s/v2.0", tenant)
	}
	return ""
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}
