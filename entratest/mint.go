package entratest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"time"
)

// Claims are a token's, by name.
type Claims map[string]any

const (
	tokenLife = 75 * time.Minute
	scope     = "access_as_user"
	graph     = "00000003-0000-0000-c000-000000000000" // the application ID of Microsoft Graph
	byKey     = "1"                                    // azpacr: the application proved itself by a secret
)

// IDToken is what the token endpoint gives for p, after alter (nil: none) changed it.
func (t *Tenant) IDToken(p Person, nonce string, alter func(Claims)) string {
	c := t.common(p.OID, t.app.ClientID)
	maps.Copy(c, Claims{"sub": pairwise(p.OID, t.app.ClientID), "name": p.Name, "preferred_username": p.UPN,
		"email": p.Mail, "nonce": nonce})
	return t.signed(c, alter)
}

// AccessToken is a v2.0 access token of p for an API, after alter changed it.
func (t *Tenant) AccessToken(p Person, audience string, alter func(Claims)) string {
	return t.signed(t.Claims(p, audience), alter)
}

// Claims are those of AccessToken, for tests that forge.
func (t *Tenant) Claims(p Person, audience string) Claims {
	c := t.common(p.OID, audience)
	maps.Copy(c, Claims{"sub": pairwise(p.OID, audience), "azp": t.app.ClientID, "azpacr": byKey, "scp": scope,
		"name": p.Name, "preferred_username": p.UPN})
	return c
}

// AccessTokenV1 is the older form, from the older issuer.
func (t *Tenant) AccessTokenV1(p Person, audience string, alter func(Claims)) string {
	c := t.common(p.OID, audience)
	maps.Copy(c, Claims{"iss": "https://sts.windows.net/" + t.ID + "/", "ver": "1.0", "sub": pairwise(p.OID, audience),
		"appid": t.app.ClientID, "appidacr": byKey, "scp": scope, "name": p.Name, "upn": p.UPN, "unique_name": p.UPN})
	return t.signed(c, alter)
}

// AppToken is an access token of an application itself (client credentials); oid
// is its service principal's. Entra adds idtyp only where it was told to.
func (t *Tenant) AppToken(appID, oid, audience string, alter func(Claims)) string {
	c := t.common(oid, audience)
	maps.Copy(c, Claims{"sub": oid, "azp": appID, "azpacr": byKey, "roles": []string{"Task.Read"}})
	return t.signed(c, alter)
}

// GraphToken is an access token for Microsoft Graph: what an application gets that
// asks for openid alone. Its header has a nonce, and only Graph can check it.
func (t *Tenant) GraphToken(p Person) string {
	return t.Sign(t.Claims(p, graph), map[string]any{"nonce": rand.Text()})
}

func (t *Tenant) common(oid, audience string) Claims {
	now := time.Now()
	return Claims{"aud": audience, "iss": t.Issuer(), "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(tokenLife).Unix(),
		"aio": rand.Text(), "oid": oid, "rh": "1." + rand.Text(), "sid": guid(), "tid": t.ID, "uti": rand.Text(), "ver": "2.0"}
}

// pairwise is the subject of a person towards one application.
func pairwise(oid, app string) string {
	sum := sha256.Sum256([]byte(oid + "\x00" + app))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (t *Tenant) signed(c Claims, alter func(Claims)) string {
	if alter != nil {
		alter(c)
	}
	return t.Sign(c, nil)
}
