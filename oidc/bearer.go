package oidc

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json" // unlike the standard one, exact about names and refusing the same name twice
)

// maxToken bounds a token's text, in bytes.
const maxToken = 16 << 10

// Bearer checks an access token that a caller brought (RFC 9068, and Entra's
// forms of it), by the issuer that it names.
func (p *Provider) Bearer(ctx context.Context, token string) (Identity, error) {
	if at := p.checker(token); at != p {
		return at.Bearer(ctx, token)
	}
	k, err := p.found(ctx)
	if err != nil {
		return Identity{}, err
	}
	if len(token) > maxToken { // not even its digest is taken
		err := refuse(Malformed, "the token is too large")
		p.metrics.verified(err)
		return Identity{}, err
	}
	digest, keys := sha256.Sum256([]byte(token)), k.keys.current()
	if id, ok := p.recall(digest, keys); ok {
		return id, nil
	}
	id, err := p.bearer(ctx, k, token)
	p.metrics.verified(err)
	if now := k.keys.current(); err == nil && now.Equal(keys) { // else: verified by keys that came meanwhile
		p.remembered.keep(digest, memory{id, now})
	}
	return id, err
}

// Remembered is the identity of a token that Bearer verified a while ago, if it is
// still good. It asks nobody and costs little.
func (p *Provider) Remembered(token string) (Identity, bool) {
	at := p.checker(token)
	k := at.known.Load()
	if k == nil || len(token) > maxToken {
		return Identity{}, false
	}
	return at.recall(sha256.Sum256([]byte(token)), k.keys.current())
}

// checker is the provider that a token is checked by: that of the further issuer
// which it names, else p.
func (p *Provider) checker(token string) *Provider {
	if len(p.others) > 0 {
		if other := p.others[issuerIn(token)]; other != nil {
			return other
		}
	}
	return p
}

// recall is the identity of a remembered token, counted as verified.
func (p *Provider) recall(digest [sha256.Size]byte, keys time.Time) (Identity, bool) {
	id, ok := p.remembered.find(digest, keys, time.Now())
	if ok {
		p.metrics.verified(nil)
	}
	return id, ok
}

func (p *Provider) bearer(ctx context.Context, k *known, token string) (Identity, error) {
	if len(p.settings.APIAudiences) == 0 {
		return Identity{}, refuse(WrongAudience, "no api_audiences are configured, so no bearer token is taken")
	}
	c, err := p.verify(ctx, k, token, "jwt", "at+jwt")
	if err != nil {
		return Identity{}, err
	}
	switch {
	case c.isIDToken(p.settings.ClientID):
		return Identity{}, refuse(NotForAPIs, "it is an ID token; send an access token for the API")
	case !slices.ContainsFunc(p.settings.APIAudiences, c.Audience.has):
		return Identity{}, refuse(WrongAudience, "the token is for another API")
	}
	id, err := p.identity(c)
	if err == nil && p.appsOnly && id.App == "" {
		return Identity{}, refuse(WrongIssuer, "users of that issuer are not taken here, only its applications")
	}
	return id, err
}

// issuerIn is what a token says of its issuer, before anything of it is believed:
// it chooses who checks it.
func issuerIn(token string) string {
	if len(token) > maxToken {
		return ""
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	var said struct {
		Issuer string `json:"iss"`
	}
	if err != nil || json.Unmarshal(data, &said) != nil {
		return ""
	}
	return said.Issuer
}

// verify checks what every token must have: form, one of kinds as its type,
// signature, issuer, times, tenant.
func (p *Provider) verify(ctx context.Context, k *known, token string, kinds ...string) (*claims, error) {
	if err := checkForm(token, kinds); err != nil {
		return nil, err
	}
	payload, err := k.keys.payload(ctx, token)
	if err != nil {
		return nil, err
	}
	c := &claims{}
	if json.Unmarshal(payload, c) != nil || json.Unmarshal(payload, &c.all) != nil {
		return nil, refuse(Malformed, "the token's claims are not a JSON object of the usual types")
	}
	return c, p.checkClaims(c, time.Now())
}

// checkForm looks at the header before any work is done, and tells apart the
// tokens that are often sent by mistake.
func checkForm(token string, kinds []string) error {
	if strings.Count(token, ".") != 2 || strings.ContainsFunc(token, foreign) {
		return refuse(Malformed, "the token is not a signed JWT (encrypted ones are not taken)")
	}
	head, _, _ := strings.Cut(token, ".")
	data, err := base64.RawURLEncoding.Strict().DecodeString(head)
	var h map[string]any
	if err != nil || json.Unmarshal(data, &h) != nil {
		return refuse(Malformed, "the token's header cannot be read")
	}
	switch {
	case h["crit"] != nil, h["b64"] != nil: // b64 is one of them (RFC 7797 §6)
		return refuse(Malformed, "the token's header demands extensions that are not known")
	case h["nonce"] != nil:
		return refuse(NotForAPIs, "it is a token for Microsoft Graph, which only Graph can check; ask for one for your API's scope")
	case !isKind(h["typ"], kinds):
		return refuse(WrongType, "the token is of another type than is taken here")
	}
	return nil
}

// foreign characters are in no JWT (RFC 7515 §2), though decoders skip some of
// them: so that one token has one spelling.
func foreign(r rune) bool {
	return !(r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.')
}

// isKind compares a header's typ (RFC 8725 §3.11); most tokens have none or JWT.
func isKind(typ any, kinds []string) bool {
	if typ == nil {
		return true
	}
	text, _ := typ.(string)
	return slices.Contains(kinds, strings.TrimPrefix(strings.ToLower(text), "application/"))
}

// skew is how far clocks may differ.
const skew = time.Minute

func (p *Provider) checkClaims(c *claims, now time.Time) error {
	switch {
	case c.Issuer != p.settings.Issuer && c.isVersion1():
		return refuse(WrongVersion, "it is a v1.0 token; set api.requestedAccessTokenVersion to 2 in the manifest of the API's registration")
	case c.Issuer != p.settings.Issuer:
		return refuse(WrongIssuer, "the token is from another issuer")
	case p.tenant != "" && c.Tenant != p.tenant:
		return refuse(WrongTenant, "the token is of another tenant, or names none")
	case c.Expires.IsZero():
		return refuse(Expired, "the token has no exp")
	case !now.Before(c.Expires.Time): // without skew: it opens nothing after its last moment
		return refuse(Expired, "the token has expired")
	case c.NotBefore.After(now.Add(skew)), c.Issued.After(now.Add(skew)):
		return refuse(NotYetValid, "the token is of the future; compare the clocks")
	}
	return nil
}
