package entratest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"time"

	jose "github.com/go-jose/go-jose/v4"
)

// Claims are a token's, by name.
type Claims map[string]any

// IDToken is what the token endpoint gives for p, after alter (nil: none) changed it.
func (t *Tenant) IDToken(p Person, nonce string, alter func(Claims)) string {
	c := t.common(p, t.app.ClientID)
	c["sub"] = pairwise(p.OID, t.app.ClientID)
	c["name"], c["preferred_username"], c["email"] = p.Name, p.UPN, p.Mail
	c["nonce"], c["rh"] = nonce, "0."+rand.Text()
	return t.signed(c, alter)
}

// AccessToken is a v2.0 access token of p for an API, after alter changed it.
func (t *Tenant) AccessToken(p Person, audience string, alter func(Claims)) string {
	c := t.common(p, audience)
	c["sub"] = pairwise(p.OID, audience)
	c["azp"], c["azpacr"], c["scp"] = t.app.ClientID, "1", "access_as_user"
	c["name"], c["preferred_username"] = p.Name, p.UPN
	return t.signed(c, alter)
}

// AccessTokenV1 is the older form, from the older issuer.
func (t *Tenant) AccessTokenV1(p Person, audience string, alter func(Claims)) string {
	c := t.common(p, audience)
	c["iss"], c["ver"] = "https://sts.windows.net/"+t.ID+"/", "1.0"
	c["sub"], c["appid"], c["appidacr"], c["scp"] = pairwise(p.OID, audience), t.app.ClientID, "1", "access_as_user"
	c["upn"], c["unique_name"] = p.UPN, p.UPN
	return t.signed(c, alter)
}

// AppToken is an access token of an application itself (client credentials).
func (t *Tenant) AppToken(appID, oid, audience string, alter func(Claims)) string {
	c := t.common(Person{OID: oid}, audience)
	c["sub"], c["azp"], c["azpacr"], c["idtyp"], c["roles"] = oid, appID, "1", "app", []string{"Task.Read"}
	return t.signed(c, alter)
}

func (t *Tenant) common(p Person, audience string) Claims {
	now := time.Now()
	return Claims{"aud": audience, "iss": t.Issuer(), "iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(75 * time.Minute).Unix(),
		"aio": rand.Text(), "oid": p.OID, "tid": t.ID, "uti": rand.Text(), "ver": "2.0", "sid": guid()}
}

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

// Sign signs claims with the newest key; header adds to the header (nil: nothing).
func (t *Tenant) Sign(c Claims, header map[string]any) string {
	t.mu.Lock()
	k := t.keys[len(t.keys)-1]
	t.mu.Unlock()
	o := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", k.id)
	for name, value := range header {
		o = o.WithHeader(jose.HeaderKey(name), value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: k.key}, o)
	if err != nil {
		panic(err) // a key of our own making
	}
	return must(signer, c)
}

func must(signer jose.Signer, c Claims) string {
	payload, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	signature, err := signer.Sign(payload)
	if err != nil {
		panic(err)
	}
	text, err := signature.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return text
}

// Unsigned is the token that alg "none" makes.
func (t *Tenant) Unsigned(c Claims) string {
	return encode(map[string]any{"alg": "none", "typ": "JWT"}) + "." + encode(c) + "."
}

// Confused is signed by HS256 with the public key as the secret: the classic
// confusion of algorithms.
func (t *Tenant) Confused(c Claims) string {
	t.mu.Lock()
	k := t.keys[len(t.keys)-1]
	t.mu.Unlock()
	der, err := x509.MarshalPKIXPublicKey(&k.key.PublicKey)
	if err != nil {
		panic(err)
	}
	text := encode(map[string]any{"alg": "HS256", "typ": "JWT", "kid": k.id}) + "." + encode(c)
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func encode(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(data)
}

// Claims are those of an access token of p, for tests that forge.
func (t *Tenant) Claims(p Person, audience string) Claims {
	c := t.common(p, audience)
	c["sub"], c["azp"], c["scp"] = pairwise(p.OID, audience), t.app.ClientID, "access_as_user"
	return c
}
