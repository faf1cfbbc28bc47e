package oidc

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"
)

// claims are the claims of a token that we read; all has every claim.
type claims struct {
	Issuer          string      `json:"iss"`
	Subject         string      `json:"sub"`
	Audience        audience    `json:"aud"`
	Party           string      `json:"azp"`
	App             string      `json:"appid"`
	Expires         numericDate `json:"exp"`
	NotBefore       numericDate `json:"nbf"`
	Issued          numericDate `json:"iat"`
	Authenticated   numericDate `json:"auth_time"`
	Nonce           string      `json:"nonce"`
	AccessTokenHash string      `json:"at_hash"`
	CodeHash        string      `json:"c_hash"`
	Tenant          string      `json:"tid"`
	ProviderSession string      `json:"sid"`
	Name            string      `json:"name"`
	Email           string      `json:"email"`
	Roles           []string    `json:"roles"`
	TokenKind       string      `json:"idtyp"`

	all map[string]any

	keys      *keys // of the issuer; one of them verified the token
	signature signature
}

// audience is one string or a list (RFC 7519 §4.1.3).
type audience []string

func (a audience) has(s string) bool { return slices.Contains(a, s) }

// UnmarshalJSON accepts both forms.
func (a *audience) UnmarshalJSON(data []byte) error {
	var single string
	if json.Unmarshal(data, &single) == nil {
		*a = audience{single}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(a))
}

// numericDate is a NumericDate (RFC 7519 §2): seconds since 1970.
type numericDate struct{ time.Time }

// UnmarshalJSON drops a fraction of a second.
func (d *numericDate) UnmarshalJSON(data []byte) error {
	var seconds float64
	if err := json.Unmarshal(data, &seconds); err != nil {
		return err
	}
	if math.Abs(seconds) > 1<<40 {
		return fmt.Errorf("a time of %g seconds is out of range", seconds)
	}
	d.Time = time.Unix(int64(seconds), 0).UTC()
	return nil
}

// isIDToken reports whether the claims are of an ID token and not of an access token.
// Only an ID token has a nonce, at_hash or c_hash. If the audience is the application
// that signs people in, only an access token has scopes or says how the client
// authenticated. (Both may have azp.)
func (c *claims) isIDToken(clientID string) bool {
	if c.Nonce != "" || c.AccessTokenHash != "" || c.CodeHash != "" {
		return true
	}
	return c.Audience.has(clientID) && !c.hasAny("scp", "scope", "client_id", "azpacr", "appid")
}

// isVersion1 reports whether Entra issued the token in its v1.0 format, which it does
// unless the registration of the API asks for v2.0.
func (c *claims) isVersion1() bool {
	return strings.HasPrefix(c.Issuer, "https://sts.windows.net/") || c.hasAny("ver") && c.all["ver"] == "1.0"
}

func (c *claims) hasAny(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return c.all[name] != nil })
}

// Bounds of what is kept of how a user signed in.
const maxStrengthValues, maxStrengthValue = 16, 200

// short returns a claim that is a short text, or "".
func (c *claims) short(name string) string {
	text, _ := c.all[name].(string)
	if len(text) > maxStrengthValue {
		return ""
	}
	return text
}

// list returns the short texts of a claim that is a list, or one text.
func (c *claims) list(name string) (texts []string) {
	if text := c.short(name); text != "" {
		return []string{text}
	}
	elements, _ := c.all[name].([]any)
	for _, element := range elements {
		if text, ok := element.(string); ok && len(text) <= maxStrengthValue && len(texts) < maxStrengthValues {
			texts = append(texts, text)
		}
	}
	return texts
}

// maxKeyLength is the size limit of the value of user_claim, in bytes.
const maxKeyLength = 1024

// identity returns the identity that the claims state.
func (p *Provider) identity(c *claims) (Identity, error) {
	app := p.settings.Applications.clientOf(c)
	key := c.text(p.settings.UserClaim)
	if app == "" && key == "" || len(key) > maxKeyLength {
		return Identity{}, refuse(ClaimMissing, "the token has no usable claim "+p.settings.UserClaim)
	}
	id := Identity{Key: key, Claim: p.settings.UserClaim, Issuer: c.Issuer, Subject: c.Subject, Name: c.Name, Email: c.Email, ProviderSession: c.ProviderSession,
		Roles: c.Roles, App: app, Issued: c.Issued.Time, Authenticated: c.Authenticated.Time, Expires: c.Expires.Time,
		ACR: c.short("acr"), AMR: c.list("amr"), Contexts: c.list("acrs"), Groups: c.groups(),
		keys: c.keys, signature: c.signature, rules: p.rules, backdated: p.tenant != ""}
	if id.TimeKnown = !id.Authenticated.IsZero(); !id.TimeKnown {
		id.Authenticated = id.Issued
	}
	return id, nil
}
