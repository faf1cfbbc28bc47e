package oidc

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"
)

// claims are those of a token that we read.
type claims struct {
	Issuer          string   `json:"iss"`
	Subject         string   `json:"sub"`
	Audience        audience `json:"aud"`
	Party           string   `json:"azp"`
	App             string   `json:"appid"`
	Expires         instant  `json:"exp"`
	NotBefore       instant  `json:"nbf"`
	Issued          instant  `json:"iat"`
	Authenticated   instant  `json:"auth_time"`
	Nonce           string   `json:"nonce"`
	AccessTokenHash string   `json:"at_hash"`
	CodeHash        string   `json:"c_hash"`
	Tenant          string   `json:"tid"`
	ProviderSession string   `json:"sid"`
	Name            string   `json:"name"`
	Email           string   `json:"email"`
	Roles           []string `json:"roles"`
	TokenKind       string   `json:"idtyp"`

	all map[string]any
}

// audience is one string or a list (RFC 7519 §4.1.3).
type audience []string

func (a audience) has(s string) bool { return slices.Contains(a, s) }

// UnmarshalJSON takes both forms.
func (a *audience) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*a = audience{one}
		return nil
	}
	return json.Unmarshal(data, (*[]string)(a))
}

// instant is a NumericDate (RFC 7519 §2).
type instant struct{ time.Time }

// UnmarshalJSON takes seconds since 1970, with or without a fraction.
func (i *instant) UnmarshalJSON(data []byte) error {
	var seconds float64
	if err := json.Unmarshal(data, &seconds); err != nil {
		return err
	}
	if math.Abs(seconds) > 1<<40 {
		return fmt.Errorf("a time of %g seconds is out of range", seconds)
	}
	i.Time = time.Unix(int64(seconds), 0).UTC()
	return nil
}

// isIDToken tells an ID token from an access token: only the former has a nonce
// or hashes of what it came with and, where its audience is the application that
// signs people in, says neither what may be done nor how the asking application
// proved itself. (An ID token may have azp, so that tells nothing.)
func (c *claims) isIDToken(clientID string) bool {
	if c.Nonce != "" || c.AccessTokenHash != "" || c.CodeHash != "" {
		return true
	}
	return c.Audience.has(clientID) && !c.hasAny("scp", "scope", "client_id", "azpacr", "appid")
}

// isVersion1 says whether Entra made the token for an API that asks for none of
// the v2.0 endpoint's.
func (c *claims) isVersion1() bool {
	return strings.HasPrefix(c.Issuer, "https://sts.windows.net/") || c.hasAny("ver") && c.all["ver"] == "1.0"
}

func (c *claims) hasAny(names ...string) bool {
	return slices.ContainsFunc(names, func(name string) bool { return c.all[name] != nil })
}

// app is the application that calls by itself; "" where a user does. Entra says so
// by idtyp only if asked to, but then the subject is the application's own object
// and nobody delegated a scope.
func (c *claims) app() string {
	alone := c.Subject != "" && c.all["oid"] == c.Subject && !c.hasAny("scp", "scope")
	if c.TokenKind != "app" && !alone {
		return ""
	}
	return cmp.Or(c.Party, c.App)
}

// longestKey bounds who somebody is, in bytes.
const longestKey = 1024

// identity is who the claims speak of.
func (p *Provider) identity(c *claims) (Identity, error) {
	key, _ := c.all[p.settings.UserClaim].(string)
	if key == "" || len(key) > longestKey {
		return Identity{}, refuse(ClaimMissing, "the token has no usable claim "+p.settings.UserClaim)
	}
	id := Identity{Key: key, Issuer: c.Issuer, Subject: c.Subject, Name: c.Name, Email: c.Email, ProviderSession: c.ProviderSession,
		Roles: c.Roles, App: c.app(), Issued: c.Issued.Time, Authenticated: c.Authenticated.Time, Expires: c.Expires.Time}
	if id.TimeKnown = !id.Authenticated.IsZero(); !id.TimeKnown {
		id.Authenticated = id.Issued
	}
	return id, nil
}
