package importer

import (
	"net/url"
	"strings"
)

const microsoft = "login.microsoftonline.com"

// userClaimOf returns the claim by which an issuer's tokens identify a user.
func userClaimOf(issuer string) string {
	if u, err := url.Parse(issuer); err == nil && (u.Host == microsoft || u.Host == "sts.windows.net") {
		return "oid"
	}
	return "sub"
}

// setIssuer takes over an issuer, if one provider alone has it.
func (d *draft) setIssuer(at place, text string) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || strings.ContainsAny(text, "?# ") || u.Scheme != "https" && !(u.Scheme == "http" && u.Hostname() == "localhost") || !filePath(text) {
		d.find(at, FillIn, "oidc.issuer", "this is not the https URL of one issuer; write it exactly as in the provider's tokens")
		return
	}
	if u.Host == microsoft || u.Host == "sts.windows.net" {
		d.setTenant(at, strings.Split(strings.Trim(u.Path, "/"), "/")[0])
		return
	}
	d.provider.issuer = text
	d.find(at, Carried, "oidc.issuer", "")
}

// setTenant takes over a tenant of Microsoft Entra ID.
func (d *draft) setTenant(at place, tenant string) {
	if objectID().MatchString(tenant) {
		d.provider.issuer = "https://" + microsoft + "/" + strings.ToLower(tenant) + "/v2.0"
		d.find(at, Carried, "oidc.issuer", "")
		return
	}
	d.provider.issuer = "https://" + microsoft + "/" + placeholderTenant + "/v2.0"
	d.find(at, FillIn, "oidc.issuer", "write the ID of your own tenant, in place of zeros: what stands there lets people of other organizations sign in, or is a name that tokens do not have")
}

// wellKnown has the issuers of providers that have one for everybody.
var wellKnown = map[string]string{"google": "https://accounts.google.com", "gitlab": "https://gitlab.com", "linkedin": "https://www.linkedin.com/oauth", "apple": "https://appleid.apple.com"}

// withoutOIDC are providers that do not speak OpenID Connect, or not as the source used it.
var withoutOIDC = []string{"github", "bitbucket", "digitalocean", "facebook", "gitea", "discord", "nextcloud", "sourcehut", "arcgis", "cidaas", "login.gov", "reddit"}

// takeSecret takes over a client secret that stands in the text.
func (d *draft) takeSecret(s setting) {
	if s.opaque || s.tree || s.value() == "" || strings.ContainsAny(s.value(), "\r\n") {
		d.find(s.place, FillIn, "oidc.client_secret_file", "the text does not have the secret itself; write it into %s, readable for the server alone", d.secretFile("oidc"))
		d.provider.secretFile = d.secretFile("oidc")
		return
	}
	d.provider.secretFile = d.keepSecret("oidc", strings.TrimSpace(s.value())+"\n")
	d.find(s.place, Changed, "oidc.client_secret_file", "secrets are in files of their own; write it into %s, readable for the server alone, or import with --secrets", d.provider.secretFile)
}

// takeFile takes over the path of a file.
func (d *draft) takeFile(s setting, target string, to *string) {
	if s.opaque || s.tree || !filePath(s.value()) {
		d.find(s.place, FillIn, target, "write the path of the file")
		return
	}
	*to = s.value()
	d.find(s.place, Carried, target, "")
}

// takeText takes over a text that is no secret.
func (d *draft) takeText(s setting, target string, to *string) {
	if s.opaque || s.tree || !filePath(s.value()) {
		d.find(s.place, FillIn, target, "the text does not have the value itself")
		return
	}
	*to = s.value()
	d.find(s.place, Carried, target, "")
}

// takeScopes takes over scopes. Without openid no provider says who signed in.
func (d *draft) takeScopes(s setting, scopes []string) {
	var plain []string
	for _, scope := range scopes {
		if scope = strings.TrimSpace(scope); scope != "" && writable(scope) && !strings.ContainsAny(scope, " ") && scope != "offline_access" && scope != "groups" {
			plain = append(plain, scope)
		}
	}
	has := false
	for _, scope := range plain {
		has = has || scope == "openid"
	}
	if s.opaque || s.tree || !has {
		d.find(s.place, Changed, "oidc.scopes", "openid, profile and email are asked for: without openid the provider does not say who signed in")
		return
	}
	d.provider.scopes = plain
	d.find(s.place, Carried, "oidc.scopes", "groups and offline_access are left out: groups come by SCIM, and sessions need no refresh token")
}
