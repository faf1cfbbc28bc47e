package oidc

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"
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
// or hashes of what it came with, and, where the audience is the application that
// signs people in, says nothing of a scope or of who asked for it.
func (c *claims) isIDToken(clientID string) bool {
	if c.Nonce != "" || c.AccessTokenHash != "" || c.CodeHash != "" {
		return true
	}
	asks := c.Party != "" || c.App != "" || c.all["scp"] != nil || c.all["scope"] != nil || c.all["client_id"] != nil
	return c.Audience.has(clientID) && !asks
}

// identity is who the claims speak of.
func (p *Provider) identity(c *claims) (Identity, error) {
	key, _ := c.all[p.settings.UserClaim].(string)
	if key == "" || len(key) > 1024 {
		return Identity{}, refuse(ClaimMissing, "the token has no usable claim "+p.settings.UserClaim)
	}
	id := Identity{Key: key, Issuer: c.Issuer, Subject: c.Subject, Name: c.Name, Email: c.Email, ProviderSession: c.ProviderSession,
		Roles: c.Roles, Issued: c.Issued.Time, Authenticated: c.Authenticated.Time, Expires: c.Expires.Time}
	if id.Authenticated.IsZero() {
		id.Authenticated = id.Issued
	}
	if c.TokenKind == "app" {
		if id.App = c.Party; id.App == "" {
			id.App = c.App
		}
	}
	return id, nil
}
