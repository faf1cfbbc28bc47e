package entratest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"maps"
	"time"
)

// Claims are the claims of a token, by name.
type Claims map[string]any

const (
	tokenLife  = 75 * time.Minute
	backdating = 5 * time.Minute // Entra sets iat and nbf this much before the time of issue
	scope      = "access_as_user"
	graph      = "00000003-0000-0000-c000-000000000000" // the application ID of Microsoft Graph
	bySecret   = "1"                                    // azpacr: the application authenticated by a secret
)

// IDToken returns an ID token for p. alter, unless nil, changes its claims first, here
// and below.
func (t *Tenant) IDToken(p Person, nonce string, alter func(Claims)) string {
	c := t.common(p.OID, t.app.ClientID)
	maps.Copy(c, Claims{"sub": pairwise(p.OID, t.app.ClientID), "name": p.Name, "preferred_username": p.UPN,
		"email": p.Mail, "nonce": nonce})
	return t.signed(c, alter)
}

// AccessToken returns a v2.0 access token of p for an API.
func (t *Tenant) AccessToken(p Person, audience string, alter func(Claims)) string {
	return t.signed(t.Claims(p, audience), alter)
}

// Claims returns the claims of [Tenant.AccessToken], for tests that forge tokens.
func (t *Tenant) Claims(p Person, audience string) Claims {
	c := t.common(p.OID, audience)
	maps.Copy(c, Claims{"sub": pairwise(p.OID, audience), "azp": t.app.ClientID, "azpacr": bySecret, "scp": scope,
		"name": p.Name, "preferred_username": p.UPN})
	return c
}

// AccessTokenV1 returns an access token in the v1.0 format, of the v1.0 issuer.
func (t *Tenant) AccessTokenV1(p Person, audience string, alter func(Claims)) string {
	c := t.common(p.OID, audience)
	maps.Copy(c, Claims{"iss": "https://sts.windows.net/" + t.ID + "/", "ver": "1.0", "sub": pairwise(p.OID, audience),
		"appid": t.app.ClientID, "appidacr": bySecret, "scp": scope, "name": p.Name, "upn": p.UPN, "unique_name": p.UPN})
	return t.signed(c, alter)
}

// AppToken returns an access token of an application (client credentials); oid is the
// object ID of its service principal. Entra adds idtyp only where it is configured.
func (t *Tenant) AppToken(appID, oid, audience string, alter func(Claims)) string {
	c := t.common(oid, audience)
	maps.Copy(c, Claims{"sub": oid, "azp": appID, "azpacr": bySecret, "roles": []string{"Task.Read"}})
	return t.signed(c, alter)
}

// GraphToken returns an access token for Microsoft Graph, as an application gets it
// that asks for openid alone. Its header has a nonce; only Graph can verify it.
func (t *Tenant) GraphToken(p Person) string {
	return t.Sign(t.Claims(p, graph), map[string]any{"nonce": rand.Text()})
}

func (t *Tenant) common(oid, audience string) Claims {
	now := time.Now()
	issued := now.Add(-backdating).Unix()
	return Claims{"aud": audience, "iss": t.Issuer(), "iat": issued, "nbf": issued, "exp": now.Add(tokenLife).Unix(),
		"aio": rand.Text(), "oid": oid, "rh": "1." + rand.Text(), "sid": guid(), "tid": t.ID, "uti": rand.Text(), "ver": "2.0"}
}

// pairwise returns the subject of a person for one application.
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
